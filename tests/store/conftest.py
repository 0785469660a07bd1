from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from caslie_tools.store import CaptionStore
from tests.doubles import HashEmbeddings, HashPictures


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def reopen(path: Path) -> Iterator[Callable[..., CaptionStore]]:
    """Opens the store of the test, as often as needed. All stores are closed at the end of the test."""
    opened = []

    def open_store(**options: object) -> CaptionStore:
        arguments = {"embeddings": HashEmbeddings(), "pictures": HashPictures()} | options
        opened.append(CaptionStore.open(path, **arguments))  # type: ignore[arg-type]
        return opened[-1]

    yield open_store
    for store in opened:
        store.close()


@pytest.fixture
def store(reopen: Callable[..., CaptionStore]) -> CaptionStore:
    return reopen()
