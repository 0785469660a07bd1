"""The interface of a model that embeds images."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from caslie_tools.images.loading import LoadedImage


@runtime_checkable
class ImageEmbeddings(Protocol):
    """Embeds images as vectors, so that similar images are close. LangChain defines no such interface."""

    @property
    def identity(self) -> str:
        """Name and version of the model. Vectors of different identities are never compared."""
        ...

    def embed_images(self, images: Sequence[LoadedImage]) -> list[list[float]]:
        """Returns one unit vector per image. All vectors have the same length."""
        ...
