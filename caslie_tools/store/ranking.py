"""From entries to products: the best products by words, by picture or by both."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from caslie_tools.store import products
from caslie_tools.store.selection import IdSet
from caslie_tools.store.vector_index import VectorIndex
from caslie_tools.store.vectors import SpaceName, Vector, cosine, from_blob

_FIRST_FETCH: Final = 32
_GROWTH: Final = 4


@dataclass(frozen=True, kw_only=True)
class Aspect:
    """One vector space's part in a search."""

    space: SpaceName
    index: VectorIndex
    vector: Vector
    """Of the query."""
    weight: float
    allowed: IdSet | None
    """Entries to look among, instead of all."""


@dataclass
class Ranked:
    """A product, and in each space its best entry with its cosine."""

    product: str
    best: dict[SpaceName, tuple[int, float]] = field(default_factory=dict)
    score: float = 0.0


def rank_products(
    connection: sqlite3.Connection, aspects: Sequence[Aspect], k: int, passing: Callable[[str], bool] | None
) -> list[Ranked]:
    """Finds the ``k`` products with the highest weighted sum of their best cosines, exactly.

    A product without an entry in a space counts 0 there. Equal products are ordered by id.

    A product has any number of entries, so ``k`` entries are not enough: ever more are fetched until no product that
    has not been seen can be among the best (the threshold algorithm: Fagin, Lotem, Naor, PODS 2001).

    Args:
        connection: The transaction the indexes have been caught up in.
        aspects: The spaces searched.
        k: How many products at most.
        passing: Tells whether a filter lets a product pass, if there is one: an image may belong to others too.
    """
    fetch = max(_FIRST_FETCH, _GROWTH * k)
    found: dict[str, Ranked] = {}
    while True:
        bound, exhausted = 0.0, True
        for aspect in aspects:
            hits = aspect.index.search(aspect.vector, fetch, allowed=aspect.allowed)
            for entry, score in hits:
                for product in _products_of_entry(connection, entry, passing):
                    # The nearest comes first and stays.
                    found.setdefault(product, Ranked(product)).best.setdefault(aspect.space, (entry, score))
            if len(hits) == fetch:
                exhausted = False
                bound += aspect.weight * max(hits[-1][1], 0.0)
        for ranked in found.values():
            ranked.score = _score(connection, ranked, aspects)
        order = sorted(found.values(), key=lambda ranked: (-ranked.score, ranked.product))
        if exhausted or (len(order) >= k and order[k - 1].score > bound):
            return order[:k]
        fetch *= _GROWTH


def _score(connection: sqlite3.Connection, ranked: Ranked, aspects: Sequence[Aspect]) -> float:
    total = 0.0
    for aspect in aspects:
        if aspect.space not in ranked.best and (best := _best_entry(connection, ranked.product, aspect)):
            ranked.best[aspect.space] = best
        total += aspect.weight * ranked.best.get(aspect.space, (0, 0.0))[1]
    return total


def _best_entry(connection: sqlite3.Connection, product: str, aspect: Aspect) -> tuple[int, float] | None:
    # `CROSS JOIN` fixes the order: from the product's few images, not from all entries of a kind.
    rows = connection.execute(
        """SELECT id, vector FROM entries WHERE ? = 'text' AND kind = 'product' AND key = ?
        UNION ALL
        SELECT shown.id, shown.vector FROM product_images
        CROSS JOIN entries AS shown ON shown.image = product_images.image AND shown.kind = ?
        WHERE product_images.product = ?""",
        (aspect.space, product, "caption" if aspect.space == "text" else "image", product),
    )
    scored = ((entry, cosine(aspect.vector, from_blob(blob))) for entry, blob in rows)
    return max(scored, key=lambda pair: (pair[1], -pair[0]), default=None)


def _products_of_entry(connection: sqlite3.Connection, entry: int, passing: Callable[[str], bool] | None) -> list[str]:
    kind, key, image = connection.execute("SELECT kind, key, image FROM entries WHERE id = ?", (entry,)).fetchone()
    if kind == "product":
        return [key]
    showing = products.products_of(connection, image) if image is not None else []
    return showing if passing is None else [product for product in showing if passing(product)]
