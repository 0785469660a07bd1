"""`caslie endpoints up` with real servers: planned, started, checked, and gone."""

import signal
from pathlib import Path

import pytest

from caslie_tools.profiles.checking import check_profile
from caslie_tools.profiles.toml import load_profile_settings
from tests.cli.commands import finish, start
from tests.serving.fake_servers import SECRET, command_line, free_ports, is_running, read_until_up
from tests.vllm import environment, fleet
from tests.vllm.servers import server_environment

VLLM = f"'{environment.interpreter()}' -m vllm.entrypoints.openai.api_server --model"
"""The processor build does not find itself by its own command."""


def profile_in(folder: Path) -> Path:
    """A captioner on one server, two judges and a predictor on the other."""
    vision, text = free_ports(2)
    roles = [("[captioner]", vision, fleet.CAPTIONER, "vision"), ("[predictor]", text, fleet.PREDICTOR, "text")]
    roles += [("[[judges]]", text, name, "text") for name in fleet.JUDGES[:2]]
    path = folder / "tiny.toml"
    lines = ["[defaults]", "max_concurrency = 2", "context_length = 2048"]
    for role, port, name, model in roles:
        lines += [role, f'urls = ["http://{{host}}:{port}/v1"]', f'model = "{name}"']
        lines.append(f'weights = "{environment.MODELS / model}"')
    path.write_text("\n".join(lines))
    return path


def family(process: int) -> set[int]:
    """A process with all its descendants."""
    children = Path(f"/proc/{process}/task").glob("*/children")
    found = {int(child) for text in children for child in text.read_text().split()}
    return {process}.union(*(family(child) for child in found))


async def test_up_checked_and_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASLIE_API_KEY", SECRET)
    profile = profile_in(tmp_path)
    command = ("endpoints", "up", profile, "--vllm", VLLM, "--logs", tmp_path / "logs")
    with start(*command, environment=server_environment()) as process:
        try:
            lines = read_until_up(process)
            assert len(lines) == 3, process.stderr.read() if process.stderr else ""
            processes = family(process.pid)
            assert len(processes) > 1 + 2 * 3  # a guard, a server and its engine each
            assert not any(SECRET in command_line(number) for number in processes)
            reports = await check_profile(load_profile_settings(profile))
            assert [finding for report in reports for finding in report.findings if not finding.passed] == []
            process.send_signal(signal.SIGINT)
            ended = finish(process)
        finally:
            process.kill()
    assert ended.code == 0, ended.err
    assert [number for number in processes if is_running(number)] == []
    logs = sorted((tmp_path / "logs").iterdir())
    assert [log.name.rpartition("-")[0] for log in logs] == [fleet.CAPTIONER, fleet.JUDGES[0]]
    assert SECRET not in ended.out + ended.err + "".join(log.read_text(encoding="utf-8") for log in logs)
