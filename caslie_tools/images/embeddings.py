"""The interface of a model that turns pictures into vectors."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from caslie_tools.images.loading import LoadedImage


@runtime_checkable
class PictureEmbeddings(Protocol):
    """Turns pictures into vectors in which similar pictures are near. LangChain has no such interface."""

    @property
    def identity(self) -> str:
        """Names the model: vectors of two identities are never compared."""
        ...

    def embed_pictures(self, images: Sequence[LoadedImage]) -> list[list[float]]:
        """Returns one unit vector per image, all of the same length."""
        ...
