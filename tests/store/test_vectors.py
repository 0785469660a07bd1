"""What a model may answer, and what not."""

from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings

from caslie_tools.domain import Product
from caslie_tools.exceptions import ImageError, ModelError
from caslie_tools.store import CaptionStore
from caslie_tools.store.vectors import Recent, cosine, from_blob, to_blob, unit_vectors
from tests.doubles import HashEmbeddings, HashPictures
from tests.store.conftest import picture, shown


class Answering(Embeddings):
    """Answers documents with whatever it is given."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[no-any-return] # that is the point

    def embed_query(self, text: str) -> list[float]:
        return [1.0, 0.0]


@pytest.mark.parametrize(
    ("answer", "says"),
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
def test_unusable_answers_are_refused_and_nothing_is_stored(answer: Any, says: str) -> None:
    with CaptionStore.in_memory(Answering(answer)) as store:
        with pytest.raises(ModelError, match=says) as caught:
            store.add_texts(["a", "b"])
        assert "secret" not in str(caught.value)
        assert store.stats().text_vectors == 0


def test_our_own_errors_pass_unchanged() -> None:
    class Blind(HashPictures):
        def embed_images(self, images: object) -> list[list[float]]:
            raise ImageError("too dark")

    with (
        CaptionStore.in_memory(HashEmbeddings(), pictures=Blind()) as store,
        pytest.raises(ImageError, match="too dark"),
    ):
        store.put_products([shown(Product(id="1"), picture("black"))])


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1, 1e30])
def test_vectors_of_any_size_get_unit_length(scale: float) -> None:
    vectors = unit_vectors([[3 * scale, 4 * scale], [0, 0]], 2)
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [pytest.approx([0.6, 0.8]), [0, 0]]


def test_a_zero_vector_is_like_nothing() -> None:
    with CaptionStore.in_memory(Answering([[0.0, 0.0]])) as store:
        store.add_texts(["a"])
        assert [score for _, score in store.similarity_search_with_score("a")] == [0]


def test_vectors_survive_storage_bit_by_bit() -> None:
    vector = unit_vectors(np.random.default_rng(1).standard_normal((1, 384)), 1)[0]
    assert from_blob(to_blob(vector)).tobytes() == vector.tobytes()
    assert cosine(vector, vector) <= 1


def test_only_the_latest_answers_are_remembered() -> None:
    made: list[str] = []

    def make(name: str) -> str:
        return recent.get(name, lambda: made.append(name) or name.upper())  # type: ignore[func-returns-value]

    recent: Recent[str, str] = Recent(2)
    assert [make(name) for name in "abacab"] == list("ABACAB")
    assert made == ["a", "b", "c", "b"]
