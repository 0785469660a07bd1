"""Reads and writes the table ``entries``: everything that has a vector, and which entries match a filter.

Every function works within the transaction of its caller.
"""

import sqlite3
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

import numpy as np

from caslie_tools._text import did_you_mean, shortened
from caslie_tools.exceptions import FilterError
from caslie_tools.store.facts import PRODUCT_FIELDS, Fact
from caslie_tools.store.filters import Condition
from caslie_tools.store.id_sets import Ids, IdSet, IdSetCache
from caslie_tools.store.vectors import SpaceName, Vector, to_blob

Kind: TypeAlias = Literal["product", "caption", "image", "document"]

SPACES: dict[Kind, SpaceName] = {"product": "text", "caption": "text", "document": "text", "image": "picture"}
"""The vector space of each kind of entry."""

_SCAN_FRACTION: Final = 20
"""If at least one entry in 20 matches, reading all keys is faster than looking up the matching ones."""
_MAX_NAMES: Final = 1_000
_SHOWN_NAMES: Final = 20


def put(
    connection: sqlite3.Connection,
    kind: Kind,
    key: str,
    vector: Vector,
    *,
    image: str | None = None,
    captioner: str | None = None,
    content: str | None = None,
    metadata: str | None = None,
    facts: Iterable[Fact] = (),
) -> None:
    """Writes an entry. It replaces an entry of the same kind and key."""
    remove(connection, kind, key)
    entry = connection.execute(
        """INSERT INTO entries (space, kind, key, image, captioner, content, metadata, vector)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
        (SPACES[kind], kind, key, image, captioner, content, metadata, to_blob(vector)),
    ).lastrowid
    connection.executemany("INSERT INTO facts VALUES (?, ?, ?, ?)", [(entry, *fact) for fact in facts])


def remove(connection: sqlite3.Connection, kind: Kind, key: str) -> bool:
    """Removes an entry; returns whether it existed."""
    return connection.execute("DELETE FROM entries WHERE kind = ? AND key = ?", (kind, key)).rowcount > 0


def exists(connection: sqlite3.Connection, kind: Kind, key: str) -> bool:
    """Returns whether an entry exists."""
    return connection.execute("SELECT 1 FROM entries WHERE kind = ? AND key = ?", (kind, key)).fetchone() is not None


def matching_entries(connection: sqlite3.Connection, cache: IdSetCache, condition: Condition) -> IdSet:
    """Returns the entries of the products and plain documents that match a filter."""
    return cache.get(
        connection,
        condition,
        "matching",
        lambda: IdSet(_ids(connection.execute(condition.sql, condition.parameters))),
    )


def allowed_entries(connection: sqlite3.Connection, cache: IdSetCache, space: SpaceName, condition: Condition) -> IdSet:
    """Returns the entries of a space that a filter allows.

    The entry of a product or plain document is allowed if the product or document matches the filter. The entry of a
    caption or image is allowed if a product with that image matches.
    """

    def compute() -> IdSet:
        matching = matching_entries(connection, cache, condition)
        if space == "picture":
            return IdSet(_entries_with_image(connection, "image", condition, matching))
        captions = _entries_with_image(connection, "caption", condition, matching)
        return IdSet(np.concatenate([matching.ids(), captions])) if len(captions) else matching

    return cache.get(connection, condition, space, compute)


def hidden_captions(connection: sqlite3.Connection, cache: IdSetCache, captioners: tuple[str, ...] | None) -> IdSet:
    """Returns the entries of the captions that other captioners made.

    Args:
        connection: A connection in a read transaction.
        cache: The cache of the store.
        captioners: The captioners in use; ``None`` for all, so that no caption is hidden.
    """
    if captioners is None:
        return IdSet(np.zeros(0, dtype=np.int64))

    def compute() -> IdSet:
        # Each step finds the next captioner in the index. SELECT DISTINCT would read all captions.
        rows = connection.execute(
            """WITH RECURSIVE names (name) AS (
                SELECT min(captioner) FROM entries WHERE captioner IS NOT NULL
                UNION ALL
                SELECT (SELECT min(captioner) FROM entries WHERE captioner > names.name) FROM names
                WHERE name IS NOT NULL
            )
            SELECT name FROM names WHERE name IS NOT NULL"""
        )
        others = [name for (name,) in rows if name not in captioners]
        found = [connection.execute("SELECT id FROM entries WHERE captioner = ?", (other,)) for other in others]
        return IdSet(_ids(row for rows in found for row in rows))

    return cache.get(connection, Condition("captions of other captioners", captioners), "hidden", compute)


def has_product(connection: sqlite3.Connection, entries: IdSet, product: str) -> bool:
    """Returns whether the entry of a product is in a set of entries."""
    row = connection.execute("SELECT id FROM entries WHERE kind = 'product' AND key = ?", (product,)).fetchone()
    return row is not None and row[0] in entries


def matching_products(connection: sqlite3.Connection, cache: IdSetCache, condition: Condition) -> list[str]:
    """Returns the ids of the products that match a filter, in no particular order."""
    source = _product_source(connection, condition, matching_entries(connection, cache, condition))
    return [key for (key,) in connection.execute(f"SELECT e.key FROM {source}", condition.parameters)]  # noqa: S608 (fixed text)


def require_attributes(connection: sqlite3.Connection, condition: Condition) -> None:
    """Checks that each name in a filter is a field or an attribute of some product or document.

    Raises:
        FilterError: If a name is unknown. The message has the most similar known name. A store without products and
            documents knows no names, and accepts any.
    """
    for name in sorted(condition.attributes):
        if connection.execute("SELECT EXISTS (SELECT 1 FROM facts WHERE name = ?)", (name,)).fetchone()[0]:
            continue
        # Each step finds the next name in the index. SELECT DISTINCT would read all facts.
        rows = connection.execute(
            """WITH RECURSIVE names (name) AS (
                SELECT min(name) FROM facts
                UNION ALL
                SELECT (SELECT min(name) FROM facts WHERE facts.name > names.name) FROM names WHERE name IS NOT NULL
            )
            SELECT name FROM names WHERE name IS NOT NULL LIMIT ?""",
            (_MAX_NAMES,),
        )
        known = [found for (found,) in rows]
        if known:
            known = list(dict.fromkeys([*PRODUCT_FIELDS, *known]))
            names = ", ".join(known[:_SHOWN_NAMES])
            hint = did_you_mean(name, known) or f"; there are {names}{' ...' if len(known) > _SHOWN_NAMES else ''}"
            raise FilterError(f"no product has the field or attribute {shortened(ascii(name))}{hint}")


def _entries_with_image(connection: sqlite3.Connection, kind: Kind, condition: Condition, matching: IdSet) -> Ids:
    """Returns the entries of a kind whose image belongs to a matching product."""
    if (
        not len(matching)
        or not connection.execute("SELECT EXISTS (SELECT 1 FROM entries WHERE kind = ?)", (kind,)).fetchone()[0]
    ):
        return np.zeros(0, dtype=np.int64)
    join = "CROSS JOIN product_images ON product_images.product = e.key"
    source = _product_source(connection, condition, matching, join)
    rows = connection.execute(
        f"""SELECT shown.id FROM entries AS shown
        WHERE shown.kind = ? AND shown.image IN (SELECT product_images.image FROM {source})""",  # noqa: S608 (fixed text)
        (kind, *condition.parameters),
    )
    return _ids(rows)


def _product_source(connection: sqlite3.Connection, condition: Condition, matching: IdSet, join: str = "") -> str:
    """Returns a FROM clause for the matching products ``e``, with the query plan that is faster for their number."""
    last = connection.execute("SELECT coalesce(max(id), 0) FROM entries").fetchone()[0]
    if len(matching) * _SCAN_FRACTION < last:
        return f"({condition.sql}) AS m CROSS JOIN entries AS e ON e.id = m.entry {join} WHERE e.kind = 'product'"
    return f"entries AS e {join} WHERE e.kind = 'product' AND e.id IN ({condition.sql})"


def _ids(rows: Iterable[tuple[int]]) -> Ids:
    return np.fromiter((entry for (entry,) in rows), dtype=np.int64)
