from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Command


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASLIE_API_KEY", "sk-never-to-be-seen")


def test_a_plan_shows_memory_and_commands(caslie: Command) -> None:
    ended = caslie("endpoints", "plan", "caslie-s-24gb")
    assert ended.code == 0
    assert "caslie-s-8002" in ended.out
    commands = [line for line in ended.out.splitlines() if line.startswith("vllm serve ")]
    assert len(commands) == 2
    assert all(command.endswith('--api-key "${CASLIE_API_KEY:?}"') for command in commands)
    assert "note: CASLIE-S was tuned" in ended.err
    assert "never-to-be-seen" not in ended.out + ended.err


def test_a_plan_is_a_document_too(caslie: Command) -> None:
    ended = caslie("endpoints", "plan", "caslie-m", "--gpu-memory", "48", "--gpus", "2", "--json")
    assert ended.code == 0
    assert (ended.document["profile"], ended.document["gpus"]) == ("caslie-m", 2)
    assert {server["gpu"] for server in ended.document["servers"]} == {0, 1}
    assert all(server["needed_bytes"] > server["weight_bytes"] > 0 for server in ended.document["servers"])
    assert "never-to-be-seen" not in ended.out


def test_what_does_not_fit_ends_in_a_clear_no(caslie: Command, tmp_path: Path) -> None:
    ended = caslie("endpoints", "plan", "caslie-s-24gb", "--gpu-memory", "16", "--compose", tmp_path / "compose.yaml")
    assert ended.code == 1
    assert "error: the profile 'caslie-s-24gb': it does not fit 1 x 16 GiB: caslie-s-8002 needs" in ended.err
    assert "vllm serve" not in ended.out
    assert not (tmp_path / "compose.yaml").exists()
    refused = caslie("endpoints", "plan", "caslie-s-24gb", "--gpu-memory", "16", "--json")
    assert refused.code == 1
    assert refused.document["error"]["type"] == "SettingsError"


def test_a_compose_file_is_written(caslie: Command, tmp_path: Path) -> None:
    ended = caslie("endpoints", "plan", "caslie-s-24gb", "--compose", tmp_path / "compose.yaml")
    assert ended.code == 0
    assert "compose.yaml up -d" in ended.err
    text = (tmp_path / "compose.yaml").read_text()
    assert set(yaml.safe_load(text)["services"]) == {"qwen3-vl-4b-instruct-8001", "caslie-s-8002"}
    assert "never-to-be-seen" not in text


@pytest.mark.parametrize(
    ("profile", "message"),
    [("brilliant", "choose one of caslie-m, caslie-s-24gb, paper"), ("none.toml", "'none.toml' does not exist")],
)
def test_an_unknown_profile_takes_one_line(caslie: Command, profile: str, message: str) -> None:
    ended = caslie("endpoints", "plan", profile)
    assert (ended.code, ended.out) == (1, "")
    assert message in ended.err
