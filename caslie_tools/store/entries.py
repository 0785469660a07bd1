"""Rows of ``entries``: everything that has a vector, and which of them a filter allows."""

import sqlite3
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

import numpy as np

from caslie_tools.store.filters import Condition
from caslie_tools.store.selection import Ids, IdSet, Selections
from caslie_tools.store.vectors import SpaceName, Vector, from_blob, to_blob

Kind: TypeAlias = Literal["product", "caption", "image", "document"]

SPACES: dict[Kind, SpaceName] = {"product": "text", "caption": "text", "document": "text", "image": "picture"}

_MANY: Final = 20
"""A part of the entries from which on reading all keys in one go beats looking them up: one in so many."""

Fact: TypeAlias = tuple[str, str, str | int | float]
"""A named value that filters compare: (name, type, value)."""


def put(
    connection: sqlite3.Connection,
    kind: Kind,
    key: str,
    vector: Vector,
    *,
    image: str | None = None,
    content: str | None = None,
    metadata: str | None = None,
    facts: Iterable[Fact] = (),
) -> None:
    """Writes an entry, in place of the one of the same kind and key if there is one."""
    remove(connection, kind, key)
    entry = connection.execute(
        "INSERT INTO entries (space, kind, key, image, content, metadata, vector) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (SPACES[kind], kind, key, image, content, metadata, to_blob(vector)),
    ).lastrowid
    connection.executemany("INSERT INTO facts VALUES (?, ?, ?, ?)", [(entry, *fact) for fact in facts])


def remove(connection: sqlite3.Connection, kind: Kind, key: str) -> bool:
    """Removes an entry; returns whether there was one."""
    return connection.execute("DELETE FROM entries WHERE kind = ? AND key = ?", (kind, key)).rowcount > 0


def exists(connection: sqlite3.Connection, kind: Kind, key: str) -> bool:
    """Whether there is such an entry."""
    return connection.execute("SELECT 1 FROM entries WHERE kind = ? AND key = ?", (kind, key)).fetchone() is not None


def vector_of(connection: sqlite3.Connection, entry: int) -> Vector:
    """The vector of an entry that is there."""
    return from_blob(connection.execute("SELECT vector FROM entries WHERE id = ?", (entry,)).fetchone()[0])


def matching(connection: sqlite3.Connection, selections: Selections, condition: Condition) -> IdSet:
    """The entries of products and plain documents for which a filter holds."""
    return selections.get(
        connection,
        condition,
        "matching",
        lambda: IdSet(_ids(connection.execute(condition.sql, condition.parameters))),
    )


def allowed(connection: sqlite3.Connection, selections: Selections, space: SpaceName, condition: Condition) -> IdSet:
    """A space's entries that a filter allows.

    A product or plain document is allowed if the condition holds for it; a caption or picture, if it holds for any
    product that shows its image.
    """

    def make() -> IdSet:
        found = matching(connection, selections, condition)
        if space == "picture":
            return IdSet(_shown(connection, "image", condition, found))
        captions = _shown(connection, "caption", condition, found)
        return IdSet(np.concatenate([found.ids(), captions])) if len(captions) else found

    return selections.get(connection, condition, space, make)


def passes(connection: sqlite3.Connection, found: IdSet, product: str) -> bool:
    """Whether a product is among the entries that :func:`matching` has found."""
    row = connection.execute("SELECT id FROM entries WHERE kind = 'product' AND key = ?", (product,)).fetchone()
    return row is not None and row[0] in found


def matching_products(connection: sqlite3.Connection, selections: Selections, condition: Condition) -> list[str]:
    """The ids of the products for which a filter holds, in no order."""
    source = _products(connection, condition, matching(connection, selections, condition))
    return [key for (key,) in connection.execute(f"SELECT e.key FROM {source}", condition.parameters)]  # noqa: S608 (fixed text)


def _shown(connection: sqlite3.Connection, kind: Kind, condition: Condition, found: IdSet) -> Ids:
    """The entries of a kind whose image a product shows that is among those found."""
    if (
        not len(found)
        or not connection.execute("SELECT EXISTS (SELECT 1 FROM entries WHERE kind = ?)", (kind,)).fetchone()[0]
    ):
        return np.zeros(0, dtype=np.int64)
    source = _products(connection, condition, found, "CROSS JOIN product_images ON product_images.product = e.key")
    rows = connection.execute(
        f"""SELECT shown.id FROM entries AS shown
        WHERE shown.kind = ? AND shown.image IN (SELECT product_images.image FROM {source})""",  # noqa: S608 (fixed text)
        (kind, *condition.parameters),
    )
    return _ids(rows)


def _products(connection: sqlite3.Connection, condition: Condition, found: IdSet, joined: str = "") -> str:
    """From where to read the products' rows ``e``: one by one, or, where they are many, faster all in one go."""
    last = connection.execute("SELECT coalesce(max(id), 0) FROM entries").fetchone()[0]
    if len(found) * _MANY < last:
        return f"({condition.sql}) AS m CROSS JOIN entries AS e ON e.id = m.entry {joined} WHERE e.kind = 'product'"
    return f"entries AS e {joined} WHERE e.kind = 'product' AND e.id IN ({condition.sql})"


def _ids(rows: Iterable[tuple[int]]) -> Ids:
    return np.fromiter((entry for (entry,) in rows), dtype=np.int64)
