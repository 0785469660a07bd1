import sys
from pathlib import Path
from typing import Any

import pytest

from caslie_tools.exceptions import InputError, SettingsError
from caslie_tools.profiles.settings import ProfileSettings
from caslie_tools.serving.launching import Launch, launches_of
from caslie_tools.serving.plan import plan_servers

SECRET = "sk-never-to-be-seen"
PYTHON = Path(sys.executable)


def role(port: int, model: str = "NingLab/CASLIE-S", **more: Any) -> dict[str, Any]:
    return {"urls": [f"http://127.0.0.1:{port}/v1"], "model": model, "api_key": SECRET} | more


def settings(**changes: Any) -> ProfileSettings:
    """A vision model and a text model."""
    eyes = role(8001, "Qwen/Qwen3-VL-2B-Instruct")
    roles = {"name": "two", "captioners": [eyes], "judges": [role(8002)], "predictor": role(8002)}
    return ProfileSettings.model_validate(roles | changes)


def launched(
    profile: ProfileSettings, environment: dict[str, str] | None = None, *, vllm: str = sys.executable
) -> tuple[Launch, ...]:
    plan = plan_servers(profile, gpu_memory=16, gpus=2)
    return launches_of(plan, profile, vllm=vllm, environment=environment or {})


class TestCommand:
    def test_the_planned_arguments_follow_what_starts_vllm(self) -> None:
        profile = settings()
        plan = plan_servers(profile, gpu_memory=16, gpus=2)
        first, _ = launched(profile, vllm=f"'{sys.executable}' -m 'a module'")
        assert first.command == (sys.executable, "-m", "a module", *plan.servers[0].arguments(plan.version))

    def test_it_is_found_on_the_path_and_at_home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "vllm").symlink_to(PYTHON)
        first, _ = launched(settings(), {"PATH": str(tmp_path)}, vllm="vllm serve")
        assert first.command[:2] == (str(tmp_path / "vllm"), "serve")
        monkeypatch.setenv("HOME", str(tmp_path))
        first, _ = launched(settings(), vllm="~/vllm serve")
        assert first.command[:2] == (str(tmp_path / "vllm"), "serve")

    def test_one_that_is_not_installed_is_named_with_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(
            SettingsError, match=r"no program 'vllm' here .* pip install vllm==0.32.0, or say with --vllm"
        ):
            launched(settings(), {"PATH": str(tmp_path)}, vllm="vllm serve")

    @pytest.mark.parametrize("vllm", ["", "  ", "vllm 'serve"])
    def test_what_is_no_command_line_is_refused(self, vllm: str) -> None:
        with pytest.raises(InputError, match="is no command that starts vLLM"):
            launched(settings(), vllm=vllm)

    def test_a_plan_that_does_not_fit_is_refused(self) -> None:
        profile = settings()
        with pytest.raises(SettingsError, match="the profile 'two': it does not fit 1 x 4 GiB"):
            launches_of(plan_servers(profile, gpu_memory=4), profile, vllm=sys.executable)

    def test_a_model_at_home_is_found_without_a_shell(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        server = plan_servers(settings()).servers[1].model_copy(update={"model": "~/models/mine"})
        plan = plan_servers(settings()).model_copy(update={"servers": (server,)})
        (launch,) = launches_of(plan, settings(), vllm=sys.executable, environment={})
        assert launch.command[1] == str(tmp_path / "models" / "mine")


class TestKey:
    def test_it_goes_by_the_environment_and_nowhere_else(self) -> None:
        given = {"CASLIE_API_KEY": SECRET, "VLLM_API_KEY": "of another server", "HF_TOKEN": "for the hub"}
        for launch in launched(settings(), given):
            assert launch.environment["VLLM_API_KEY"] == SECRET
            assert launch.environment["HF_TOKEN"] == "for the hub"
            assert not any(name.startswith("CASLIE_") for name in launch.environment)
            assert SECRET not in " ".join(launch.command) + repr(launch)

    def test_blanks_around_it_are_left_out_as_our_client_does(self) -> None:
        eyes, _ = launched(settings(captioners=[role(8001, "Qwen/Qwen3-VL-2B-Instruct", api_key=f" {SECRET} ")]))
        assert eyes.environment["VLLM_API_KEY"] == SECRET

    def test_two_servers_may_have_two(self) -> None:
        keys = [launch.environment["VLLM_API_KEY"] for launch in launched(_with_captioner_key("another"))]
        assert keys == ["another", SECRET]

    @pytest.mark.parametrize("other", ["another", None])
    def test_one_server_may_not(self, other: str | None) -> None:
        with pytest.raises(SettingsError, match=r"caslie-s-8002: .* have several \(judge, predictor\)") as caught:
            launched(settings(predictor=role(8002, api_key=other)))
        assert SECRET not in str(caught.value)

    def test_there_must_be_one(self) -> None:
        with pytest.raises(SettingsError, match=r"qwen3-vl-2b-instruct-8001: no API key is set; set CASLIE_API_KEY"):
            launched(_with_captioner_key(None))


class TestGpu:
    @pytest.mark.parametrize(
        ("visible", "told"), [(None, ["0", "1"]), ("2, 5,7", ["2", "5"]), ("GPU-8a,MIG-3b", ["GPU-8a", "MIG-3b"])]
    )
    def test_the_plan_counts_those_the_user_lets_be_seen(self, visible: str | None, told: list[str]) -> None:
        given = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
        named = {
            launch.server.gpu: launch.environment["CUDA_VISIBLE_DEVICES"] for launch in launched(settings(), given)
        }
        assert [named[0], named[1]] == told

    @pytest.mark.parametrize(("visible", "number"), [("3", 1), ("", 0)])
    def test_one_that_cannot_be_seen_is_refused(self, visible: str, number: int) -> None:
        message = f"CUDA_VISIBLE_DEVICES lets {number} GPUs be seen, and the plan counts on 2"
        with pytest.raises(SettingsError, match=message):
            launched(settings(), {"CUDA_VISIBLE_DEVICES": visible})


def _with_captioner_key(key: str | None) -> ProfileSettings:
    return settings(captioners=[role(8001, "Qwen/Qwen3-VL-2B-Instruct", api_key=key)])
