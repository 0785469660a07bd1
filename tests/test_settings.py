import re
import traceback
from pathlib import Path

import pytest
from pydantic import ValidationError

from caslie_tools.exceptions import CaslieError, MissingExtraError, SettingsError
from caslie_tools.images.embeddings import ImageEmbeddings
from caslie_tools.profiles.chat import ChatSettings
from caslie_tools.profiles.named import load_profile
from caslie_tools.profiles.profile import Profile
from caslie_tools.profiles.toml import _RawProfile
from caslie_tools.settings import READ_ELSEWHERE, Settings


def test_the_defaults_do_not_need_an_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CASLIE_PROFILE", raising=False)
    settings = Settings.load()
    assert (settings.profile, settings.wire_format, settings.quorum) == ("embedded", "corrected", None)
    assert not settings.images.allow_private_addresses


def test_the_environment_sets_them_and_arguments_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASLIE_WIRE_FORMAT", "paper")
    monkeypatch.setenv("CASLIE_STORE", "/tmp/shop")  # noqa: S108 (only a value)
    monkeypatch.setenv("CASLIE_QUORUM", "2")
    monkeypatch.setenv("CASLIE_IMAGES__MAX_BYTES", "1000")
    settings = Settings.load(store=Path("elsewhere"), quorum=None)
    assert (settings.wire_format, settings.store, settings.quorum) == ("paper", Path("elsewhere"), 2)
    assert settings.images.max_bytes == 1000
    assert settings.images.max_pixels == Settings.load().images.max_pixels


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CASLIE_WIRE_FORMAT", "papre"),
        ("CASLIE_QUORUM", "0"),
        ("CASLIE_QUORUM", "many"),
        ("CASLIE_REUSE_THRESHOLD", "1.1"),
        ("CASLIE_MAX_PARALLEL_IMAGES", "0"),
        ("CASLIE_JUDGE_TIMEOUT_SECONDS", "-1"),
        ("CASLIE_EARLY_STOP", "perhaps"),
        ("CASLIE_IMAGES__MAX_BYTES", "0"),
        ("CASLIE_IMAGES__TIMEOUT_SECONDS", "inf"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_the_settings_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"the setting {name} cannot be used: ") as caught:
        Settings.load()
    assert "\n" not in str(caught.value)


def test_a_group_that_is_not_json_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASLIE_IMAGES", "{nope")
    with pytest.raises(SettingsError, match=r'cannot be read: .*"images"'):
        Settings.load()


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(SettingsError, match="CASLIE_COLOUR"):
        Settings.load(colour="red")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CASLIE_MAX_IMAGE", "CASLIE_MAX_IMAGE is not a setting; did you mean 'CASLIE_MAX_IMAGES'?"),
        ("caslie_profil", "CASLIE_PROFIL is not a setting; did you mean 'CASLIE_PROFILE'?"),
        ("CASLIE_TASK_MODULE", "did you mean 'CASLIE_TASK_MODULES'?"),
        (
            "CASLIE_IMAGES__MAX_BYTE",
            "there is no setting CASLIE_IMAGES__MAX_BYTE; did you mean 'CASLIE_IMAGES__MAX_BYT",
        ),
        ("CASLIE_IMAGE__MAX_BYTES", "did you mean 'CASLIE_IMAGES__MAX_BYTES'?"),
        ("CASLIE_XYZ", "CASLIE_XYZ is not a setting; `caslie info` lists the settings"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(SettingsError, match=re.escape(message)):
        Settings.load()


def test_variables_of_profile_files_and_of_the_command_line_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "HOST", "JUDGES__0__URLS", "PREDICTOR__MODEL", "TASK_MODULES"):
        monkeypatch.setenv(f"CASLIE_{name}", "x")
    Settings.load()
    # Fields that only a file sets, and those that are settings as well, are not read from the environment.
    only_file = {"name", "description", "notes", "vllm", "pipeline", "utility"} | set(Settings.model_fields)
    profiles = set(_RawProfile.model_fields) - only_file | {f"chat_{name}" for name in ChatSettings.model_fields}
    commands = {"NO_SERVER", "SERVE_TOKEN", "TASK_MODULES"}
    assert {name.upper() for name in profiles} | commands == READ_ELSEWHERE


def test_they_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings.load().wire_format = "paper"  # type: ignore[misc]


def test_other_defaults_apply_only_to_settings_that_nobody_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASLIE_QUORUM", "2")
    settings = Settings.load(wire_format="corrected")
    changed = settings.with_defaults(wire_format="paper", quorum=1, reuse_threshold=1.0, gate=None)
    assert (changed.wire_format, changed.quorum, changed.reuse_threshold) == ("corrected", 2, 1.0)
    assert changed.gate is None
    assert settings.reuse_threshold == 0.86


class TestProfiles:
    def test_one_of_your_own_is_named_by_module_and_function(self) -> None:
        profile = load_profile("tests.doubles:light_profile")
        assert isinstance(profile, Profile)
        assert profile.name == "light"
        assert isinstance(profile.image_embeddings, ImageEmbeddings)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("brilliant", "no profile 'brilliant'; choose one of embedded"),
            ("", "no profile ''"),
            ("no.such.module:profile", "cannot be imported: No module named"),
            ("tests.doubles:no_such", "cannot be imported: .*no_such"),
            (":profile", "cannot be imported"),
            (".doubles:light_profile", "cannot be imported"),
            ("tests.doubles:COLOURS", "cannot be imported: .*not callable"),
            ("tests.doubles:HashEmbeddings", "is a HashEmbeddings, not a caslie_tools Profile"),
        ],
    )
    def test_what_is_no_profile_is_refused(self, name: str, message: str) -> None:
        with pytest.raises(SettingsError, match=message):
            load_profile(name)

    def test_its_own_errors_pass_as_they_are(self) -> None:
        with pytest.raises(MissingExtraError, match=r"caslie-tools\[gpu\]") as caught:
            load_profile(f"{__name__}:profile_without_its_extra")
        assert isinstance(caught.value, CaslieError)


def profile_without_its_extra() -> Profile:
    raise MissingExtraError("gpu", "This profile")


@pytest.mark.parametrize("name", ["MAX_IMAGES", "IMAGES__MAX_BYTES", "WIRE_FORMAT"])
def test_no_error_and_no_traceback_shows_the_value_of_a_setting(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"CASLIE_{name}", "hunter2")
    with pytest.raises(SettingsError) as raised:
        Settings.load()
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))
