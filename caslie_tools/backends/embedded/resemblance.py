"""Similarity to the user's catalogue: which categories an image resembles, by a vote of its nearest neighbours."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from caslie_tools.domain import FrozenModel, Probability
from caslie_tools.images.loading import LoadedImage

if TYPE_CHECKING:
    from caslie_tools.store import CaptionStore, PictureHit

_NEIGHBOURS: Final = 40
_SHARPNESS: Final = 0.02
"""Temperature of the vote, in units of cosine."""
_FLOOR: Final = 0.48
"""Cosine below which two images are not alike. Nine of ten shelf photos of groceries are farther from every image of a
catalogue without groceries. Nearer neighbours of shelf photos in their own catalogue are mostly right."""
_MIDPOINT: Final = 0.59
_SLOPE: Final = 6.2
"""Midpoint and slope of a logistic function from the best cosine to the probability that the nearest image shows a
similar product. ``benchmarks/grocery.py --calibrate`` fits the temperature, the midpoint and the slope on the
calibration half of the shelf photos."""


class Resemblance(FrozenModel):
    """A category of the catalogue that an image resembles."""

    category: str
    """The category of the products, or the title of a product without a category."""
    product: str
    """Title of the nearest product in the category."""
    score: Probability
    """The category's share of the vote, times the probability that the nearest image shows a similar product."""


def find_resemblances(
    image: LoadedImage, store: "CaptionStore", *, product: str | None = None, limit: int = 8
) -> tuple[Resemblance, ...]:
    """Returns the categories that an image resembles, the best first. The result is empty if no image is alike.

    Args:
        image: The image. If the catalogue contains it, it does not count as its own neighbour.
        store: The catalogue.
        product: Id of the product that the image belongs to. Other images of this product do not count either.
        limit: Maximum number of categories.
    """
    if not store.has_pictures:
        return ()
    hits = store.nearest_pictures(
        image, k=_NEIGHBOURS, exclude_images=(image.sha256,), exclude_products=() if product is None else (product,)
    )
    return vote([hit for hit in hits if hit.score >= _FLOOR], limit=limit)


def vote(hits: "Sequence[PictureHit]", *, limit: int = 8) -> tuple[Resemblance, ...]:
    """Lets the nearest images vote for their categories, each with the weight exp(cosine / temperature).

    Args:
        hits: The nearest images of the catalogue.
        limit: Maximum number of categories.

    Returns:
        The categories, the best first.
    """
    hits = [hit for hit in hits if hit.products]
    if not hits:
        return ()
    best = max(hit.score for hit in hits)
    votes: dict[str, float] = defaultdict(float)
    nearest: dict[str, str] = {}
    for hit in sorted(hits, key=lambda hit: (-hit.score, hit.image)):
        weight = math.exp((hit.score - best) / _SHARPNESS)
        for product in hit.products:
            category = product.category or product.title or product.id
            votes[category] += weight / len(hit.products)
            nearest.setdefault(category, product.title or product.id)
    confidence = 1 / (1 + math.exp(-_SLOPE * (best - _MIDPOINT)))
    total = sum(votes.values())
    ranked = sorted(votes, key=lambda category: (-votes[category], category))[:limit]
    return tuple(
        Resemblance(category=category, product=nearest[category], score=confidence * votes[category] / total)
        for category in ranked
    )
