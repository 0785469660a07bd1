"""Rows of products and their images. Every function works within the caller's transaction."""

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from caslie_tools.domain import ImageRef, Product
from caslie_tools.exceptions import UnknownProductError
from caslie_tools.store import captions, entries
from caslie_tools.store.filters import product_facts
from caslie_tools.store.vectors import Vector

if TYPE_CHECKING:
    from caslie_tools.images.loading import LoadedImage


def digest_product(product: Product, images: Sequence[str | None]) -> str:
    """SHA-256 (hex) of all that is stored of a product: it is unchanged if this is.

    Args:
        product: The product, its image references included.
        images: SHA-256 (hex) of each image's bytes, in order; ``None`` for one that could not be read.
    """
    content = json.dumps([product.model_dump(mode="json"), list(images)], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()


def put(
    connection: sqlite3.Connection,
    product: Product,
    images: "Sequence[LoadedImage | str | None]",
    vector: Vector,
    pictures: Mapping[str, Vector],
) -> None:
    """Writes a product, its text entry, images and picture entries, in place of what was there under its id.

    Args:
        connection: In a write transaction.
        product: The product.
        images: One for each of its references; an image that is stored already may be given as its SHA-256 (hex).
        vector: Of its text.
        pictures: By image, the vectors of pictures; those without are stored without.
    """
    rows = connection.execute("SELECT reference, image FROM product_images WHERE product = ?", (product.id,)).fetchall()
    known = dict(rows)
    references = [reference.model_dump_json(exclude_none=True) for reference in product.images]
    hashes = [
        # What cannot be read today was read before under the same reference: its captions are worth keeping.
        known.get(reference) if image is None else image if isinstance(image, str) else image.sha256
        for reference, image in zip(references, images, strict=True)
    ]
    connection.execute(
        """INSERT INTO products (id, digest, json) VALUES (?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET digest = excluded.digest, json = excluded.json""",
        (product.id, digest_product(product, hashes), product.model_copy(update={"images": ()}).model_dump_json()),
    )
    connection.execute("DELETE FROM product_images WHERE product = ?", (product.id,))
    for position, (reference, image) in enumerate(zip(references, images, strict=True)):
        if image is not None and not isinstance(image, str):
            connection.execute(
                "INSERT OR IGNORE INTO images VALUES (?, ?, ?, ?)",
                (image.sha256, image.media_type, image.width, image.height),
            )
            # The same bytes have the same vector: what another product has stored stays.
            if image.sha256 in pictures and not entries.exists(connection, "image", image.sha256):
                entries.put(connection, "image", image.sha256, pictures[image.sha256], image=image.sha256)
        connection.execute(
            "INSERT INTO product_images VALUES (?, ?, ?, ?)",
            (product.id, position, hashes[position], reference),
        )
    entries.put(connection, "product", product.id, vector, facts=product_facts(product))
    _remove_unused(connection, {image for _, image in rows} - set(hashes))


def get(connection: sqlite3.Connection, product_id: str) -> Product | None:
    """Reads a product."""
    row = connection.execute("SELECT json FROM products WHERE id = ?", (product_id,)).fetchone()
    if row is None:
        return None
    rows = connection.execute("SELECT reference FROM product_images WHERE product = ? ORDER BY position", (product_id,))
    references = tuple(ImageRef.model_validate_json(reference) for (reference,) in rows)
    return Product.model_validate_json(row[0]).model_copy(update={"images": references})


def require(connection: sqlite3.Connection, product_id: str) -> Product:
    """Reads a product.

    Raises:
        UnknownProductError: There is none of that id.
    """
    product = get(connection, product_id)
    if product is None:
        raise UnknownProductError(f"there is no product {product_id!a} in the store: index it first, or check its id")
    return product


def delete(connection: sqlite3.Connection, product_id: str) -> bool:
    """Removes a product, and of its images what no other product shows; returns whether it was there."""
    before = images_of(connection, product_id)
    if not connection.execute("DELETE FROM products WHERE id = ?", (product_id,)).rowcount:
        return False
    entries.remove(connection, "product", product_id)
    _remove_unused(connection, set(before))
    return True


def images_of(connection: sqlite3.Connection, product_id: str) -> list[str | None]:
    """The images of a product by position; ``None`` where one could not be read."""
    rows = connection.execute("SELECT image FROM product_images WHERE product = ? ORDER BY position", (product_id,))
    return [image for (image,) in rows]


def products_of(connection: sqlite3.Connection, image: str) -> list[str]:
    """The ids of the products that show an image, sorted."""
    rows = connection.execute("SELECT DISTINCT product FROM product_images WHERE image = ? ORDER BY product", (image,))
    return [product for (product,) in rows]


def _remove_unused(connection: sqlite3.Connection, images: set[str | None]) -> None:
    for image in images - {None}:
        assert image is not None  # noqa: S101 (restated for the type checker)
        if not products_of(connection, image):
            entries.remove(connection, "image", image)
            captions.remove_of_image(connection, image)
            connection.execute("DELETE FROM observations WHERE image = ?", (image,))
            connection.execute("DELETE FROM images WHERE sha256 = ?", (image,))
