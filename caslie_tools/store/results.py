"""What the store answers: hits and statistics."""

from typing import Literal

from caslie_tools.domain import FrozenModel, Product


class Match(FrozenModel):
    """What made a product a hit: its best entry of one vector space."""

    kind: Literal["product", "caption", "image"]
    """The product's own text, a caption of one of its images, or one of its images."""
    score: float
    """Cosine with the query, in [-1, 1]."""
    text: str = ""
    """The text that matched; empty for an image."""
    image: str | None = None
    """SHA-256 (hex) of the image, for a caption or an image."""


class ProductHit(FrozenModel):
    """A product found by words, by picture or by both."""

    product: Product
    score: float
    """By one of them: the best cosine, in [-1, 1]; by both: the weighted sum of the two."""
    matched: tuple[Match, ...] = ()
    """The best entry by words, then the best by picture, as far as the product has one and it was asked for."""


class PictureHit(FrozenModel):
    """A catalogue picture that is near another picture."""

    image: str
    """SHA-256 (hex) of the image's bytes."""
    score: float
    """Cosine, in [-1, 1]."""
    products: tuple[Product, ...]
    """The products that show it, by id; with a filter or exclusions only those that pass them."""


class StoreStats(FrozenModel):
    """What a store holds."""

    products: int
    images: int
    captions: int
    documents: int
    """Plain LangChain documents."""
    observations: int
    text_vectors: int
    picture_vectors: int
    bytes: int
    """On disk, indexes and write-ahead log included."""
    schema_version: int
    created_by: str
    """Version of this package that made it."""
    text_model: str | None
    """Identity of the embedding model; ``None`` before the first vector."""
    picture_model: str | None
