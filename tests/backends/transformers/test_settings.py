"""Settings of models in this process, and profiles with such models."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from caslie_tools.backends.endpoints.settings import EndpointCaptionerSettings, EndpointEmbeddingsSettings
from caslie_tools.backends.transformers.settings import (
    TransformersCaptionerSettings,
    TransformersEmbeddingsSettings,
    TransformersJudgeSettings,
    TransformersPredictorSettings,
    TransformersSettings,
)
from caslie_tools.exceptions import SettingsError
from caslie_tools.profiles.building import build_profile
from caslie_tools.profiles.checking import check_profile
from caslie_tools.profiles.named import load_profile
from caslie_tools.profiles.settings import ProfileSettings
from caslie_tools.profiles.toml import load_profile_settings
from caslie_tools.serving.plan import plan_servers
from caslie_tools.store import CaptionStore
from tests.doubles import HashEmbeddings

SECRET = "sk-never-to-be-seen"
MIXED = """
[defaults]
urls = ["http://127.0.0.1:9/v1"]
model = "served"
timeout_seconds = 5
max_attempts = 1
device = "cpu"

[captioner]
[[judges]]
backend = "transformers"
model = "/models/judge"
[[judges]]
name = "served judge"
[predictor]
backend = "transformers"
model = "/models/predictor"
prompt = "chat"
[embeddings]
"""


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    path = tmp_path / "mixed.toml"
    path.write_text(MIXED, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "setting",
    [
        {"device": "tpu"},
        {"device": "cuda:x"},
        {"dtype": "int8"},
        {"revision": ""},
        {"model": "--x"},
        {"context_length": 0},
        {"trust_remote_code": True},
        {"urls": ["http://127.0.0.1:9/v1"]},
        {"backend": "endpoint"},
    ],
)
def test_an_invalid_setting_is_refused(setting: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TransformersSettings.model_validate({"model": "tiny"} | setting)


def test_a_revision_is_part_of_the_identity() -> None:
    assert TransformersSettings(model="a/b").identity == "a/b"
    assert TransformersSettings(model="a/b", revision="v2").identity == "a/b@v2"


class TestMixed:
    def test_each_role_has_its_own_backend(self, mixed: Path) -> None:
        settings = load_profile_settings(mixed)
        assert isinstance(settings.captioners[0], EndpointCaptionerSettings)
        assert isinstance(settings.judges[0], TransformersJudgeSettings)
        assert isinstance(settings.predictor, TransformersPredictorSettings)
        assert isinstance(settings.embeddings, EndpointEmbeddingsSettings)
        assert list(settings.served_roles) == ["captioner", "judge 2", "embeddings"]
        assert list(settings.in_process_roles) == ["judge 1", "predictor"]

    def test_a_shared_value_applies_to_the_roles_whose_backend_has_it(self, mixed: Path) -> None:
        settings = load_profile_settings(mixed)
        assert {role.timeout_seconds for role in settings.served_roles.values()} == {5}
        assert {role.device for role in settings.in_process_roles.values()} == {"cpu"}

    def test_the_api_key_applies_to_roles_on_servers_only(self, mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CASLIE_API_KEY", SECRET)
        settings = load_profile_settings(mixed)
        assert all(role.api_key is not None for role in settings.served_roles.values())

    def test_the_environment_can_change_the_model_and_the_backend(
        self, mixed: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CASLIE_PREDICTOR__MODEL", "/models/mine")
        monkeypatch.setenv("CASLIE_PREDICTOR__REVISION", "v2")
        monkeypatch.setenv("CASLIE_CAPTIONER__BACKEND", "transformers")
        settings = load_profile_settings(mixed)
        assert isinstance(settings.predictor, TransformersPredictorSettings)
        assert settings.predictor.identity == "/models/mine@v2"
        assert isinstance(settings.captioners[0], TransformersCaptionerSettings)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("transformers", SECRET, "judges.0: backend is 'endpoint' (a model on a server) or 'transformers'"),
            ('prompt = "chat"', 'timeout_seconds = "x"', "predictor.timeout_seconds: Extra inputs are not permitted"),
            ('prompt = "chat"', 'devcie = "cpu"', "predictor.devcie"),
            ('device = "cpu"', 'devcie = "cpu"', "captioners.0.devcie"),
            ('device = "cpu"', 'device = "tpu"', "judges.0.device"),
            ('model = "served"\n', "", "captioners.0.model: Field required"),
            ("[embeddings]", '[embeddings]\nbackend = "transformers"\nbatch_size = 0', "embeddings.batch_size"),
        ],
    )
    def test_an_error_names_the_field_and_not_the_value(self, mixed: Path, old: str, new: str, message: str) -> None:
        assert old in MIXED
        mixed.write_text(MIXED.replace(old, new, 1))
        with pytest.raises(SettingsError, match=re.escape(message)) as error:
            load_profile_settings(mixed)
        assert SECRET not in f"{error.value} {error.value.__cause__}"

    def test_settings_can_be_built_without_a_file(self) -> None:
        local = TransformersCaptionerSettings(model="/models/vlm")
        role = {"urls": ["http://127.0.0.1:9/v1"], "model": "tiny"}
        settings = ProfileSettings.model_validate(
            {"name": "own", "captioners": [local], "judges": [role], "predictor": {"model": "a"} | role}
        )
        assert settings.captioners == (local,)
        assert list(settings.served_roles) == ["judge", "predictor"]

    async def test_the_check_reports_roles_without_a_server(self, mixed: Path) -> None:
        reports = {report.role: report for report in await check_profile(load_profile_settings(mixed))}
        assert {role for role, report in reports.items() if report.passed} == {"judge 1", "predictor"}
        (finding,) = reports["predictor"].findings
        assert (reports["predictor"].model, finding.probe) == ("/models/predictor", "in this process")
        assert "nothing was loaded" in finding.detail


class TestShipped:
    def test_every_role_runs_in_this_process(self) -> None:
        settings = load_profile_settings("local-hf")
        assert settings.served_roles == {}
        assert list(settings.in_process_roles) == ["captioner", "judge 1", "judge 2", "judge 3", "predictor"]
        assert settings.embeddings == "embedded"
        assert [judge.sees_image for judge in settings.judges] == [False, False, True]
        assert len({role.model for role in settings.in_process_roles.values()}) == 2
        assert settings.predictor.prompt == "chat"
        assert any("not been measured" in note for note in settings.notes)

    def test_the_environment_can_set_the_folder_of_a_model(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CASLIE_PREDICTOR__MODEL", "/models/mine")
        assert load_profile_settings("local-hf").predictor.model == "/models/mine"

    def test_it_needs_no_server(self) -> None:
        with pytest.raises(SettingsError, match="needs no server: all its models run in this process"):
            plan_servers(load_profile_settings("local-hf"))

    def test_building_it_loads_no_model(self) -> None:
        pytest.importorskip("rapidocr", reason="the extra 'embedded' is not installed")
        profile = load_profile("local-hf")
        with CaptionStore.in_memory(HashEmbeddings()) as store:
            models = profile.models(store)
        assert [judge.get_name() for judge in models.judges] == [
            "qwen2.5-1.5b",
            "smolvlm-500m",
            "smolvlm-500m, seeing the image",
        ]
        assert models.predictor.get_name() == "Qwen/Qwen2.5-1.5B-Instruct"

    def test_its_embeddings_can_run_in_this_process_too(self, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CASLIE_EMBEDDINGS__MODEL", str(tiny / "encoder"))
        settings = load_profile_settings("local-hf")
        assert isinstance(settings.embeddings, TransformersEmbeddingsSettings)
        assert len(build_profile(settings).embeddings.embed_query("a red mug")) == 32
