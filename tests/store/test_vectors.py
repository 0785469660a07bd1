"""Results of embedding models: which are accepted, and how vectors are stored."""

from functools import partial
from typing import Any, cast

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings

from caslie_tools.domain import Product
from caslie_tools.exceptions import ImageError, ModelError
from caslie_tools.store import CaptionStore
from caslie_tools.store.lru_cache import LruCache
from caslie_tools.store.vectors import cosine, from_blob, to_blob, unit_vectors
from tests.doubles import HashEmbeddings, HashPictures
from tests.store.items import picture, shown


class FixedEmbeddings(Embeddings):
    """Returns a given result for documents."""

    def __init__(self, result: Any) -> None:
        self.result = result

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if isinstance(self.result, Exception):
            raise self.result
        return cast("list[list[float]]", self.result)  # may be invalid on purpose

    def embed_query(self, text: str) -> list[float]:
        return [1.0, 0.0]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ([[1.0, 2.0], [3.0]], "different lengths"),
        ([["a", "b"], ["c", "d"]], "no vectors"),
        (None, "no vectors|shape"),
        ([], "shape"),
        ([[1.0, 2.0]], "for 2 inputs"),
        ([[], []], "shape"),
        ([[[1.0]], [[2.0]]], "shape"),
        ([[1.0, float("nan")], [1.0, 2.0]], "not finite"),
        ([[1.0, float("inf")], [1.0, 2.0]], "not finite"),
        (ConnectionError("key=sk-secret"), r"failed \(ConnectionError\)"),
    ],
)
def test_invalid_vectors_are_refused_and_nothing_is_stored(result: Any, message: str) -> None:
    with CaptionStore.in_memory(FixedEmbeddings(result)) as store:
        with pytest.raises(ModelError, match=message) as caught:
            store.add_texts(["a", "b"])
        assert "secret" not in str(caught.value)
        assert store.stats().text_vectors == 0


def test_errors_of_this_package_are_not_wrapped() -> None:
    class Failing(HashPictures):
        def embed_images(self, images: object) -> list[list[float]]:
            raise ImageError("too dark")

    with (
        CaptionStore.in_memory(HashEmbeddings(), image_embeddings=Failing()) as store,
        pytest.raises(ImageError, match="too dark"),
    ):
        store.put_products([shown(Product(id="1"), picture("black"))])


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1, 1e30])
def test_vectors_of_any_size_get_unit_length(scale: float) -> None:
    vectors = unit_vectors([[3 * scale, 4 * scale], [0, 0]], 2)
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [pytest.approx([0.6, 0.8]), [0, 0]]


def test_a_zero_vector_has_the_cosine_0() -> None:
    with CaptionStore.in_memory(FixedEmbeddings([[0.0, 0.0]])) as store:
        store.add_texts(["a"])
        assert [score for _, score in store.similarity_search_with_score("a")] == [0]


def test_a_stored_vector_is_returned_unchanged() -> None:
    vector = unit_vectors(np.random.default_rng(1).standard_normal((1, 384)), 1)[0]
    assert from_blob(to_blob(vector)).tobytes() == vector.tobytes()
    assert cosine(vector, vector) <= 1


def test_the_cache_keeps_the_most_recently_used_results() -> None:
    computed: list[str] = []

    def compute(name: str) -> str:
        computed.append(name)
        return name.upper()

    cache: LruCache[str, str] = LruCache(2)
    assert [cache.get(name, partial(compute, name)) for name in "abacab"] == list("ABACAB")
    assert computed == ["a", "b", "c", "b"]
