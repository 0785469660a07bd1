"""Vectors and the models that make them: one space for texts, one for pictures.

All vectors are stored with unit length, so an inner product is a cosine. A store remembers which model filled a space,
by its identity and, for texts, by the vector of a fixed sentence: a model that merely bears the same name is found out
too. That check is lazy, so that a store can be opened and listed without loading any model.
"""

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeAlias, TypeVar

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from caslie_tools.exceptions import CaslieError, ModelError, StoreError, StoreModelError
from caslie_tools.store.database import Database

if TYPE_CHECKING:
    from caslie_tools.images.embeddings import ImageEmbeddings
    from caslie_tools.images.loading import LoadedImage

SpaceName: TypeAlias = Literal["text", "picture"]
SPACE_NAMES: Final[tuple[SpaceName, ...]] = ("text", "picture")
Vector: TypeAlias = NDArray[np.float32]
"""Of shape (dimension,)."""
Vectors: TypeAlias = NDArray[np.float32]
"""Of shape (count, dimension)."""

K = TypeVar("K")
V = TypeVar("V")

_PROBE: Final = "A red apple and a glass of water stand on a wooden table."
_SAME_MODEL: Final = 0.999
"""Least cosine of the probe's vectors: lower than any rounding, batching or other hardware makes it."""
_CACHED_QUERIES: Final = 256


def unit_vectors(values: object, count: int) -> Vectors:
    """Checks a model's vectors and scales them to unit length; a zero vector stays zero.

    Raises:
        ModelError: Not ``count`` vectors of one length, or a value that is not finite.
    """
    try:
        vectors = np.array(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ModelError("the embedding model answered vectors of different lengths, or no vectors") from error
    if vectors.ndim != 2 or len(vectors) != count or not vectors.shape[1]:
        raise ModelError(f"the embedding model answered an array of shape {vectors.shape} for {count} inputs")
    if not np.isfinite(vectors).all():
        raise ModelError("the embedding model answered a vector that is not finite")
    # In float64, so that very large or small values do not overflow on the way.
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    scaled: Vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0, casting="unsafe")
    return scaled


def cosine(left: Vector, right: Vector) -> float:
    """Cosine of two unit vectors, in [-1, 1]."""
    return float(np.clip(left @ right, -1, 1))


def to_blob(vector: Vector) -> bytes:
    """A vector as SQLite keeps it: little-endian float32."""
    return vector.astype("<f4").tobytes()


def from_blob(blob: bytes) -> Vector:
    """The inverse of :func:`to_blob`."""
    return np.frombuffer(blob, dtype="<f4").astype(np.float32)


def identity_of(embeddings: Embeddings) -> str:
    """Names an embedding model: its ``identity`` if it has one, else its class and model name."""
    identity = getattr(embeddings, "identity", None)
    if isinstance(identity, str) and identity:
        return identity
    names = (getattr(embeddings, attribute, None) for attribute in ("model", "model_name"))
    model = next((name for name in names if isinstance(name, str) and name), None)
    return f"{type(embeddings).__name__}({model})" if model else type(embeddings).__name__


class Recent(Generic[K, V]):
    """A small thread-safe memory of the latest answers of a costly function."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """Returns the remembered value, or makes and remembers it."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()  # without the lock: a model may take its time, and equal answers do no harm
        with self._lock:
            self._values[key] = value
            if len(self._values) > self._size:
                self._values.popitem(last=False)
        return value


