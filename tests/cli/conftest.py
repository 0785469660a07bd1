from pathlib import Path

import pytest

from tests.cli.commands import Command, in_process
from tests.doubles import write_catalogue


@pytest.fixture(autouse=True)
def _light_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CASLIE_PROFILE", "tests.doubles:light_profile")
    monkeypatch.setenv("CASLIE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def caslie(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process."""
    return in_process(capsys)


@pytest.fixture
def shop(tmp_path: Path, caslie: Command) -> Path:
    """The catalogue of the light profile, indexed."""
    catalogue = write_catalogue(tmp_path)
    assert caslie("index", catalogue).code == 0
    return catalogue
