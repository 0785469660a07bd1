"""Results of the store: search hits and statistics."""

from typing import Literal

from caslie_tools.domain import FrozenModel, Product


class Match(FrozenModel):
    """The reason why a product was found: its best entry in one vector space."""

    kind: Literal["product", "caption", "image"]
    """The product's own text, a caption of one of its images, or one of its images."""
    score: float
    """Cosine with the query, in [-1, 1]."""
    text: str = ""
    """The text that matched; empty for an image."""
    image: str | None = None
    """SHA-256 (hex) of the image, for a caption or an image."""


class ProductHit(FrozenModel):
    """A product found by text, by image, or by both."""

    product: Product
    score: float
    """The best cosine, in [-1, 1]. In a search by text and image, the weighted sum of the two best cosines."""
    matched: tuple[Match, ...] = ()
    """The best entry for the text of the search, then the best entry for its image, if there are any."""


class PictureHit(FrozenModel):
    """An image of the catalogue that is near another image."""

    image: str
    """SHA-256 (hex) of the image's bytes."""
    score: float
    """Cosine of the two images, in [-1, 1]."""
    products: tuple[Product, ...]
    """The products with this image, ordered by id, without products that do not match the filter or are excluded."""


class StoreStats(FrozenModel):
    """The size of a store and the models that it was built with."""

    products: int
    images: int
    captions: int
    documents: int
    """Number of plain LangChain documents."""
    observations: int
    text_vectors: int
    picture_vectors: int
    bytes: int
    """Size on disk, with the indexes and the write-ahead log."""
    schema_version: int
    created_by: str
    """Version of this package that created the store."""
    text_model: str | None
    """Identity of the text embedding model; ``None`` if the store has no vectors yet."""
    picture_model: str | None
