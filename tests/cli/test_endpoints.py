from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from caslie_tools._concurrency import run_sync
from caslie_tools.testing import Fault, FaultyServer
from caslie_tools.testing.openai_responses import images
from tests.cli.commands import Command


@pytest.fixture(autouse=True)
def _api_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASLIE_API_KEY", "sk-never-to-be-seen")


def test_a_plan_prints_memory_and_commands(caslie: Command) -> None:
    result = caslie("endpoints", "plan", "caslie-s-24gb")
    assert result.code == 0
    assert "caslie-s-8002" in result.out
    commands = [line for line in result.out.splitlines() if " vllm serve " in line]
    assert len(commands) == 2
    assert all(command.startswith('VLLM_API_KEY="${CASLIE_API_KEY:?}" vllm serve ') for command in commands)
    assert "note: CASLIE-S was tuned" in result.err
    assert "never-to-be-seen" not in result.out + result.err


def test_a_plan_as_json(caslie: Command) -> None:
    result = caslie("endpoints", "plan", "caslie-m", "--gpu-memory", "48", "--gpus", "2", "--json")
    assert result.code == 0
    assert (result.document["profile"], result.document["gpus"]) == ("caslie-m", 2)
    assert {server["gpu"] for server in result.document["servers"]} == {0, 1}
    assert all(server["needed_bytes"] > server["weight_bytes"] > 0 for server in result.document["servers"])
    assert "never-to-be-seen" not in result.out


def test_a_plan_that_does_not_fit_is_an_error(caslie: Command, tmp_path: Path) -> None:
    result = caslie("endpoints", "plan", "caslie-s-24gb", "--gpu-memory", "16", "--compose", tmp_path / "compose.yaml")
    assert result.code == 1
    assert "error: the profile 'caslie-s-24gb': the servers do not fit on 1 x 15 GiB: caslie-s-8002 needs" in result.err
    assert "vllm serve" not in result.out
    assert not (tmp_path / "compose.yaml").exists()
    refused = caslie("endpoints", "plan", "caslie-s-24gb", "--gpu-memory", "16", "--json")
    assert refused.code == 1
    assert refused.document["error"]["type"] == "SettingsError"


def test_a_compose_file_is_written(caslie: Command, tmp_path: Path) -> None:
    result = caslie("endpoints", "plan", "caslie-s-24gb", "--compose", tmp_path / "compose.yaml")
    assert result.code == 0
    assert "compose.yaml up -d" in result.err
    text = (tmp_path / "compose.yaml").read_text()
    assert set(yaml.safe_load(text)["services"]) == {"qwen3-vl-4b-instruct-8001", "caslie-s-8002"}
    assert "never-to-be-seen" not in text


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ("brilliant", "choose one of caslie-l, caslie-m, caslie-s-24gb, local-hf, paper"),
        ("none.toml", "'none.toml' does not exist"),
    ],
)
def test_an_unknown_profile_is_refused(caslie: Command, profile: str, message: str) -> None:
    result = caslie("endpoints", "plan", profile)
    assert (result.code, result.out) == (1, "")
    assert message in result.err


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FaultyServer]:
    """A server for all roles, and its profile in mine.toml."""

    def answer(body: Mapping[str, Any]) -> str:
        return f"picture {len(images(body)[0])}" if images(body) else "apple"

    server = run_sync(FaultyServer(respond=answer, api_key="sk-never-to-be-seen").__aenter__())
    urls = f'urls = ["{server.url}"]\nmodel = "model"'
    (tmp_path / "mine.toml").write_text(
        f"[defaults]\n{urls}\nmax_attempts = 1\n"
        '[captioner]\n[predictor]\n[[judges]]\nname = "reader"\n[[judges]]\nname = "viewer"\nsees_image = true\n'
        "[embeddings]\n"
    )
    yield server
    run_sync(server.stop())


