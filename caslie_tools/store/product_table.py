"""Reads and writes the tables ``products``, ``images`` and ``product_images``.

Every function works within the transaction of its caller.
"""

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from caslie_tools.domain import WITH_LOCATIONS, ImageRef, Product
from caslie_tools.exceptions import UnknownProductError
from caslie_tools.store import caption_table, entry_table
from caslie_tools.store.facts import product_facts
from caslie_tools.store.vectors import Vector

if TYPE_CHECKING:
    from caslie_tools.images.loading import LoadedImage


def digest_product(product: Product, images: Sequence[str | None]) -> str:
    """Returns the SHA-256 (hex) of everything that is stored for a product. It changes if the product changes.

    Args:
        product: The product, with its image references.
        images: SHA-256 (hex) of the bytes of each image, in order; ``None`` for an image that could not be read.
    """
    content = json.dumps(
        [product.model_dump(mode="json", context=WITH_LOCATIONS), list(images)], sort_keys=True, ensure_ascii=False
    )
    return hashlib.sha256(content.encode()).hexdigest()


def put(
    connection: sqlite3.Connection,
    product: Product,
    images: "Sequence[LoadedImage | str | None]",
    vector: Vector,
    image_vectors: Mapping[str, Vector],
) -> None:
    """Writes a product with its images and entries. It replaces a product with the same id.

    Args:
        connection: A connection in a write transaction.
        product: The product.
        images: One item for each image reference of the product: the image, the SHA-256 (hex) of an image that is
            already stored, or ``None``.
        vector: Vector of the text of the product.
        image_vectors: Vectors of images by SHA-256 (hex). An image that is not included is stored without a vector.
    """
    rows = connection.execute("SELECT reference, image FROM product_images WHERE product = ?", (product.id,)).fetchall()
    stored = dict(rows)
    references = [reference.model_dump_json(context=WITH_LOCATIONS) for reference in product.images]
    hashes = [
        # If an image cannot be read now, the one stored under the same reference stays, and keeps its captions.
        stored.get(reference) if image is None else image if isinstance(image, str) else image.sha256
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
            # Equal bytes have equal vectors, so an entry that another product has stored is kept.
            if image.sha256 in image_vectors and not entry_table.exists(connection, "image", image.sha256):
                entry_table.put(connection, "image", image.sha256, image_vectors[image.sha256], image=image.sha256)
        connection.execute(
            "INSERT INTO product_images VALUES (?, ?, ?, ?)",
            (product.id, position, hashes[position], reference),
        )
    entry_table.put(connection, "product", product.id, vector, facts=product_facts(product))
    _remove_unused_images(connection, {image for _, image in rows} - set(hashes))


def get(connection: sqlite3.Connection, product_id: str) -> Product | None:
    """Returns a product, or ``None``."""
    row = connection.execute("SELECT json FROM products WHERE id = ?", (product_id,)).fetchone()
    if row is None:
        return None
    rows = connection.execute("SELECT reference FROM product_images WHERE product = ? ORDER BY position", (product_id,))
    references = tuple(ImageRef.model_validate_json(reference) for (reference,) in rows)
    return Product.model_validate_json(row[0]).model_copy(update={"images": references})


def require(connection: sqlite3.Connection, product_id: str) -> Product:
    """Returns a product.

    Raises:
        UnknownProductError: If the store has no product with this id.
    """
    product = get(connection, product_id)
    if product is None:
        raise UnknownProductError(
            f"there is no product {product_id!a} in the store; check the id, or index the product"
        )
    return product


def remove(connection: sqlite3.Connection, product_id: str) -> bool:
    """Removes a product, and those of its images that no other product has; returns whether the product existed."""
    images = images_of(connection, product_id)
    if not connection.execute("DELETE FROM products WHERE id = ?", (product_id,)).rowcount:
        return False
    entry_table.remove(connection, "product", product_id)
    _remove_unused_images(connection, set(images))
    return True


def images_of(connection: sqlite3.Connection, product_id: str) -> list[str | None]:
    """Returns the images of a product by position; ``None`` for an image that could not be read."""
    rows = connection.execute("SELECT image FROM product_images WHERE product = ? ORDER BY position", (product_id,))
    return [image for (image,) in rows]


def products_of(connection: sqlite3.Connection, image: str) -> list[str]:
    """Returns the ids of the products with an image, sorted."""
    rows = connection.execute("SELECT DISTINCT product FROM product_images WHERE image = ? ORDER BY product", (image,))
    return [product for (product,) in rows]


def _remove_unused_images(connection: sqlite3.Connection, images: set[str | None]) -> None:
    for image in images - {None}:
        assert image is not None  # noqa: S101 (for the type checker)
        if not products_of(connection, image):
            entry_table.remove(connection, "image", image)
            caption_table.remove_captions_of(connection, image)
            connection.execute("DELETE FROM observations WHERE image = ?", (image,))
            connection.execute("DELETE FROM images WHERE sha256 = ?", (image,))
