"""What a picture resembles in the user's own catalogue: a vote of its nearest pictures."""

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
"""Temperature of the vote in units of cosine."""
_MIDPOINT: Final = 0.59
_SLOPE: Final = 6.2
"""Cosine to the belief that the nearest picture shows the like at all, a logistic. These three are what
``benchmarks/grocery.py --calibrate`` finds on the calibration half of the shelf photos."""


class Resemblance(FrozenModel):
    """A category of the catalogue that a picture looks like."""

    category: str
    """The products' category, or the title of a product without one."""
    product: str
    """Title of the nearest product in it."""
    score: Probability
    """The category's share of the vote, times how far the nearest picture is to be believed."""


def resemblances(
    image: LoadedImage, store: "CaptionStore", *, product: str | None = None, most: int = 8
) -> tuple[Resemblance, ...]:
    """Returns the categories a picture resembles, the best first.

    Args:
        image: The picture; its own place in the catalogue does not count.
        store: The catalogue.
        product: Id of the product it belongs to, whose other pictures do not count either.
        most: How many at most.
    """
    if not store.has_pictures:
        return ()
    hits = store.nearest_pictures(
        image, k=_NEIGHBOURS, exclude_images=(image.sha256,), exclude_products=() if product is None else (product,)
    )
    return vote(hits, most=most)


def vote(hits: "Sequence[PictureHit]", *, most: int = 8) -> tuple[Resemblance, ...]:
    """Lets the nearest pictures vote for their categories, each with the weight exp(cosine / temperature)."""
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
    belief = 1 / (1 + math.exp(-_SLOPE * (best - _MIDPOINT)))
    total = sum(votes.values())
    ranked = sorted(votes, key=lambda category: (-votes[category], category))[:most]
    return tuple(
        Resemblance(category=category, product=nearest[category], score=belief * votes[category] / total)
        for category in ranked
    )
