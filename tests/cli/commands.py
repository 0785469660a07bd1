"""Helpers for tests of the command: run it in this or in a separate process, and check how it ended."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from caslie_tools.cli import main
from tests.paths import ROOT
from tests.time_limits import HANG_SECONDS


@dataclass(frozen=True)
class Result:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document on standard output."""
        return json.loads(self.out)


Command = Callable[..., Result]
"""Runs the command with arguments: the fixture ``caslie``."""
EmbeddedCommand = Callable[..., Any]
"""Runs the command with the embedded models, and returns its document: the fixture ``embedded_caslie``."""


def in_process(capsys: pytest.CaptureFixture[str]) -> Command:
    """Returns a command that runs in this process."""

    def run(*arguments: str | Path) -> Result:
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert isinstance(exit_.value.code, int)
        assert "Traceback" not in captured.err
        return Result(exit_.value.code, captured.out, captured.err)

    return run


def start(
    *arguments: str | Path, environment: Mapping[str, str] | None = None, **options: Any
) -> "subprocess.Popen[str]":
    """Starts the command in a separate process. Standard output and error are pipes by default."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        [sys.executable, "-m", "caslie_tools.cli", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | dict(environment or {}),
        text=True,
        encoding="utf-8",
        **(pipes | options),
    )


def finish(process: "subprocess.Popen[str]") -> Result:
    """Waits for the end of a command."""
    out, err = process.communicate(timeout=HANG_SECONDS)
    return Result(process.returncode, out or "", err or "")


def assert_error(result: Result, *, code: int, contains: Sequence[str]) -> None:
    """Checks that a command failed with one line on standard error, and printed nothing on standard output."""
    assert result.code == code, result
    assert result.out == ""
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    for part in contains:
        assert part in result.err
