"""Rows of ``entries``: everything that has a vector, and which of them a filter allows."""

import sqlite3
from collections.abc import Iterable
from typing import Literal, TypeAlias

import numpy as np

from caslie_tools.store.filters import Condition
from caslie_tools.store.vector_index import Ids
from caslie_tools.store.vectors import SpaceName, Vector, from_blob, to_blob

Kind: TypeAlias = Literal["product", "caption", "image", "document"]

SPACES: dict[Kind, SpaceName] = {"product": "text", "caption": "text", "document": "text", "image": "picture"}

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


def allowed(connection: sqlite3.Connection, space: SpaceName, condition: Condition) -> Ids:
    """The ids of a space's entries that a filter allows.

    A product or plain document is allowed if the condition holds for it; a caption or picture, if it holds for any
    product that shows its image.
    """
    by_image = """
        SELECT shown.id FROM entries AS shown WHERE shown.kind = ? AND shown.image IN (
            SELECT product_images.image FROM matching JOIN product_images ON product_images.product = matching.key
            WHERE matching.kind = 'product')"""
    select = by_image if space == "picture" else f"SELECT id FROM matching UNION ALL {by_image}"  # noqa: S608 (fixed text)
    return _ids(
        connection.execute(
            f"""WITH matching AS MATERIALIZED (
                SELECT e.id, e.kind, e.key FROM entries AS e
                WHERE e.kind IN ('product', 'document') AND {condition.sql}) {select}""",  # noqa: S608 (see Condition.sql)
            (*condition.parameters, "image" if space == "picture" else "caption"),
        )
    )


def matching_products(connection: sqlite3.Connection, condition: Condition) -> set[str]:
    """The ids of the products that a filter allows."""
    rows = connection.execute(
        f"SELECT e.key FROM entries AS e WHERE e.kind = 'product' AND {condition.sql}",  # noqa: S608 (see Condition.sql)
        condition.parameters,
    )
    return {key for (key,) in rows}


def _ids(rows: Iterable[tuple[int]]) -> Ids:
    return np.fromiter((entry for (entry,) in rows), dtype=np.int64)
