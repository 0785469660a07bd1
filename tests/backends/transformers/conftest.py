import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
pytest.importorskip("torch", reason="the extra 'transformers' is not installed")

from tests.backends.transformers.tiny_profile import PROFILE


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``text``, ``vision`` and ``encoder``, each a tiny model. Do not write to them: copy them."""
    from tests.backends.transformers.tiny_models import build_all

    folder = tmp_path_factory.mktemp("tiny")
    build_all(folder)
    return folder


@pytest.fixture
def copied(tiny: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Copies one of the tiny models, to be broken."""
    return lambda name: shutil.copytree(tiny / name, tmp_path / name)


@pytest.fixture
def profile(tiny: Path, tmp_path: Path) -> Path:
    """A profile with every role on a tiny model."""
    path = tmp_path / "tiny.toml"
    path.write_text(PROFILE.format(folder=tiny), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("CASLIE_"):
            monkeypatch.delenv(name)
