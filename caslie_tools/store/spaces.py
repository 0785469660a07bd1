"""Vector spaces: one for texts and one for images, each with the model that computes its vectors.

A store records which model computed the vectors of a space: its identity and, for texts, its vector of a fixed
sentence. So another model with the same name is detected too. The check runs when a vector is first needed, so that a
store can be opened and listed without loading a model.
"""

import sqlite3
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
from langchain_core.embeddings import Embeddings

from caslie_tools.exceptions import CaslieError, ModelError, StoreError, StoreModelError
from caslie_tools.store.database import Database
from caslie_tools.store.lru_cache import LruCache
from caslie_tools.store.vectors import SpaceName, Vector, Vectors, cosine, from_blob, to_blob, unit_vectors

if TYPE_CHECKING:
    from caslie_tools.images.embeddings import ImageEmbeddings
    from caslie_tools.images.loading import LoadedImage

V = TypeVar("V")

_PROBE: Final = "A red apple and a glass of water stand on a wooden table."
_SAME_MODEL: Final = 0.999
"""Minimum cosine of two probe vectors of the same model. Rounding, batching and hardware cause smaller differences."""
_CACHED_QUERIES: Final = 256


def identity_of(embeddings: Embeddings) -> str:
    """Returns the identity of an embedding model: its attribute ``identity``, or its class and model name."""
    identity = getattr(embeddings, "identity", None)
    if isinstance(identity, str) and identity:
        return identity
    names = (getattr(embeddings, attribute, None) for attribute in ("model", "model_name"))
    model = next((name for name in names if isinstance(name, str) and name), None)
    return f"{type(embeddings).__name__}({model})" if model else type(embeddings).__name__


def require_dimension(connection: sqlite3.Connection, space: SpaceName, vector: Vector) -> None:
    """Checks that a vector has the length of the vectors of a space.

    Raises:
        StoreError: If it has another length.
    """
    row = connection.execute("SELECT dimension FROM spaces WHERE name = ?", (space,)).fetchone()
    if row is not None and row[0] != len(vector):
        raise StoreError(
            f"a vector of length {len(vector)} cannot be compared with the {space} vectors of the store, which have "
            f"length {row[0]}; use the model that the store was built with"
        )


class Space:
    """Base of the two spaces: records and checks the model that computes the vectors."""

    name: SpaceName

    def __init__(self, identity: str, database: Database) -> None:
        self.identity = identity
        self._database = database
        self._checked = False

    def check_identity(self, connection: sqlite3.Connection) -> bool:
        """Checks the recorded identity; returns whether a model is recorded.

        Raises:
            StoreModelError: If another model computed the vectors of this space.
        """
        row = connection.execute("SELECT identity FROM spaces WHERE name = ?", (self.name,)).fetchone()
        if row is not None and row[0] != self.identity:
            raise self._mismatch(f"with {row[0]!a}, not with {self.identity!a}")
        return row is not None

    def check_model(self) -> None:
        """Checks, once, that the vectors of this model can be compared with those of the space.

        Raises:
            StoreModelError: If another model computed the vectors of this space.
        """
        if not self._checked:
            with self._database.read() as connection:
                recorded = self.check_identity(connection)
            if recorded:
                signature = self._signature()
                with self._database.read() as connection:
                    self._check(connection, *signature)

    def record_model(self, connection: sqlite3.Connection, dimension: int) -> None:
        """Records the model if none is recorded, in a write transaction that adds vectors.

        Raises:
            StoreModelError: If another process has recorded another model in the meantime, or if the model returned
                vectors of another length.
        """
        _, fingerprint = self._signature()
        connection.execute(
            "INSERT OR IGNORE INTO spaces VALUES (?, ?, ?, ?)", (self.name, self.identity, dimension, fingerprint)
        )
        self._check(connection, dimension, fingerprint)

    def _signature(self) -> tuple[int | None, bytes | None]:
        """Returns the length of the vectors and the vector of the probe sentence, if the space has them."""
        return None, None

    def _check(self, connection: sqlite3.Connection, dimension: int | None, fingerprint: bytes | None) -> None:
        self.check_identity(connection)
        recorded, probe = connection.execute(
            "SELECT dimension, fingerprint FROM spaces WHERE name = ?", (self.name,)
        ).fetchone()
        if dimension is not None and dimension != recorded:
            raise self._mismatch(f"with vectors of length {recorded}, not {dimension}")
        if probe and fingerprint and cosine(from_blob(probe), from_blob(fingerprint)) < _SAME_MODEL:
            raise self._mismatch(f"with another model of the name {self.identity!a}, which returns other vectors")
        self._checked = True

    def _mismatch(self, difference: str) -> StoreModelError:
        return StoreModelError(
            f"the {self.name} vectors of the store at {self._database.directory} were made {difference}; "
            "open it with that model, or index the catalogue into a new directory"
        )


class TextSpace(Space):
    """The space of texts. Its vectors come from a LangChain embedding model."""

    name = "text"

    def __init__(self, embeddings: Embeddings, database: Database) -> None:
        super().__init__(identity_of(embeddings), database)
        self.embeddings = embeddings
        self._queries: LruCache[str, Vector] = LruCache(_CACHED_QUERIES)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Embeds texts that are stored. Equal texts are embedded once."""
        self.check_model()
        self._signature()  # computed here, so that `record_model` does not call the model in a transaction
        unique = list(dict.fromkeys(texts))
        if not unique:
            return np.zeros((0, 0), dtype=np.float32)
        vectors = unit_vectors(_call_model(lambda: self.embeddings.embed_documents(unique)), len(unique))
        position = {text: index for index, text in enumerate(unique)}
        return vectors[[position[text] for text in texts]]

    def embed_query(self, text: str) -> Vector:
        """Embeds the text of a search. The vectors of recent texts are cached."""
        self.check_model()
        return self._queries.get(text, lambda: self._embed_query(text))

    def _embed_query(self, text: str) -> Vector:
        vector: Vector = unit_vectors([_call_model(lambda: self.embeddings.embed_query(text))], 1)[0]
        return vector

    def _signature(self) -> tuple[int | None, bytes | None]:
        return len(self._probe), to_blob(self._probe)

    @cached_property
    def _probe(self) -> Vector:
        return self._embed_query(_PROBE)


class PictureSpace(Space):
    """The space of images. Its vectors come from a model that embeds images."""

    name = "picture"

    def __init__(self, embeddings: "ImageEmbeddings", database: Database) -> None:
        super().__init__(embeddings.identity, database)
        self.embeddings = embeddings
        self._queries: LruCache[str, Vector] = LruCache(_CACHED_QUERIES)

    def embed(self, images: "Sequence[LoadedImage]") -> Vectors:
        """Embeds images that are stored."""
        self.check_model()
        if not images:
            return np.zeros((0, 0), dtype=np.float32)
        return unit_vectors(_call_model(lambda: self.embeddings.embed_images(images)), len(images))

    def embed_query(self, image: "LoadedImage") -> Vector:
        """Embeds the image of a search. The vectors of recent images are cached."""
        return self._queries.get(image.sha256, lambda: self.embed([image])[0])


def _call_model(call: Callable[[], V]) -> V:
    try:
        return call()
    except CaslieError:
        raise
    except Exception as error:
        raise ModelError(
            f"the embedding model failed ({type(error).__name__}); the cause of this error has the details"
        ) from error
