"""Entries as LangChain documents: plain ones as they were added, products and captions with useful metadata."""

import json
import sqlite3
from typing import Any, Final

from langchain_core.documents import Document

from caslie_tools.domain import Product
from caslie_tools.exceptions import InputError
from caslie_tools.store import captions, entries, products
from caslie_tools.store.filters import metadata_facts
from caslie_tools.store.vectors import Vector

PRODUCT_PREFIX: Final = "product:"
CAPTION_PREFIX: Final = "caption:"


def is_reserved(document_id: str) -> bool:
    """Whether an id is one of a product's or caption's document."""
    return document_id.startswith((PRODUCT_PREFIX, CAPTION_PREFIX))


def encode_metadata(document_id: str, metadata: dict[str, Any]) -> str:
    """Metadata as it is stored: JSON.

    Raises:
        InputError: It holds something JSON has no form for.
    """
    try:
        return json.dumps(metadata)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"the metadata of document {document_id!a} cannot be stored as JSON: {error}") from error


def put(connection: sqlite3.Connection, document_id: str, content: str, metadata: str, vector: Vector) -> None:
    """Writes a plain document, in place of the one under its id; ``metadata`` from :func:`encode_metadata`."""
    facts = metadata_facts(json.loads(metadata))
    entries.put(connection, "document", document_id, vector, content=content, metadata=metadata, facts=facts)


def get(connection: sqlite3.Connection, document_id: str) -> Document | None:
    """Reads a document by its id, also a product's or caption's."""
    if document_id.startswith(PRODUCT_PREFIX):
        return _product_document(connection, document_id.removeprefix(PRODUCT_PREFIX))
    if document_id.startswith(CAPTION_PREFIX):
        return _caption_document(connection, document_id.removeprefix(CAPTION_PREFIX))
    row = connection.execute(
        "SELECT content, metadata FROM entries WHERE kind = 'document' AND key = ?", (document_id,)
    ).fetchone()
    return None if row is None else Document(id=document_id, page_content=row[0], metadata=json.loads(row[1]))


def of_entry(connection: sqlite3.Connection, entry: int) -> Document | None:
    """The document of an entry of the text space."""
    row = connection.execute("SELECT kind, key FROM entries WHERE id = ?", (entry,)).fetchone()
    if row is None:
        return None
    prefix = {"product": PRODUCT_PREFIX, "caption": CAPTION_PREFIX}.get(row[0], "")
    return get(connection, prefix + row[1])


def _product_document(connection: sqlite3.Connection, product_id: str) -> Document | None:
    product = products.get(connection, product_id)
    if product is None:
        return None
    images = [image for image in products.images_of(connection, product_id) if image is not None]
    metadata = {"kind": "product", "products": [product_id], "images": images, **_describing(product)}
    return Document(id=PRODUCT_PREFIX + product_id, page_content=product.text or product.id, metadata=metadata)


def _caption_document(connection: sqlite3.Connection, key: str) -> Document | None:
    caption = captions.get(connection, key)
    if caption is None:
        return None
    shown_by = products.products_of(connection, caption.image)
    product = products.get(connection, shown_by[0]) if shown_by else None
    metadata = {
        "kind": "caption",
        "products": shown_by,
        "image": caption.image,
        "captioner": caption.captioner,
        "prompt_version": caption.prompt_version,
        "task": caption.context.task,
        "focus": caption.context.focus,
        **(_describing(product) if product is not None else {}),
    }
    return Document(id=CAPTION_PREFIX + key, page_content=caption.text, metadata=metadata)


def _describing(product: Product) -> dict[str, Any]:
    return {
        "title": product.title,
        "category": product.category,
        "brand": product.brand,
        "price": product.price,
        "attributes": dict(product.attributes),
    }
