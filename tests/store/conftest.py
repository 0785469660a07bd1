from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from caslie_tools.store import CaptionStore
from tests.doubles import HashEmbeddings, HashPictures


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def reopen(path: Path) -> Iterator[Callable[..., CaptionStore]]:
    """Opens the store of the test, as often as needed. All stores are closed at the end of the test."""
    opened: list[CaptionStore] = []

    def open_store(**options: Any) -> CaptionStore:
        arguments: dict[str, Any] = {"embeddings": HashEmbeddings(), "image_embeddings": HashPictures()}
        opened.append(CaptionStore.open(path, **(arguments | options)))
        return opened[-1]

    yield open_store
    for store in opened:
        store.close()


@pytest.fixture
def store(reopen: Callable[..., CaptionStore]) -> CaptionStore:
    return reopen()
