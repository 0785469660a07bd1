"""The embedded models, loaded once per session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from caslie_tools.backends.embedded import (
    EmbeddedCaptioner,
    EmbeddedPredictor,
    ImageAnalyser,
    ImageClassifier,
    MiniLMEmbeddings,
    TextReader,
)
from caslie_tools.store import CaptionStore


@pytest.fixture(scope="session")
def embeddings() -> MiniLMEmbeddings:
    return MiniLMEmbeddings()


@pytest.fixture(scope="session")
def classifier() -> ImageClassifier:
    return ImageClassifier()


@pytest.fixture(scope="session")
def reader() -> TextReader:
    return TextReader()


@pytest.fixture(scope="session")
def predictor(embeddings: MiniLMEmbeddings) -> EmbeddedPredictor:
    return EmbeddedPredictor(embeddings)


@pytest.fixture
def store(tmp_path: Path, embeddings: MiniLMEmbeddings, classifier: ImageClassifier) -> Iterator[CaptionStore]:
    opened = CaptionStore.open(tmp_path / "store", embeddings, image_embeddings=classifier)
    yield opened
    opened.close()


@pytest.fixture
def captioner(
    embeddings: MiniLMEmbeddings, classifier: ImageClassifier, reader: TextReader, store: CaptionStore
) -> EmbeddedCaptioner:
    return EmbeddedCaptioner(ImageAnalyser(classifier, reader, store), embeddings, store)