class Space:
    """What text and picture space have in common: the store's memory of the model that filled it."""

    name: SpaceName

    def __init__(self, identity: str, database: Database) -> None:
        self.identity = identity
        self._database = database
        self._checked = False

    def check_identity(self, connection: sqlite3.Connection) -> bool:
        """Returns whether a model is recorded at all.

        Raises:
            StoreModelError: Another model filled this space.
        """
        row = connection.execute("SELECT identity FROM spaces WHERE name = ?", (self.name,)).fetchone()
        if row is not None and row[0] != self.identity:
            raise self._mismatch(f"with {row[0]!a}, not with {self.identity!a}")
        return row is not None

    def ready(self) -> None:
        """Checks once, before vectors are compared or added, that this model's vectors belong into the space.

        Raises:
            StoreModelError: They do not.
        """
        if not self._checked:
            with self._database.read() as connection:
                recorded = self.check_identity(connection)
            if recorded:
                signature = self._signature()
                with self._database.read() as connection:
                    self._check(connection, *signature)

    def bind(self, connection: sqlite3.Connection, dimension: int) -> None:
        """Records the model in a write transaction that adds vectors, unless it is recorded.

        Raises:
            StoreModelError: Another process has filled the space with another model meanwhile, or the model has begun
                to answer vectors of another length.
        """
        _, fingerprint = self._signature()
        connection.execute(
            "INSERT OR IGNORE INTO spaces VALUES (?, ?, ?, ?)", (self.name, self.identity, dimension, fingerprint)
        )
        self._check(connection, dimension, fingerprint)

    def _signature(self) -> tuple[int | None, bytes | None]:
        """The length of the model's vectors and the vector of a probe, where they are known."""
        return None, None

    def _check(self, connection: sqlite3.Connection, dimension: int | None, fingerprint: bytes | None) -> None:
        self.check_identity(connection)
        recorded, probe = connection.execute(
            "SELECT dimension, fingerprint FROM spaces WHERE name = ?", (self.name,)
        ).fetchone()
        if dimension is not None and dimension != recorded:
            raise self._mismatch(f"with vectors of length {recorded}, not {dimension}")
        if probe and fingerprint and cosine(from_blob(probe), from_blob(fingerprint)) < _SAME_MODEL:
            raise self._mismatch(f"with a model also called {self.identity!a} that makes other vectors")
        self._checked = True

    def _mismatch(self, what: str) -> StoreModelError:
        return StoreModelError(
            f"the {self.name} vectors of the store at {self._database.directory} were made {what}: "
            "open it with that model, or index the catalogue into a new directory"
        )


class TextSpace(Space):
    """Vectors of texts, from a LangChain embedding model."""

    name = "text"

    def __init__(self, embeddings: Embeddings, database: Database) -> None:
        super().__init__(identity_of(embeddings), database)
        self.embeddings = embeddings
        self._queries: Recent[str, Vector] = Recent(_CACHED_QUERIES)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Embeds texts to be found, each different text once."""
        self.ready()
        self._signature()  # now, so that `bind` has it without calling the model inside a transaction
        unique = list(dict.fromkeys(texts))
        if not unique:
            return np.zeros((0, 0), dtype=np.float32)
        vectors = unit_vectors(_answered(lambda: self.embeddings.embed_documents(unique)), len(unique))
        position = {text: index for index, text in enumerate(unique)}
        return vectors[[position[text] for text in texts]]

    def embed_query(self, text: str) -> Vector:
        """Embeds a text to search with; the latest ones are remembered."""
        self.ready()
        return self._queries.get(text, lambda: self._embed_query(text))

    def _embed_query(self, text: str) -> Vector:
        vector: Vector = unit_vectors([_answered(lambda: self.embeddings.embed_query(text))], 1)[0]
        return vector

    def _signature(self) -> tuple[int | None, bytes | None]:
        return len(self._probe), to_blob(self._probe)

    @cached_property
    def _probe(self) -> Vector:
        return self._embed_query(_PROBE)


class PictureSpace(Space):
    """Vectors of pictures."""

    name = "picture"

    def __init__(self, pictures: "ImageEmbeddings", database: Database) -> None:
        super().__init__(pictures.identity, database)
        self.pictures = pictures
        self._recent: Recent[str, Vector] = Recent(_CACHED_QUERIES)

    def embed(self, images: "Sequence[LoadedImage]") -> Vectors:
        """Embeds pictures."""
        self.ready()
        if not images:
            return np.zeros((0, 0), dtype=np.float32)
        return unit_vectors(_answered(lambda: self.pictures.embed_images(images)), len(images))

    def embed_query(self, image: "LoadedImage") -> Vector:
        """Embeds one picture; the latest ones are remembered."""
        return self._recent.get(image.sha256, lambda: self.embed([image])[0])


def require_dimension(connection: sqlite3.Connection, space: SpaceName, vector: Vector) -> None:
    """Refuses a vector that cannot be compared with the space's.

    Raises:
        StoreError: It has another length.
    """
    row = connection.execute("SELECT dimension FROM spaces WHERE name = ?", (space,)).fetchone()
    if row is not None and row[0] != len(vector):
        raise StoreError(f"a vector of length {len(vector)} cannot be compared with the store's {row[0]} numbers")


def _answered(call: Callable[[], V]) -> V:
    try:
        return call()
    except CaslieError:
        raise
    except Exception as error:
        raise ModelError(f"the embedding model failed ({type(error).__name__}); its own error is the cause") from error
