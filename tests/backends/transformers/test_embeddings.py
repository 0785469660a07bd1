from pathlib import Path
from typing import Any

import pytest

from caslie_tools.backends.transformers.embeddings import TransformersEmbeddings
from caslie_tools.backends.transformers.settings import TransformersEmbeddingsSettings


def embeddings(tiny: Path, **settings: Any) -> TransformersEmbeddings:
    return TransformersEmbeddings(TransformersEmbeddingsSettings(model=str(tiny / "encoder"), device="cpu", **settings))


def test_vectors_have_unit_length_and_do_not_depend_on_the_batch(tiny: Path) -> None:
    texts = ["a red mug", "product image", "a much longer text about a garden hose of 20 m"]
    vectors = embeddings(tiny, batch_size=2).embed_documents(texts)
    assert [sum(number * number for number in vector) for vector in vectors] == pytest.approx([1, 1, 1])
    for text, vector in zip(texts, vectors, strict=True):
        assert embeddings(tiny).embed_query(text) == pytest.approx(vector, abs=1e-5)
    assert vectors[0] != pytest.approx(vectors[1], abs=1e-2)


def test_a_long_text_is_truncated(tiny: Path) -> None:
    first, longer = embeddings(tiny).embed_documents(["yes " * 100, "yes " * 500])
    assert first == pytest.approx(longer, abs=1e-5)


def test_the_identity_is_the_models_name_and_revision(tiny: Path) -> None:
    assert embeddings(tiny).identity == str(tiny / "encoder")
    assert embeddings(tiny, revision="v2").identity == f"{tiny / 'encoder'}@v2"
