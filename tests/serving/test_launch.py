import sys
from pathlib import Path
from typing import Any

import pytest

from caslie_tools.exceptions import InputError, SettingsError
from caslie_tools.profiles.settings import ProfileSettings
from caslie_tools.serving.launch import Launch, build_launches
from caslie_tools.serving.plan import plan_servers

SECRET = "sk-never-to-be-seen"
PYTHON = Path(sys.executable)


def role(port: int, model: str = "NingLab/CASLIE-S", **more: Any) -> dict[str, Any]:
    return {"urls": [f"http://127.0.0.1:{port}/v1"], "model": model, "api_key": SECRET} | more


def settings(**changes: Any) -> ProfileSettings:
    """A vision model and a text model."""
    vision = role(8001, "Qwen/Qwen3-VL-2B-Instruct")
    roles = {"name": "two", "captioners": [vision], "judges": [role(8002)], "predictor": role(8002)}
    return ProfileSettings.model_validate(roles | changes)


def launches_for(
    profile: ProfileSettings, environment: dict[str, str] | None = None, *, vllm: str = sys.executable
) -> tuple[Launch, ...]:
    plan = plan_servers(profile, gpu_memory=16, gpus=2)
    return build_launches(plan, profile, vllm=vllm, environment=environment or {})


class TestCommand:
    def test_the_planned_arguments_follow_the_vllm_command(self) -> None:
        profile = settings()
        plan = plan_servers(profile, gpu_memory=16, gpus=2)
        first, _ = launches_for(profile, vllm=f"'{sys.executable}' -m 'a module'")
        assert first.command == (sys.executable, "-m", "a module", *plan.servers[0].arguments(plan.version))

    def test_the_program_is_found_on_the_path_and_in_the_home_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "vllm").symlink_to(PYTHON)
        first, _ = launches_for(settings(), {"PATH": str(tmp_path)}, vllm="vllm serve")
        assert first.command[:2] == (str(tmp_path / "vllm"), "serve")
        monkeypatch.setenv("HOME", str(tmp_path))
        first, _ = launches_for(settings(), vllm="~/vllm serve")
        assert first.command[:2] == (str(tmp_path / "vllm"), "serve")

    def test_a_program_that_is_not_installed_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(
            SettingsError,
            match=r"the program 'vllm' was not found.* pip install 'caslie-tools\[vllm\]', or pass .* --vllm",
        ):
            launches_for(settings(), {"PATH": str(tmp_path)}, vllm="vllm serve")

    @pytest.mark.parametrize("vllm", ["", "  ", "vllm 'serve"])
    def test_an_invalid_command_line_is_refused(self, vllm: str) -> None:
        with pytest.raises(InputError, match="is not a valid command"):
            launches_for(settings(), vllm=vllm)

    def test_a_plan_that_does_not_fit_is_refused(self) -> None:
        profile = settings()
        with pytest.raises(SettingsError, match="the profile 'two': the servers do not fit on 1 x 4 GiB"):
            build_launches(plan_servers(profile, gpu_memory=4), profile, vllm=sys.executable)

    def test_a_tilde_in_the_model_path_is_expanded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        server = plan_servers(settings(), gpu_memory=80).servers[1].model_copy(update={"model": "~/models/mine"})
        plan = plan_servers(settings(), gpu_memory=80).model_copy(update={"servers": (server,)})
        (only,) = build_launches(plan, settings(), vllm=sys.executable, environment={})
        assert only.command[1] == str(tmp_path / "models" / "mine")


class TestApiKey:
    def test_the_key_is_only_in_the_environment(self) -> None:
        environment = {"CASLIE_API_KEY": SECRET, "VLLM_API_KEY": "another", "HF_TOKEN": "hub token"}
        for launch in launches_for(settings(), environment):
            assert launch.environment["VLLM_API_KEY"] == SECRET
            assert launch.environment["HF_TOKEN"] == "hub token"
            assert not any(name.startswith("CASLIE_") for name in launch.environment)
            assert SECRET not in " ".join(launch.command) + repr(launch)

    def test_whitespace_around_the_key_is_removed(self) -> None:
        vision, _ = launches_for(settings(captioners=[role(8001, "Qwen/Qwen3-VL-2B-Instruct", api_key=f" {SECRET} ")]))
        assert vision.environment["VLLM_API_KEY"] == SECRET

    def test_two_servers_can_have_different_keys(self) -> None:
        keys = [launch.environment["VLLM_API_KEY"] for launch in launches_for(_with_captioner_key("another"))]
        assert keys == ["another", SECRET]

    @pytest.mark.parametrize("other", ["another", None])
    def test_two_keys_for_one_server_are_refused(self, other: str | None) -> None:
        with pytest.raises(
            SettingsError, match=r"caslie-s-8002: the roles .* \(judge, predictor\) have different API keys"
        ) as caught:
            launches_for(settings(predictor=role(8002, api_key=other)))
        assert SECRET not in str(caught.value)

    def test_a_missing_key_is_refused(self) -> None:
        with pytest.raises(SettingsError, match=r"qwen3-vl-2b-instruct-8001: no API key is set; set CASLIE_API_KEY"):
            launches_for(_with_captioner_key(None))


class TestGpu:
    @pytest.mark.parametrize(
        ("visible", "expected"), [(None, ["0", "1"]), ("2, 5,7", ["2", "5"]), ("GPU-8a,MIG-3b", ["GPU-8a", "MIG-3b"])]
    )
    def test_the_plan_counts_the_visible_gpus(self, visible: str | None, expected: list[str]) -> None:
        environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
        named = {
            launch.server.gpu: launch.environment["CUDA_VISIBLE_DEVICES"]
            for launch in launches_for(settings(), environment)
        }
        assert [named[0], named[1]] == expected

    @pytest.mark.parametrize(("visible", "number"), [("3", 1), ("", 0)])
    def test_too_few_visible_gpus_are_refused(self, visible: str, number: int) -> None:
        message = f"the plan needs 2 GPUs, but CUDA_VISIBLE_DEVICES makes only {number} visible"
        with pytest.raises(SettingsError, match=message):
            launches_for(settings(), {"CUDA_VISIBLE_DEVICES": visible})


def _with_captioner_key(key: str | None) -> ProfileSettings:
    return settings(captioners=[role(8001, "Qwen/Qwen3-VL-2B-Instruct", api_key=key)])
