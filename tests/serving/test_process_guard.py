"""The guard alone. `test_supervisor.py` tests it together with servers."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import pytest

from caslie_tools.serving import process_guard
from tests.time_limits import HANG_SECONDS

RUN_FOREVER = "print('up', flush=True); import signal; signal.pause()"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {RUN_FOREVER}"


@contextmanager
def guarded(*command: str, grace: float = 10_000) -> "Iterator[subprocess.Popen[str]]":
    process = subprocess.Popen(
        [sys.executable, process_guard.__file__, str(grace), *command],  # without -IS, so that coverage measures it
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


def exit_code(process: "subprocess.Popen[str]") -> int:
    # The pipe closes when the last process of the command has ended.
    assert stream(process.stdout).read() == ""
    return process.wait(HANG_SECONDS)


def stream(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def wait_until_started(process: "subprocess.Popen[str]") -> None:
    assert stream(process.stdout).readline() == "up\n"


def test_the_exit_code_is_that_of_the_command() -> None:
    with guarded(*python("raise SystemExit(7)")) as process:
        assert exit_code(process) == 7
    with guarded(*python("import os; os.abort()")) as process:
        assert exit_code(process) == 128 + signal.SIGABRT


def test_a_command_that_cannot_be_started_is_reported() -> None:
    with guarded("/nowhere/vllm", "serve") as process:
        assert stream(process.stdout).read() == "/nowhere/vllm cannot be started: No such file or directory\n"
        assert process.wait(HANG_SECONDS) == process_guard.NOT_STARTED


def test_closing_the_pipe_ends_the_command() -> None:
    with guarded(*python(RUN_FOREVER)) as process:
        wait_until_started(process)
        stream(process.stdin).close()
        assert exit_code(process) == 128 + signal.SIGTERM


def test_a_pipe_closed_before_the_start_ends_the_command() -> None:
    with guarded(*python(STUBBORN), grace=0) as process:
        stream(process.stdin).close()
        assert process.wait(HANG_SECONDS) in (128 + signal.SIGTERM, 128 + signal.SIGKILL)


def test_a_command_that_ignores_sigterm_is_killed_after_the_grace_period() -> None:
    with guarded(*python(STUBBORN), grace=0.05) as process:
        wait_until_started(process)
        stream(process.stdin).close()
        assert exit_code(process) == 128 + signal.SIGKILL


@pytest.mark.parametrize("stopping", [False, True])
def test_sigint_skips_the_grace_period(stopping: bool) -> None:
    with guarded(*python(STUBBORN)) as process:
        wait_until_started(process)
        if stopping:
            stream(process.stdin).close()
        process.send_signal(signal.SIGINT)
        assert exit_code(process) == 128 + signal.SIGKILL


def test_sigterm_has_the_same_effect_as_closing_the_pipe() -> None:
    with guarded(*python(RUN_FOREVER)) as process:
        wait_until_started(process)
        process.send_signal(signal.SIGTERM)
        assert exit_code(process) == 128 + signal.SIGTERM


def test_the_command_starts_with_default_signal_handlers() -> None:
    code = "import signal; print([signal.getsignal(n).name for n in (signal.SIGTERM, signal.SIGCHLD)])"
    with guarded("/bin/sh", "-c", "kill -PIPE $$; echo alive") as process:
        assert exit_code(process) == 128 + signal.SIGPIPE
    with guarded(*python(code)) as process:
        assert stream(process.stdout).read() == "['SIG_DFL', 'SIG_DFL']\n"
