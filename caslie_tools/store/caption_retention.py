"""Removes captions that are out of date, or beyond what a store keeps. Functions work in its caller's transaction.

General captions, which are made when an image is indexed, are only removed once a newer one has taken their place.
"""

import json
import sqlite3
from collections.abc import Iterable
from typing import Final

from caslie_tools.domain import Caption, Product
from caslie_tools.store import entry_table, product_table

_TEXTS: Final = ("title", "brand", "category", "description")
"""The texts of a product that a caption is made for. A new price does not change what a picture shows."""


def retire(connection: sqlite3.Connection, old: Product, new: Product) -> int:
    """Removes the captions of a product's images that were made for a text which the product no longer has.

    A caption stays if another product with the image still has the text, and if it is a general one.

    Args:
        connection: A connection in a write transaction. The new product is stored already.
        old: The product as it was.
        new: The product as it is.

    Returns:
        The number of captions that were removed.
    """
    changed = [name for name in _TEXTS if (value := getattr(old, name)) and value != getattr(new, name)]
    if not changed:
        return 0
    removed = 0
    for image in {image for image in product_table.images_of(connection, new.id) if image is not None}:
        shown = [product_table.get(connection, product) for product in product_table.products_of(connection, image)]
        gone = [
            value
            for name in changed
            if (value := getattr(old, name)) not in {getattr(product, name) for product in shown if product is not None}
        ]
        rows = connection.execute("SELECT key, json FROM captions WHERE image = ? AND NOT general", (image,)).fetchall()
        outdated = [key for key, text in rows if _mentions(Caption.model_validate_json(text), gone)]
        removed += remove(connection, outdated)
    return removed


def repeated_general(connection: sqlite3.Connection) -> list[Caption]:
    """Returns the general captions of images that have several by one captioner, as after a new title."""
    rows = connection.execute(
        """SELECT json FROM captions WHERE general AND (image, captioner) IN
        (SELECT image, captioner FROM captions WHERE general GROUP BY image, captioner HAVING count(*) > 1)"""
    )
    return [Caption.model_validate_json(text) for (text,) in rows]


def limit_per_image(connection: sqlite3.Connection, images: Iterable[str], most: int) -> int:
    """Removes the captions for questions that were used longest ago, where an image has more than ``most``.

    Returns:
        The number of captions that were removed.
    """
    removed = 0
    for image in images:
        beyond = connection.execute(
            """SELECT key FROM captions WHERE image = ? AND NOT general
            ORDER BY used_at DESC, rowid DESC LIMIT -1 OFFSET ?""",
            (image, most),
        ).fetchall()
        removed += remove(connection, [key for (key,) in beyond])
    return removed


def drop_unused(connection: sqlite3.Connection, before: int) -> int:
    """Removes the captions for questions that were last used before a time, in seconds since 1970.

    Returns:
        The number of captions that were removed.
    """
    rows = connection.execute("SELECT key FROM captions WHERE NOT general AND used_at < ?", (before,)).fetchall()
    return remove(connection, [key for (key,) in rows])


def remove(connection: sqlite3.Connection, keys: Iterable[str]) -> int:
    """Removes captions by their keys; returns how many keys there were."""
    keys = list(keys)
    for key in keys:
        entry_table.remove(connection, "caption", key)
    connection.executemany("DELETE FROM captions WHERE key = ?", [(key,) for key in keys])
    return len(keys)


def _mentions(caption: Caption, values: Iterable[str]) -> bool:
    """Returns whether the context of a caption has one of the values, as it is or inside JSON."""
    context = f"{caption.context.known}\n{caption.context.compared_with}"
    return any(value in context or json.dumps(value, ensure_ascii=False)[1:-1] in context for value in values)
