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
from tests.doubles import write_catalogue
from tests.paths import ROOT


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)


Command = Callable[..., Ended]


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CASLIE_PROFILE", "tests.doubles:light_profile")
    monkeypatch.setenv("CASLIE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def caslie(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process."""

    def run(*arguments: str | Path) -> Ended:
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert isinstance(exit_.value.code, int)
        assert "Traceback" not in captured.err
        return Ended(exit_.value.code, captured.out, captured.err)

    return run


@pytest.fixture
def shop(tmp_path: Path, caslie: Command) -> Path:
    """The light products' catalogue, indexed."""
    catalogue = write_catalogue(tmp_path)
    assert caslie("index", catalogue).code == 0
    return catalogue


def start(
    *arguments: str | Path, environment: Mapping[str, str] | None = None, **options: Any
) -> "subprocess.Popen[str]":
    """Starts the command in a process of its own; its streams are pipes unless told otherwise."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        [sys.executable, "-m", "caslie_tools.cli", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | dict(environment or {}),
        text=True,
        encoding="utf-8",
        **(pipes | options),
    )


def finish(process: "subprocess.Popen[str]") -> Ended:
    """Waits for a command to end."""
    out, err = process.communicate(timeout=120)
    return Ended(process.returncode, out or "", err or "")


def one_line(ended: Ended, *, code: int, says: Sequence[str]) -> None:
    """Checks that a command ended with one line for people and nothing on standard output."""
    assert ended.code == code, ended
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    for part in says:
        assert part in ended.err
