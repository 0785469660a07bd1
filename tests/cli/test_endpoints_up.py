"""`caslie endpoints up`: startup, shutdown, and every failure in between."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.commands import Command, assert_error, finish, start
from tests.serving.fake_servers import (
    SECRET,
    FakeServers,
    command_line,
    is_running,
    names_of,
    read_until_up,
    wait_for_exit,
)
from tests.time_limits import HANG_SECONDS

Up = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def up(fake_servers: FakeServers) -> Iterator[Up]:
    """Starts the command as a shell does: in the foreground, in its own process group."""
    running: list[subprocess.Popen[str]] = []

    def run(profile: Path, *options: str) -> "subprocess.Popen[str]":
        command: tuple[str | Path, ...] = ("endpoints", "up", profile, "--vllm", fake_servers.vllm, *options)
        running.append(start(*command, start_new_session=True))
        return running[-1]

    yield run
    for process in running:
        with process:
            process.kill()


def press_ctrl_c(process: "subprocess.Popen[str]") -> None:
    """Sends SIGINT to the whole process group, as a terminal does."""
    os.killpg(process.pid, signal.SIGINT)


def processes_of(fake_servers: FakeServers) -> list[int]:
    """Returns the processes of both servers, with their guards and children."""
    names = ("vision.forking", "text")
    return [process for name in names for process in fake_servers.wait_for("started", name)["processes"]]


def test_ctrl_c_stops_all_servers(fake_servers: FakeServers, up: Up) -> None:
    profile = fake_servers.profile("vision.forking")
    process = up(profile)
    vision, text, last = read_until_up(process)
    assert re.fullmatch(r"vision-forking-\d+ is healthy: http://127\.0\.0\.1:\d+/v1 \(captioner\)", vision)
    assert re.fullmatch(r"text-\d+ is healthy: http://127\.0\.0\.1:\d+/v1 \(judge, predictor\)", text)
    assert last == (f"all 2 servers are up. Check them with: caslie endpoints check {profile}. Stop them with Ctrl-C")
    children = processes_of(fake_servers)
    for number in (process.pid, *children):
        assert SECRET not in command_line(number)
    press_ctrl_c(process)
    result = finish(process)
    assert result.code == 0
    assert "stopping the servers; press Ctrl-C again to kill them\nall servers have stopped\n" in result.err
    assert not any(is_running(child) for child in children)
    events = names_of(fake_servers.events_until_exit())
    assert ("terminated", "vision.forking") in events
    assert ("terminated", "text") in events
    log = Path(".caslie/logs") / f"{vision.partition(' ')[0]}.log"
    assert f"{log.stem} is starting on GPU 0; log: {log}\n" in result.err
    assert log.read_text() == "vision.forking is loading\n"
    assert SECRET not in result.out + result.err + log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_startup_stops_the_servers(fake_servers: FakeServers, up: Up, number: signal.Signals) -> None:
    process = up(fake_servers.profile(text="text.unhealthy"), "--logs", str(fake_servers.folder / "kept"))
    fake_servers.wait_for("polled", "text.unhealthy")
    process.send_signal(number)
    result = finish(process)
    assert result.code == 0
    assert "are up" not in result.out
    events = names_of(fake_servers.events_until_exit())
    assert sorted(events[-2:]) == [("terminated", "text.unhealthy"), ("terminated", "vision")]
    assert len(list((fake_servers.folder / "kept").glob("*.log"))) == 2


def test_a_second_ctrl_c_kills_the_servers(fake_servers: FakeServers, up: Up) -> None:
    process = up(fake_servers.profile("vision.stubborn.forking"))
    read_until_up(process)
    press_ctrl_c(process)
    fake_servers.wait_for("sigterm_ignored", "vision.stubborn.forking")
    press_ctrl_c(process)
    result = finish(process)
    assert result.code == 0
    assert result.err.endswith("killing the servers\nall servers have stopped\n")
    fake_servers.events_until_exit()


def test_no_server_outlives_a_killed_command(fake_servers: FakeServers, up: Up) -> None:
    process = up(fake_servers.profile("vision.forking"))
    read_until_up(process)
    children = processes_of(fake_servers)
    process.kill()
    assert finish(process).code == -signal.SIGKILL
    events = names_of(fake_servers.events_until_exit())
    assert ("terminated", "vision.forking") in events
    assert ("terminated", "text") in events
    for child in children:  # the guards too
        wait_for_exit(child)


def test_a_server_that_exits_ends_the_command_with_the_end_of_its_log(fake_servers: FakeServers, up: Up) -> None:
    process = up(fake_servers.profile(text="text.crashes"))
    result = finish(process)
    assert result.code == 1
    assert "text.crashes is loading\n\ufffd[31mno weights[/red]\nthe key is ***\n" in result.err
    assert re.search(
        r"\nerror: text-crashes-\d+ exited before it was healthy \(exit code 3\); see its log .*\.log\n", result.err
    )
    assert SECRET not in result.out + result.err
    assert ("terminated", "vision") in names_of(fake_servers.events_until_exit())


def test_a_closed_standard_output_ends_the_command(fake_servers: FakeServers, up: Up) -> None:
    process = up(fake_servers.profile(text="text.held"))
    fake_servers.wait_for("polled", "text.held")
    assert process.stdout is not None
    process.stdout.close()
    fake_servers.release()
    assert process.wait(HANG_SECONDS) == 1
    fake_servers.events_until_exit()


class TestRefused:
    """The command is refused in one line, and no server is started."""

    @pytest.fixture(autouse=True)
    def _nothing_started(self, fake_servers: FakeServers) -> Iterator[None]:
        yield
        assert fake_servers.events_until_exit() == []

    def test_a_plan_that_does_not_fit(self, caslie: Command, fake_servers: FakeServers) -> None:
        profile = fake_servers.profile()
        refusals = [caslie("endpoints", name, profile, "--gpu-memory", "2") for name in ("plan", "up")]
        planned, refused = (result.err.splitlines()[-1] for result in refusals)
        assert planned == refused
        assert_error(refusals[1], code=1, contains=["the profile 'profile': the servers do not fit on 1 x 2 GiB"])

    def test_a_missing_api_key(
        self, caslie: Command, fake_servers: FakeServers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("CASLIE_API_KEY")
        result = caslie("endpoints", "up", fake_servers.profile(), "--vllm", fake_servers.vllm)
        assert_error(result, code=1, contains=["no API key is set; set CASLIE_API_KEY"])

    def test_a_vllm_command_that_cannot_be_used(self, caslie: Command, fake_servers: FakeServers) -> None:
        profile = fake_servers.profile(more='vllm = "==0.31.0"')
        result = caslie("endpoints", "up", profile, "--vllm", "no-such-vllm serve")
        assert_error(result, code=1, contains=["'no-such-vllm' was not found", "pip install vllm==0.31.0", "--vllm"])
        result = caslie("endpoints", "up", fake_servers.profile(), "--vllm", "'")
        assert_error(result, code=2, contains=["is not a valid command"])

    def test_an_address_of_another_machine(
        self, caslie: Command, fake_servers: FakeServers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CASLIE_HOST", "192.0.2.1")
        result = caslie("endpoints", "up", fake_servers.profile(), "--vllm", fake_servers.vllm)
        assert result.code == 1
        assert "is not an address of this machine" in result.err.splitlines()[-1]
