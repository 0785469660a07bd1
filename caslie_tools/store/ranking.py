"""Ranks products by text, by image, or by both: finds the best products from the nearest entries."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from caslie_tools.store import caption_table, product_table
from caslie_tools.store.id_sets import IdSet
from caslie_tools.store.vector_index import VectorIndex
from caslie_tools.store.vectors import SpaceName, Vector, cosine, from_blob

_FIRST_FETCH: Final = 32
_GROWTH: Final = 4
_SAME_MEANING: Final = 0.95
"""Minimum cosine of two captions with the same meaning. They must also contain the same numbers."""


@dataclass(frozen=True, kw_only=True)
class SpaceQuery:
    """The part of a search in one vector space."""

    space: SpaceName
    index: VectorIndex
    vector: Vector
    """Vector of the query."""
    weight: float
    allowed: IdSet | None
    """Search only these entries; ``None`` for all."""
    hidden: IdSet
    """Do not find these entries."""

    def search(self, count: int) -> list[tuple[int, float]]:
        """Returns the nearest entries: pairs of id and cosine."""
        excluded = self.hidden.ids() if len(self.hidden) else None
        return self.index.search(self.vector, count, allowed=self.allowed, excluded=excluded)


@dataclass
class RankedProduct:
    """A product with its score, and with its best entry and cosine in each space."""

    product: str
    best: dict[SpaceName, tuple[int, float]] = field(default_factory=dict)
    score: float = 0.0


def nearest_entries(connection: sqlite3.Connection, query: SpaceQuery, k: int) -> list[tuple[int, float, Vector]]:
    """Returns the ``k`` nearest entries: id, cosine and vector. Captions of an image with the same meaning count once.

    Of such captions, the nearest to the query is returned.
    """
    fetch = k
    while True:
        hits = query.search(fetch)
        found = _distinct(connection, hits)
        if len(found) >= k or len(hits) < fetch:
            return found[:k]
        fetch *= _GROWTH


def _distinct(connection: sqlite3.Connection, hits: Sequence[tuple[int, float]]) -> list[tuple[int, float, Vector]]:
    found: list[tuple[int, float, Vector]] = []
    captions: dict[str, list[tuple[str, Vector]]] = {}
    for entry, score in hits:
        kind, key, image, blob = connection.execute(
            "SELECT kind, key, image, vector FROM entries WHERE id = ?", (entry,)
        ).fetchone()
        vector = from_blob(blob)
        if kind == "caption":
            nearer = captions.setdefault(image, [])
            if any(_same_meaning(connection, key, vector, *other) for other in nearer):
                continue
            nearer.append((key, vector))
        found.append((entry, score, vector))
    return found


def _same_meaning(connection: sqlite3.Connection, key: str, vector: Vector, other_key: str, other: Vector) -> bool:
    if cosine(vector, other) < _SAME_MEANING:
        return False
    one, two = caption_table.get(connection, key), caption_table.get(connection, other_key)
    return one is not None and two is not None and caption_table.same_numbers(one.text, two.text)


def rank_products(
    connection: sqlite3.Connection, queries: Sequence[SpaceQuery], k: int, matches: Callable[[str], bool] | None
) -> list[RankedProduct]:
    """Returns the ``k`` products with the highest weighted sum of their best cosines. The result is exact.

    A product without an entry in a space has the cosine 0 there. Products with equal scores are ordered by id.

    A product can have any number of entries, so the ``k`` nearest entries are not enough. The function fetches more and
    more entries until no other product can have a higher score (threshold algorithm: Fagin, Lotem, Naor, PODS 2001).

    Args:
        connection: A connection in the read transaction to which the indexes were updated.
        queries: One query for each space.
        k: Maximum number of products.
        matches: Returns whether a product matches the filter; ``None`` without a filter. It is needed because an image
            can also belong to products that do not match.
    """
    fetch = max(_FIRST_FETCH, _GROWTH * k)
    found: dict[str, RankedProduct] = {}
    while True:
        bound, exhausted = 0.0, True
        for query in queries:
            hits = query.search(fetch)
            for entry, score in hits:
                for product in _products_of_entry(connection, entry, matches):
                    # The nearest entry comes first, and later ones do not replace it.
                    found.setdefault(product, RankedProduct(product)).best.setdefault(query.space, (entry, score))
            if len(hits) == fetch:
                exhausted = False
                bound += query.weight * max(hits[-1][1], 0.0)
        for ranked in found.values():
            ranked.score = _score(connection, ranked, queries)
        order = sorted(found.values(), key=lambda ranked: (-ranked.score, ranked.product))
        if exhausted or (len(order) >= k and order[k - 1].score > bound):
            return order[:k]
        fetch *= _GROWTH


def _score(connection: sqlite3.Connection, ranked: RankedProduct, queries: Sequence[SpaceQuery]) -> float:
    total = 0.0
    for query in queries:
        if query.space not in ranked.best and (best := _best_entry(connection, ranked.product, query)):
            ranked.best[query.space] = best
        total += query.weight * ranked.best.get(query.space, (0, 0.0))[1]
    return total


def _best_entry(connection: sqlite3.Connection, product: str, query: SpaceQuery) -> tuple[int, float] | None:
    # `CROSS JOIN` fixes the join order: it starts with the few images of the product, not with all entries of a kind.
    rows = connection.execute(
        """SELECT id, vector FROM entries WHERE ? = 'text' AND kind = 'product' AND key = ?
        UNION ALL
        SELECT shown.id, shown.vector FROM product_images
        CROSS JOIN entries AS shown ON shown.image = product_images.image AND shown.kind = ?
        WHERE product_images.product = ?""",
        (query.space, product, "caption" if query.space == "text" else "image", product),
    )
    scored = ((entry, cosine(query.vector, from_blob(blob))) for entry, blob in rows if entry not in query.hidden)
    return max(scored, key=lambda pair: (pair[1], -pair[0]), default=None)


def _products_of_entry(connection: sqlite3.Connection, entry: int, matches: Callable[[str], bool] | None) -> list[str]:
    kind, key, image = connection.execute("SELECT kind, key, image FROM entries WHERE id = ?", (entry,)).fetchone()
    if kind == "product":
        return [key]
    products = product_table.products_of(connection, image) if image is not None else []
    return products if matches is None else [product for product in products if matches(product)]