def test_a_check_of_working_servers_passes(caslie: Command, server: FaultyServer) -> None:
    result = caslie("endpoints", "check", "mine.toml")
    assert result.code == 0
    assert result.out.count("passed") == 5
    assert "failed" not in result.out
    document = caslie("endpoints", "check", "mine.toml", "--json").document
    assert document["passed"]
    assert [role["role"] for role in document["roles"]] == [
        "captioner",
        "judge 1",
        "judge 2",
        "predictor",
        "embeddings",
    ]


SERVED = {
    "captioner": "served",
    "judge 1": "served",
    "judge 2": "served",
    "predictor": "served",
    "embeddings": "served",
}
VOTED = {"judge 1": "constraint", "judge 2": "constraint", "predictor": "constraint"}


@pytest.mark.parametrize(
    ("fault", "failed", "message"),
    [
        (Fault.HTTP_401, SERVED, "set its API key"),
        (Fault.HTTP_404, SERVED, "check the model's name and that the URL ends in /v1"),
        (Fault.HTTP_429, SERVED, "has too many requests (429): 'slow down'"),
        (Fault.HTTP_500, SERVED, "failed (500): 'EngineDeadError'"),
        (Fault.HTTP_503, SERVED, "failed (503): 'loading'"),
        (Fault.REDIRECT, SERVED, "redirects to another address (307)"),
        (Fault.HANG, SERVED, "did not finish within 0.2 s"),
        (Fault.DRIP, SERVED, "did not finish within 0.2 s"),
        (Fault.RESET, SERVED, "the connection to 127.0.0.1"),
        (Fault.TRUNCATED, SERVED, "the connection to 127.0.0.1"),
        (Fault.NO_RESPONSE, SERVED, "the connection to 127.0.0.1"),
        (Fault.GARBAGE, SERVED, "it is not JSON"),
        (Fault.BINARY, SERVED, "it is not JSON"),
        (Fault.WRONG_SCHEMA, SERVED, "it does not match the schema of OpenAI's API"),
        (Fault.HUGE, SERVED, "bytes"),
        (Fault.UNCONSTRAINED, VOTED, "ignored the constraint"),
        (Fault.NO_LOGPROBS, dict.fromkeys(VOTED, "log-probabilities"), "votes would have no probability"),
        (Fault.IMAGES_DROPPED, {"captioner": "image seen", "judge 2": "image seen"}, "images do not reach the model"),
        (Fault.DOUBLE_BOS, {"predictor": "BOS"}, "2 special tokens come before a raw prompt"),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
def test_a_check_names_the_fault(
    caslie: Command,
    server: FaultyServer,
    fault: Fault,
    failed: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if fault in {Fault.HANG, Fault.DRIP}:
        monkeypatch.setenv("CASLIE_DEFAULTS__TIMEOUT_SECONDS", "0.2")
    server.default_fault = fault
    result = caslie("endpoints", "check", "mine.toml", "--json")
    assert result.code == 1
    found = [
        (role["role"], finding["probe"], finding["detail"])
        for role in result.document["roles"]
        for finding in role["findings"]
        if not finding["passed"]
    ]
    assert {role: probe for role, probe, _ in found} == failed
    assert all(message in detail for _, _, detail in found), found
    shown = caslie("endpoints", "check", "mine.toml")
    assert shown.code == 1
    assert shown.out.count("failed") >= len(failed)
    assert "never-to-be-seen" not in result.out + result.err + shown.out + shown.err


def test_a_command_does_not_start_if_a_server_is_not_ready(caslie: Command, shop: Path, server: FaultyServer) -> None:
    server.default_fault = Fault.HTTP_503
    result = caslie("ask", "Is it waterproof?", "--profile", "mine.toml")
    assert (result.code, result.out) == (1, "")
    assert "judge 1: model 'model' at 127.0.0.1" in result.err
    assert "Run `caslie endpoints check mine` for a full report" in result.err
