"""Converts entries to LangChain documents: plain documents, products and captions.

Every function works within the transaction of its caller.
"""

import json
import sqlite3
from typing import Any, Final

from langchain_core.documents import Document

from caslie_tools.domain import Product
from caslie_tools.exceptions import InputError
from caslie_tools.store import caption_table, entry_table, product_table
from caslie_tools.store.facts import metadata_facts
from caslie_tools.store.vectors import Vector

PRODUCT_PREFIX: Final = "product:"
CAPTION_PREFIX: Final = "caption:"
_NAMED_PRODUCTS: Final = 5
"""How many of the products with an image the content of a caption's document names."""


def is_reserved(document_id: str) -> bool:
    """Returns whether an id belongs to the document of a product or caption."""
    return document_id.startswith((PRODUCT_PREFIX, CAPTION_PREFIX))


def encode_metadata(document_id: str, metadata: dict[str, Any]) -> str:
    """Returns metadata as JSON, the form in which it is stored.

    Raises:
        InputError: If a value cannot be represented in JSON.
    """
    try:
        return json.dumps(metadata)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"the metadata of the document {document_id!a} cannot be stored as JSON: {error}") from error


def put(connection: sqlite3.Connection, document_id: str, content: str, metadata: str, vector: Vector) -> None:
    """Writes a plain document. It replaces a document with the same id.

    Args:
        connection: A connection in a write transaction.
        document_id: The id.
        content: The text.
        metadata: The result of :func:`encode_metadata`.
        vector: Vector of the text.
    """
    facts = metadata_facts(json.loads(metadata))
    entry_table.put(connection, "document", document_id, vector, content=content, metadata=metadata, facts=facts)


def get(connection: sqlite3.Connection, document_id: str) -> Document | None:
    """Returns the document with an id: a plain document, or the document of a product or caption."""
    if document_id.startswith(PRODUCT_PREFIX):
        return _product_document(connection, document_id.removeprefix(PRODUCT_PREFIX))
    if document_id.startswith(CAPTION_PREFIX):
        return _caption_document(connection, document_id.removeprefix(CAPTION_PREFIX))
    row = connection.execute(
        "SELECT content, metadata FROM entries WHERE kind = 'document' AND key = ?", (document_id,)
    ).fetchone()
    return None if row is None else Document(id=document_id, page_content=row[0], metadata=json.loads(row[1]))


def document_of(connection: sqlite3.Connection, entry: int) -> Document | None:
    """Returns the document of an entry in the text space."""
    row = connection.execute("SELECT kind, key FROM entries WHERE id = ?", (entry,)).fetchone()
    if row is None:
        return None
    prefix = {"product": PRODUCT_PREFIX, "caption": CAPTION_PREFIX}.get(row[0], "")
    return get(connection, prefix + row[1])


def _product_document(connection: sqlite3.Connection, product_id: str) -> Document | None:
    product = product_table.get(connection, product_id)
    if product is None:
        return None
    images = [image for image in product_table.images_of(connection, product_id) if image is not None]
    metadata = {"kind": "product", "products": [product_id], "images": images, **_product_metadata(product)}
    content = product.text if product.title else "\n".join(filter(None, (f"id: {product.id}", product.text)))
    return Document(id=PRODUCT_PREFIX + product_id, page_content=content, metadata=metadata)


def _caption_document(connection: sqlite3.Connection, key: str) -> Document | None:
    caption = caption_table.get(connection, key)
    if caption is None:
        return None
    product_ids = product_table.products_of(connection, caption.image)
    products = [product_table.require(connection, product) for product in product_ids[:_NAMED_PRODUCTS]]
    product = products[0] if products else None
    metadata = {
        "kind": "caption",
        "caption": caption.text,
        "products": product_ids,
        "image": caption.image,
        "captioner": caption.captioner,
        "prompt_version": caption.prompt_version,
        "task": caption.context.task,
        "focus": caption.context.focus,
        **(_product_metadata(product) if product is not None else {}),
    }
    # A chain passes only the content on to a model, which must know whose label it reads.
    names = list(dict.fromkeys(product.title or product.id for product in products))
    content = f"{', '.join(names)}: {caption.text}" if names else caption.text
    return Document(id=CAPTION_PREFIX + key, page_content=content, metadata=metadata)


def _product_metadata(product: Product) -> dict[str, Any]:
    return {
        "title": product.title,
        "category": product.category,
        "brand": product.brand,
        "price": product.price,
        "attributes": dict(product.attributes),
    }
