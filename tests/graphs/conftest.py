from collections.abc import Iterator
from pathlib import Path

import pytest

from caslie_tools.domain import Product
from caslie_tools.store import CaptionStore
from tests.doubles import HashEmbeddings, HashPictures, light_products
from tests.graphs.pipelines import put


@pytest.fixture
def products(tmp_path: Path) -> list[Product]:
    return light_products(tmp_path)


@pytest.fixture
def store(products: list[Product]) -> Iterator[CaptionStore]:
    """The light products with their pictures, nothing captioned yet."""
    with CaptionStore.in_memory(HashEmbeddings(), image_embeddings=HashPictures()) as store:
        put(store, products)
        yield store
