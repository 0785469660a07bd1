"""`caslie endpoints up`, from its start to each of its ends."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Command, finish, one_line, start
from tests.serving.standing_in import SECRET, StandIns, await_end, command_line, lives, read_until_up

Up = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def up(stand_ins: StandIns) -> Iterator[Up]:
    """Starts the command as a shell does: in the foreground, in a process group of its own."""
    running: list[subprocess.Popen[str]] = []

    def run(profile: Path, *options: str) -> "subprocess.Popen[str]":
        command = ("endpoints", "up", profile, "--vllm", stand_ins.vllm, *options)
        running.append(start(*command, start_new_session=True))
        return running[-1]

    yield run
    for process in running:
        with process:
            process.kill()


def ctrl_c(process: "subprocess.Popen[str]") -> None:
    """As a terminal does it: to every process in the foreground."""
    os.killpg(process.pid, signal.SIGINT)


def test_it_says_what_is_up_and_stops_everything_on_ctrl_c(stand_ins: StandIns, up: Up) -> None:
    profile = stand_ins.profile("eyes.mother")
    process = up(profile)
    eyes, text, last = read_until_up(process)
    assert re.fullmatch(r"eyes-mother-\d+ is healthy: http://127\.0\.0\.1:\d+/v1 \(captioner\)", eyes)
    assert re.fullmatch(r"text-\d+ is healthy: http://127\.0\.0\.1:\d+/v1 \(judge, predictor\)", text)
    assert last == f"all 2 servers are up until Ctrl-C; next: caslie endpoints check {profile}"
    children = [
        child for name in ("eyes.mother", "text") for child in stand_ins.await_event("started", name)["processes"]
    ]
    for number in (process.pid, *children):
        assert SECRET not in command_line(number)
    ctrl_c(process)
    ended = finish(process)
    assert ended.code == 0
    assert "stopping the servers; Ctrl-C again kills them\nstopped\n" in ended.err
    assert not any(lives(child) for child in children)
    told = [(event["event"], event["name"]) for event in stand_ins.told_to_the_end()]
    assert ("terminated", "eyes.mother") in told
    assert ("terminated", "text") in told
    log = Path(".caslie/logs") / f"{eyes.partition(' ')[0]}.log"
    assert f"{log.stem} is starting on GPU 0; its log is {log}\n" in ended.err
    assert log.read_text() == "eyes.mother is loading\n"
    assert SECRET not in ended.out + ended.err + log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_can_be_stopped_while_it_starts(stand_ins: StandIns, up: Up, number: signal.Signals) -> None:
    process = up(stand_ins.profile(text="text.deaf"), "--logs", str(stand_ins.folder / "kept"))
    stand_ins.await_event("asked", "text.deaf")
    process.send_signal(number)
    ended = finish(process)
    assert ended.code == 0
    assert "are up" not in ended.out
    told = [(event["event"], event["name"]) for event in stand_ins.told_to_the_end()]
    assert sorted(told[-2:]) == [("terminated", "eyes"), ("terminated", "text.deaf")]
    assert len(list((stand_ins.folder / "kept").glob("*.log"))) == 2


def test_a_second_ctrl_c_kills(stand_ins: StandIns, up: Up) -> None:
    process = up(stand_ins.profile("eyes.stubborn.mother"))
    read_until_up(process)
    ctrl_c(process)
    stand_ins.await_event("refused", "eyes.stubborn.mother")
    ctrl_c(process)
    ended = finish(process)
    assert ended.code == 0
    assert ended.err.endswith("killing the servers\nstopped\n")
    stand_ins.told_to_the_end()


def test_nothing_outlives_it_when_it_is_killed_itself(stand_ins: StandIns, up: Up) -> None:
    process = up(stand_ins.profile("eyes.mother"))
    read_until_up(process)
    children = [
        child for name in ("eyes.mother", "text") for child in stand_ins.await_event("started", name)["processes"]
    ]
    process.kill()
    assert finish(process).code == -signal.SIGKILL
    told = [(event["event"], event["name"]) for event in stand_ins.told_to_the_end()]
    assert ("terminated", "eyes.mother") in told
    assert ("terminated", "text") in told
    for child in children:  # the guards too
        await_end(child)


def test_a_server_that_ends_ends_it_with_the_end_of_its_log(stand_ins: StandIns, up: Up) -> None:
    process = up(stand_ins.profile(text="text.dies"))
    ended = finish(process)
    assert ended.code == 1
    assert "text.dies is loading\n\ufffd[31mno weights[/red]\nthe key is ***\n" in ended.err
    assert re.search(
        r"\nerror: text-dies-\d+ ended before it was healthy \(exit code 3\); its log is .*\.log\n", ended.err
    )
    assert SECRET not in ended.out + ended.err
    assert ("terminated", "eyes") in [(event["event"], event["name"]) for event in stand_ins.told_to_the_end()]


def test_a_reader_that_leaves_ends_it(stand_ins: StandIns, up: Up) -> None:
    process = up(stand_ins.profile(text="text.waits"))
    stand_ins.await_event("asked", "text.waits")
    assert process.stdout is not None
    process.stdout.close()
    stand_ins.go()
    assert process.wait(60) == 1
    stand_ins.told_to_the_end()


class TestRefused:
    """Before anything is started, in one line."""

    @pytest.fixture(autouse=True)
    def _nothing_started(self, stand_ins: StandIns) -> Iterator[None]:
        yield
        assert stand_ins.told_to_the_end() == []

    def test_what_does_not_fit(self, caslie: Command, stand_ins: StandIns) -> None:
        profile = stand_ins.profile()
        refusals = [caslie("endpoints", name, profile, "--gpu-memory", "2") for name in ("plan", "up")]
        planned, refused = (ended.err.splitlines()[-1] for ended in refusals)
        assert planned == refused
        one_line(refusals[1], code=1, says=["the profile 'profile': it does not fit 1 x 2 GiB"])

    def test_no_key(self, caslie: Command, stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CASLIE_API_KEY")
        ended = caslie("endpoints", "up", stand_ins.profile(), "--vllm", stand_ins.vllm)
        one_line(ended, code=1, says=["no API key is set; set CASLIE_API_KEY"])

    def test_no_vllm(self, caslie: Command, stand_ins: StandIns) -> None:
        ended = caslie("endpoints", "up", stand_ins.profile(more='vllm = "==0.31.0"'), "--vllm", "no-such-vllm serve")
        one_line(ended, code=1, says=["no program 'no-such-vllm' here", "pip install vllm==0.31.0", "--vllm"])
        one_line(caslie("endpoints", "up", stand_ins.profile(), "--vllm", "'"), code=2, says=["is no command"])

    def test_another_machine(self, caslie: Command, stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CASLIE_HOST", "192.0.2.1")
        ended = caslie("endpoints", "up", stand_ins.profile(), "--vllm", stand_ins.vllm)
        assert ended.code == 1
        assert "is not on this machine; start the servers there" in ended.err.splitlines()[-1]
