import os
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from caslie_tools.backends.endpoints.settings import (
    EndpointEmbeddingsSettings,
    EndpointJudgeSettings,
    EndpointPredictorSettings,
    EndpointSettings,
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


class TestEndpoint:
    def test_the_defaults_are_the_documented_ones(self) -> None:
        endpoint = EndpointSettings(urls=(URL,), model="tiny")
        assert (endpoint.timeout_seconds, endpoint.max_concurrency, endpoint.max_attempts) == (60, 8, 3)
        assert (endpoint.max_response_bytes, endpoint.breaker_failures, endpoint.breaker_seconds) == (4 * 2**20, 5, 30)
        assert endpoint.loaded_from == "tiny"

    @pytest.mark.parametrize(
        "url",
        [
            "ftp://127.0.0.1/v1",
            "127.0.0.1:8000/v1",
            "http:///v1",
            "http://127.0.0.1:8000",
            "http://127.0.0.1:8000/v1/chat/completions",
            "http://127.0.0.1:99999/v1",
            "http://127.0.0.1:0/v1",
            "http://[::1/v1",
            "http://127.0.0.1/v1?x=1",
            f"http://me:{SECRET}@127.0.0.1/v1",
            f"http://{SECRET}@127.0.0.1/v1",
        ],
    )
    def test_what_is_no_base_url_is_refused(self, url: str) -> None:
        with pytest.raises(ValidationError) as error:
            EndpointSettings(urls=(url,), model="tiny")
        assert SECRET not in str(error.value)

    def test_a_slash_at_the_end_makes_no_difference(self) -> None:
        assert EndpointSettings(urls=(URL + "/",), model="tiny").urls == (URL,)

    @pytest.mark.parametrize(
        "setting",
        [
            {"urls": ()},
            {"model": ""},
            {"model": "--trust-remote-code"},
            {"weights": "-x"},
            {"timeout_seconds": 0},
            {"timeout_seconds": float("inf")},
            {"max_concurrency": 0},
            {"max_attempts": 0},
            {"max_response_bytes": 0},
            {"breaker_seconds": -1},
            {"tiemout_seconds": 3},
            {"api_key": "two\nlines"},
        ],
    )
    def test_an_impossible_setting_is_refused(self, setting: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            EndpointSettings.model_validate({"urls": (URL,), "model": "tiny"} | setting)

    def test_it_cannot_be_changed(self) -> None:
        endpoint = EndpointSettings(urls=(URL,), model="tiny")
        with pytest.raises(ValidationError):
            endpoint.model = "other"  # type: ignore[misc]

    def test_its_key_is_in_no_text_of_it(self) -> None:
        endpoint = EndpointJudgeSettings(urls=(URL,), model="tiny", api_key=SECRET)  # type: ignore[arg-type]
        assert SECRET not in f"{endpoint!r} {endpoint} {endpoint.model_dump()} {endpoint.model_dump_json()}"
        assert endpoint.api_key is not None
        assert endpoint.api_key.get_secret_value() == SECRET

    def test_a_blank_key_is_none(self) -> None:
        assert EndpointSettings(urls=(URL,), model="tiny", api_key=" ").api_key is None  # type: ignore[arg-type]


class TestRoles:
    def test_a_judge_is_named_as_its_model(self) -> None:
        assert EndpointJudgeSettings(urls=(URL,), model="tiny").name == "tiny"

    def test_the_predictors_defaults_are_the_reference_decoding(self) -> None:
        predictor = EndpointPredictorSettings(urls=(URL,), model="tiny")
        assert (predictor.max_tokens, predictor.temperature, predictor.top_p) == (100, 0.15, 0.95)
        assert (predictor.prompt, predictor.wire) == ("completion", "paper")

    def test_a_layout_that_is_not_known_is_refused(self) -> None:
        with pytest.raises(ValidationError):
            EndpointPredictorSettings(urls=(URL,), model="tiny", layout="chatml")  # type: ignore[arg-type]


class TestLoading:
    def test_what_all_share_is_said_once(self, minimal: Path) -> None:
        settings = load_profile_settings(minimal)
        assert settings.name == "mine"
        assert [judge.name for judge in settings.judges] == ["first", "second"]
        assert [judge.timeout_seconds for judge in settings.judges] == [5, 2]
        assert settings.predictor.layout == "mistral"
        assert settings.embeddings == "embedded"
        assert list(settings.served_roles) == ["captioner", "judge 1", "judge 2", "predictor"]
        assert {role.urls for role in settings.served_roles.values()} == {(URL,)}

    def test_the_environment_wins_field_by_field(self, minimal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CASLIE_CAPTIONER__URLS", "http://a:1/v1, http://b:2/v1/")
        monkeypatch.setenv("CASLIE_PREDICTOR__MODEL", "other")
        monkeypatch.setenv("CASLIE_JUDGES__1__URLS", '["http://c:3/v1"]')
        monkeypatch.setenv("CASLIE_JUDGES__1__SEES_IMAGE", "true")
        monkeypatch.setenv("CASLIE_DEFAULTS__MAX_ATTEMPTS", "7")
        monkeypatch.setenv("CASLIE_EMBEDDINGS__MODEL", "vectors")
        settings = load_profile_settings(minimal)
        assert settings.captioners[0].urls == ("http://a:1/v1", "http://b:2/v1")
        assert (settings.predictor.model, settings.predictor.layout) == ("other", "mistral")
        first, second = settings.judges
        assert (first.urls, first.sees_image) == ((URL,), False)
        assert (second.urls, second.sees_image, second.name) == (("http://c:3/v1",), True, "second")
        assert {role.max_attempts for role in settings.served_roles.values()} == {7}
        assert isinstance(settings.embeddings, EndpointEmbeddingsSettings)
        assert (settings.embeddings.model, settings.embeddings.timeout_seconds) == ("vectors", 5)

    def test_the_pipeline_s_defaults_are_read_from_the_file_only(
        self, minimal: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CASLIE_PIPELINE__QUORUM", "2")
        assert load_profile_settings(minimal).pipeline == PipelineDefaults()
        minimal.write_text(minimal.read_text() + '[pipeline]\nwire_format = "paper"\nquorum = 1\n')
        assert load_profile_settings(minimal).pipeline == PipelineDefaults(wire_format="paper", quorum=1)
        minimal.write_text(minimal.read_text() + "reuse = 1\n")
        with pytest.raises(SettingsError, match=r"pipeline\.reuse: "):
            load_profile_settings(minimal)

    def test_judges_are_in_order_beyond_ten(self, minimal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for number in range(12):
            monkeypatch.setenv(f"CASLIE_JUDGES__{number}__NAME", f"judge {number}")
        judges = load_profile_settings(minimal).judges
        assert [judge.name for judge in judges] == [f"judge {number}" for number in range(12)]

    def test_one_key_serves_all_but_those_with_their_own(self, minimal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CASLIE_API_KEY", "12345678901234567890")
        monkeypatch.setenv("CASLIE_JUDGES__0__API_KEY", "1e5")
        settings = load_profile_settings(minimal)
        keys = {
            role: it.api_key.get_secret_value() for role, it in settings.served_roles.items() if it.api_key is not None
        }
        assert keys.pop("judge 1") == "1e5"
        assert keys == dict.fromkeys(["captioner", "judge 2", "predictor"], "12345678901234567890")
        assert "12345678901234567890" not in repr(settings) + settings.model_dump_json()

    def test_the_host_moves_all_servers(self, monkeypatch: pytest.MonkeyPatch) -> None:
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
    def test_an_error_names_file_and_field_and_no_value(self, minimal: Path, old: str, new: str, message: str) -> None:
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
    def test_the_environment_is_validated_and_never_quoted(
        self, minimal: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
    ) -> None:
        monkeypatch.setenv(name, value)
        with pytest.raises(SettingsError, match=message) as error:
            load_profile_settings(minimal)
        assert SECRET not in f"{error.value} {error.value.__cause__!r}"

    def test_a_file_that_is_not_there_is_named(self) -> None:
        with pytest.raises(SettingsError, match=r"'none\.toml' does not exist"):
            load_profile_settings("none.toml")

    def test_a_file_that_is_no_text_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
        with pytest.raises(SettingsError, match=r"bytes\.toml' cannot be read"):
            load_profile_settings(tmp_path / "bytes.toml")

    def test_an_unknown_name_lists_the_known(self) -> None:
        with pytest.raises(SettingsError, match="choose one of caslie-m, caslie-s-24gb, local-hf, paper"):
            load_profile_settings("brilliant")


class TestShipped:
    @pytest.mark.parametrize("name", shipped_profiles())
    def test_every_profile_loads_and_holds_no_key(self, name: str) -> None:
        settings = load_profile_settings(name)
        assert settings.name == name
        assert settings.description
        assert all(role.api_key is None for role in settings.served_roles.values())
        assert settings.predictor.wire == "paper"

    def test_every_profile_can_be_chosen(self) -> None:
        assert set(PROFILES) == {"embedded", *shipped_profiles()}

    def test_a_tuned_model_is_asked_in_its_own_layout(self) -> None:
        predictors = {name: load_profile_settings(name).predictor for name in shipped_profiles()}
        layouts = {name: tuned.layout for name, tuned in predictors.items() if tuned.prompt == "completion"}
        assert layouts == {"caslie-m": "mistral", "caslie-s-24gb": "alpaca", "paper": "mistral"}

    def test_caslie_m_has_five_judges_of_five_makers(self) -> None:
        judges = load_profile_settings("caslie-m").judges
        assert len({judge.model.partition("/")[0] for judge in judges}) == len(judges) == 5
        assert sum(judge.sees_image for judge in judges) == 1

    def test_the_paper_has_its_models_and_its_version(self) -> None:
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
        assert any("0.10.2" in note for note in settings.notes)

    def test_a_profile_of_your_own_is_chosen_by_its_path(self) -> None:
        with pytest.raises(SettingsError, match="does not exist"):
            load_profile("none.toml")

    def test_a_profile_can_be_built_without_a_file(self) -> None:
        role = {"urls": [URL], "model": "tiny"}
        settings = ProfileSettings.model_validate(
            {"name": "own", "captioners": [role], "judges": [role], "predictor": role}
        )
        assert list(settings.served_roles) == ["captioner", "judge", "predictor"]
