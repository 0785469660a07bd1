"""Unit vectors: how they are made, compared and stored.

All vectors are stored with unit length, so an inner product is a cosine.
"""

from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from caslie_tools.exceptions import ModelError

SpaceName: TypeAlias = Literal["text", "picture"]
SPACE_NAMES: Final[tuple[SpaceName, ...]] = ("text", "picture")
Vector: TypeAlias = NDArray[np.float32]
"""One vector, of shape (dimension,)."""
Vectors: TypeAlias = NDArray[np.float32]
"""Several vectors, of shape (count, dimension)."""


def unit_vectors(values: object, count: int) -> Vectors:
    """Validates the vectors of a model, and scales them to unit length. A zero vector stays zero.

    Raises:
        ModelError: If there are not ``count`` vectors of the same length, or if a value is not finite.
    """
    try:
        vectors = np.array(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ModelError("the embedding model returned vectors of different lengths, or no vectors") from error
    if vectors.ndim != 2 or len(vectors) != count or not vectors.shape[1]:
        raise ModelError(f"the embedding model returned an array of shape {vectors.shape} for {count} inputs")
    if not np.isfinite(vectors).all():
        raise ModelError("the embedding model returned a vector with a value that is not finite")
    # Computed in float64, so that very large and very small values do not overflow.
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    scaled: Vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0, casting="unsafe")
    return scaled


def cosine(left: Vector, right: Vector) -> float:
    """Returns the cosine of two unit vectors, in [-1, 1]."""
    return float(np.clip(left @ right, -1, 1))


def to_blob(vector: Vector) -> bytes:
    """Returns a vector in the form in which SQLite stores it: little-endian float32."""
    return vector.astype("<f4").tobytes()


def from_blob(blob: bytes) -> Vector:
    """Returns the vector of a blob made by :func:`to_blob`."""
    return np.frombuffer(blob, dtype="<f4").astype(np.float32)
