import os
import re
from pathlib import Path

import pytest

from caslie_tools.backends.endpoints.settings import (
    EndpointEmbeddingsSettings,
)
from caslie_tools.exceptions import SettingsError
from caslie_tools.profiles.named import PROFILES, load_profile
from caslie_tools.profiles.settings import ProfileSettings
from caslie_tools.profiles.toml import load_profile_settings, shipped_profiles
from caslie_tools.settings import PipelineDefaults

SECRET = "sk-never-to-be-seen"
URL = "http://127.0.0.1:8000/v1"

MINIMAL = f"""
[defaults]
urls = ["{URL}"]
model = "tiny"
timeout_seconds = 5

[captioner]
[[judges]]
name = "first"
[[judges]]
name = "second"
timeout_seconds = 2
[predictor]
layout = "mistral"
"""


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("CASLIE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def minimal(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL, encoding="utf-8")
    return path


class TestLoading:
    def test_shared_values_apply_to_every_role(self, minimal: Path) -> None:
        settings = load_profile_settings(minimal)
        assert settings.name == "mine"
        assert [judge.name for judge in settings.judges] == ["first", "second"]
        served = settings.served_roles
        assert (served["judge 1"].timeout_seconds, served["judge 2"].timeout_seconds) == (5, 2)
        assert settings.predictor.layout == "mistral"
        assert settings.embeddings == "embedded"
        assert list(served) == ["captioner", "judge 1", "judge 2", "predictor"]
        assert {role.urls for role in served.values()} == {(URL,)}

    def test_the_environment_overrides_single_fields(self, minimal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CASLIE_CAPTIONER__URLS", "http://a:1/v1, http://b:2/v1/")
        monkeypatch.setenv("CASLIE_PREDICTOR__MODEL", "other")
        monkeypatch.setenv("CASLIE_JUDGES__1__URLS", '["http://c:3/v1"]')
        monkeypatch.setenv("CASLIE_JUDGES__1__SEES_IMAGE", "true")
        monkeypatch.setenv("CASLIE_DEFAULTS__MAX_ATTEMPTS", "7")
        monkeypatch.setenv("CASLIE_EMBEDDINGS__MODEL", "vectors")
        settings = load_profile_settings(minimal)
        served = settings.served_roles
        assert served["captioner"].urls == ("http://a:1/v1", "http://b:2/v1")
        assert (settings.predictor.model, settings.predictor.layout) == ("other", "mistral")
        first, second = settings.judges
        assert (served["judge 1"].urls, served["judge 2"].urls) == ((URL,), ("http://c:3/v1",))
        assert (first.sees_image, second.sees_image, second.name) == (False, True, "second")
        assert {role.max_attempts for role in served.values()} == {7}
        assert isinstance(settings.embeddings, EndpointEmbeddingsSettings)
        assert (settings.embeddings.model, settings.embeddings.timeout_seconds) == ("vectors", 5)

    def test_the_pipelines_defaults_are_read_from_the_file_only(
        self, minimal: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CASLIE_PIPELINE__QUORUM", "2")
        assert load_profile_settings(minimal).pipeline == PipelineDefaults()
        minimal.write_text(minimal.read_text() + '[pipeline]\nwire_format = "paper"\nquorum = 1\n')
        assert load_profile_settings(minimal).pipeline == PipelineDefaults(wire_format="paper", quorum=1)
        minimal.write_text(minimal.read_text() + "reuse = 1\n")
        with pytest.raises(SettingsError, match=r"pipeline\.reuse: "):
            load_profile_settings(minimal)

    def test_a_vision_predictor_is_optional_and_can_come_from_the_environment(
        self, minimal: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert load_profile_settings(minimal).vision_predictor is None
        monkeypatch.setenv("CASLIE_VISION_PREDICTOR__MODEL", "some/vlm")
        monkeypatch.setenv("CASLIE_VISION_PREDICTOR__MAX_IMAGES", "8")
        settings = load_profile_settings(minimal)
        assert settings.vision_predictor is not None
        assert (settings.vision_predictor.model, settings.vision_predictor.max_images) == ("some/vlm", 8)
        assert list(settings.served_roles)[-1] == "vision predictor"

    def test_a_claim_checker_is_optional_always_sees_the_image_and_has_a_threshold(
        self, minimal: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert load_profile_settings(minimal).claim_checker is None
        monkeypatch.setenv("CASLIE_CLAIM_CHECKER__MODEL", "some/vlm")
        monkeypatch.setenv("CASLIE_CLAIM_CHECKER__THRESHOLD", "0.4")
        settings = load_profile_settings(minimal)
        assert settings.claim_checker is not None
        assert (settings.claim_checker.sees_image, settings.claim_checker.threshold) == (True, 0.4)
        assert settings.served_roles["claim checker"].model == "some/vlm"
        monkeypatch.setenv("CASLIE_CLAIM_CHECKER__THRESHOLD", "1.4")
        with pytest.raises(SettingsError, match=r"claim_checker\.threshold: "):
            load_profile_settings(minimal)

    def test_more_than_ten_judges_keep_their_order(self, minimal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for number in range(12):
            monkeypatch.setenv(f"CASLIE_JUDGES__{number}__NAME", f"judge {number}")
        judges = load_profile_settings(minimal).judges
        assert [judge.name for judge in judges] == [f"judge {number}" for number in range(12)]

    def test_the_shared_key_applies_to_roles_without_their_own_key(
        self, minimal: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CASLIE_API_KEY", "12345678901234567890")
        monkeypatch.setenv("CASLIE_JUDGES__0__API_KEY", "1e5")
        settings = load_profile_settings(minimal)
        keys = {
            role: it.api_key.get_secret_value() for role, it in settings.served_roles.items() if it.api_key is not None
        }
        assert keys.pop("judge 1") == "1e5"
        assert keys == dict.fromkeys(["captioner", "judge 2", "predictor"], "12345678901234567890")
        assert "12345678901234567890" not in repr(settings) + settings.model_dump_json()

    def test_the_host_applies_to_all_servers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CASLIE_HOST", "gpu-box")
        hosts = {
            url.split("/")[2].split(":")[0]
            for r in load_profile_settings("paper").served_roles.values()
            for url in r.urls
        }
        assert hosts == {"gpu-box"}

    def test_a_profile_may_have_several_captioners(self, tmp_path: Path) -> None:
        text = MINIMAL.replace("[captioner]", '[[captioners]]\nmodel = "a"\n[[captioners]]\nmodel = "b"')
        (tmp_path / "two.toml").write_text(text)
        settings = load_profile_settings(tmp_path / "two.toml")
        assert [captioner.model for captioner in settings.captioners] == ["a", "b"]
        assert list(settings.served_roles)[:2] == ["captioner 1", "captioner 2"]

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ('layout = "mistral"', 'layuot = "mistral"', "predictor.layuot"),
            ('layout = "mistral"', "max_tokens = 0", "predictor.max_tokens"),
            ("timeout_seconds = 2", "timeout_seconds = -2", "judges.1.timeout_seconds"),
            ('"second"', '"first"', "two judges are named 'first'"),
            ("[captioner]", "", "captioners"),
            ("[predictor]", "[predictors]", "predictors"),
            (f'["{URL}"]', f'["http://me:{SECRET}@h/v1"]', "captioners.0.urls.0: Value error, a URL must not hold"),
            (f'["{URL}"]', "[5]", "captioners.0.urls.0"),
            ("timeout_seconds = 5", f'api_key = ["{SECRET}"]', "api_key"),
            ("timeout_seconds = 5", f'api_key = "{SECRET}', "is not TOML"),
            ("[predictor]", '[embeddings]\nbatch_size = "x"\n[predictor]', "embeddings.batch_size"),
        ],
    )
    def test_an_error_names_the_file_and_the_field_and_not_the_value(
        self, minimal: Path, old: str, new: str, message: str
    ) -> None:
        text = minimal.read_text()
        assert old in text
        minimal.write_text(text.replace(old, new, 1))
        with pytest.raises(SettingsError, match=re.escape(message)) as error:
            load_profile_settings(minimal)
        assert str(minimal) in str(error.value)
        assert SECRET not in f"{error.value} {error.value.__cause__}"

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("CASLIE_PREDICTOR__TIMEOUT_SECONDS", SECRET, "predictor.timeout_seconds"),
            ("CASLIE_API_KEY", f"{SECRET}\n", "api_key"),
            ("CASLIE_JUDGES", f"[{SECRET}", "environment"),
            ("CASLIE_JUDGES__FIRST__MODEL", SECRET, "judges: .* number the entries from 0"),
            ("CASLIE_JUDGES__7__MODEL", SECRET, "judges: .* number the entries from 0, without gaps"),
            ("CASLIE_CAPTIONER__URLS", f"[{SECRET}", "captioners.0.urls: .* neither JSON nor URLs"),
        ],
    )
    def test_an_error_in_the_environment_names_the_field_and_not_the_value(
        self, minimal: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
    ) -> None:
        monkeypatch.setenv(name, value)
        with pytest.raises(SettingsError, match=message) as error:
            load_profile_settings(minimal)
        assert SECRET not in f"{error.value} {error.value.__cause__!r}"

    def test_a_missing_file_is_named(self) -> None:
        with pytest.raises(SettingsError, match=r"'none\.toml' does not exist"):
            load_profile_settings("none.toml")

    def test_a_binary_file_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
        with pytest.raises(SettingsError, match=r"bytes\.toml' cannot be read"):
            load_profile_settings(tmp_path / "bytes.toml")

    def test_an_unknown_name_lists_the_profiles(self) -> None:
        with pytest.raises(SettingsError, match="choose one of caslie-l, caslie-m, caslie-s-24gb, local-hf, paper"):
            load_profile_settings("brilliant")


class TestShipped:
    @pytest.mark.parametrize("name", shipped_profiles())
    def test_every_profile_loads_and_has_no_key(self, name: str) -> None:
        settings = load_profile_settings(name)
        assert settings.name == name
        assert settings.description
        assert all(role.api_key is None for role in settings.served_roles.values())

    def test_every_profile_can_be_loaded_by_name(self) -> None:
        assert set(PROFILES) == {"embedded", "chat", *shipped_profiles()}

    def test_a_tuned_model_has_its_own_layout(self) -> None:
        predictors = {name: load_profile_settings(name).predictor for name in shipped_profiles()}
        layouts = {name: tuned.layout for name, tuned in predictors.items() if tuned.prompt == "completion"}
        assert layouts == {"caslie-l": "alpaca", "caslie-m": "mistral", "caslie-s-24gb": "alpaca", "paper": "mistral"}

    def test_caslie_m_has_five_judges_from_five_publishers(self) -> None:
        judges = load_profile_settings("caslie-m").judges
        assert len({judge.model.partition("/")[0] for judge in judges}) == len(judges) == 5
        assert sum(judge.sees_image for judge in judges) == 1

    def test_the_paper_profile_has_the_papers_models_and_a_vllm_version(self) -> None:
        settings = load_profile_settings("paper")
        assert settings.vllm == "==0.10.2"
        assert settings.pipeline == PipelineDefaults(wire_format="paper", quorum=1, reuse_threshold=1.0)
        assert [judge.model for judge in settings.judges] == [
            "meta-llama/Llama-3.2-3B-Instruct",
            "meta-llama/Llama-3.1-8B-Instruct",
            "meta-llama/Llama-3.2-11B-Vision-Instruct",
            "mistralai/Mistral-7B-Instruct-v0.3",
            "microsoft/Phi-3.5-mini-instruct",
        ]
        assert not any(judge.sees_image for judge in settings.judges)
        # The reference's cqe.py sends this message to all but the vision model.
        system = "You are a helpful AI assistant."
        assert [judge.system for judge in settings.judges] == [system, system, "", system, system]
        # Its inference.py generates with these settings and reads the text.
        predictor = settings.predictor
        assert (predictor.decoding, predictor.max_tokens) == ("sampled", 100)
        assert (predictor.temperature, predictor.top_p) == (0.15, 0.95)
        assert any("0.10.2" in note for note in settings.notes)

    def test_a_profile_is_loaded_by_the_path_of_its_file(self) -> None:
        with pytest.raises(SettingsError, match="does not exist"):
            load_profile("none.toml")

    def test_settings_can_be_built_without_a_file(self) -> None:
        role = {"urls": [URL], "model": "tiny"}
        settings = ProfileSettings.model_validate(
            {"name": "own", "captioners": [role], "judges": [role], "predictor": role}
        )
        assert list(settings.served_roles) == ["captioner", "judge", "predictor"]
