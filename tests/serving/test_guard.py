"""The guard by itself; tests/endpoints/test_processes.py has it at work."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import pytest

from caslie_tools.serving import guard

FOREVER = "print('up', flush=True); import signal; signal.pause()"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {FOREVER}"


@contextmanager
def guarded(*command: str, grace: float = 10_000) -> "Iterator[subprocess.Popen[str]]":
    process = subprocess.Popen(
        [sys.executable, "-IS", guard.__file__, str(grace), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-ISc", code)


def ended(process: "subprocess.Popen[str]") -> int:
    # Whatever it ran holds the other end of this pipe.
    assert stream(process.stdout).read() == ""
    return process.wait(60)


def stream(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def started(process: "subprocess.Popen[str]") -> None:
    assert stream(process.stdout).readline() == "up\n"


def test_it_ends_as_its_command_did() -> None:
    with guarded(*python("raise SystemExit(7)")) as process:
        assert ended(process) == 7
    with guarded(*python("import os; os.abort()")) as process:
        assert ended(process) == 128 + signal.SIGABRT


def test_what_cannot_be_started_is_told() -> None:
    with guarded("/nowhere/vllm", "serve") as process:
        assert stream(process.stdout).read() == "/nowhere/vllm cannot be started: No such file or directory\n"
        assert process.wait(60) == guard.NOT_STARTED


def test_the_end_of_the_pipe_is_the_end_of_the_command() -> None:
    with guarded(*python(FOREVER)) as process:
        started(process)
        stream(process.stdin).close()
        assert ended(process) == 128 + signal.SIGTERM


def test_an_owner_that_is_gone_before_the_start_ends_it_too() -> None:
    with guarded(*python(STUBBORN), grace=0) as process:
        stream(process.stdin).close()
        assert process.wait(60) in (128 + signal.SIGTERM, 128 + signal.SIGKILL)


def test_what_ignores_it_is_killed_after_the_grace_period() -> None:
    with guarded(*python(STUBBORN), grace=0.05) as process:
        started(process)
        stream(process.stdin).close()
        assert ended(process) == 128 + signal.SIGKILL


@pytest.mark.parametrize("stopping", [False, True])
def test_an_interrupt_spares_the_grace_period(stopping: bool) -> None:
    with guarded(*python(STUBBORN)) as process:
        started(process)
        if stopping:
            stream(process.stdin).close()
        process.send_signal(signal.SIGINT)
        assert ended(process) == 128 + signal.SIGKILL


def test_a_termination_signal_is_the_same_as_the_end_of_the_pipe() -> None:
    with guarded(*python(FOREVER)) as process:
        started(process)
        process.send_signal(signal.SIGTERM)
        assert ended(process) == 128 + signal.SIGTERM


def test_signals_are_as_a_shell_would_have_them() -> None:
    code = "import signal; print([signal.getsignal(n).name for n in (signal.SIGTERM, signal.SIGCHLD)])"
    with guarded("/bin/sh", "-c", "kill -PIPE $$; echo alive") as process:
        assert ended(process) == 128 + signal.SIGPIPE
    with guarded(*python(code)) as process:
        assert stream(process.stdout).read() == "['SIG_DFL', 'SIG_DFL']\n"
