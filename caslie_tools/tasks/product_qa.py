"""Open questions about one product or several, answered from their fields and the kept captions."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, JsonValue, TypeAdapter, with_config
from typing_extensions import TypedDict

from caslie_tools.domain import Citation, ImageRef, Product
from caslie_tools.tasks.definition import FusedInstance, Instance, Picture, PlacedImage, Task

SHOPPERS_PICTURE = "the shopper's picture"
"""Stands for the id of a product that is known by its picture only."""

CAPTION_KEY = "information extracted from image"
"""The key a product's kept captions are fused in under."""

_RESERVED = ("id", CAPTION_KEY)  # a shop's own attribute of such a name would pass for what it is not


@with_config(extra="allow")
class ProductRecord(TypedDict):
    """A product as the question sees it: its id and whatever text fields it has."""

    id: str


@with_config(extra="forbid")
class ProductQuestion(TypedDict):
    """The input of ``product_qa``."""

    question: Annotated[str, Field(min_length=1)]
    products: list[ProductRecord]


PRODUCT_QA = Task(
    name="product_qa",
    short="pqa",
    instruction=(
        "Answer the shopper's question from the products' fields and the information extracted from their images, "
        "and from nothing else. If they do not answer it, say so."
    ),
    input=TypeAdapter(ProductQuestion),
    pictures=(
        Picture(
            name="product {number}",
            each="products",
            focus="{question}",
            known="{item}",
            aim="answering a shopper's question about the product",
            question="Does the information from the image help to answer the shopper's question about this product?",
            key=CAPTION_KEY,
        ),
    ),
    answers="text",
)


def product_question(question: str, products: Sequence[Product], extra_images: Sequence[ImageRef] = ()) -> Instance:
    """Builds an instance of ``product_qa``.

    Args:
        question: What the shopper asks.
        products: The products it may be about, with their images.
        extra_images: Pictures the shopper brought; together they are one more product without a text.
    """
    records: list[JsonValue] = [
        {"id": product.id, **{name: value for name, value in product.fields.items() if name not in _RESERVED}}
        for product in products
    ]
    images = [
        PlacedImage(ref=ref, place=place, product=product.id)
        for place, product in enumerate(products)
        for ref in product.images
    ]
    if extra_images:
        images += [PlacedImage(ref=ref, place=len(records)) for ref in extra_images]
        records.append({"id": SHOPPERS_PICTURE})
    return Instance(task=PRODUCT_QA.name, input={"question": question, "products": records}, images=tuple(images))


def evidence(instance: FusedInstance) -> list[Citation]:
    """Returns what an answer may rest on: every product's fields, then its kept captions.

    The captions come from what was fused, not from the text, so that a field that merely looks like a caption is
    never cited as one.
    """
    products = instance.input.get("products") if isinstance(instance.input, dict) else None
    found = []
    for number, product in enumerate(products if isinstance(products, list) else [], start=1):
        if not isinstance(product, dict):
            continue
        found += [
            Citation(product=str(product["id"]), field=name, quote=str(value))
            for name, value in product.items()
            if name not in _RESERVED and value not in (None, "")
        ]
        found += [
            Citation(product=str(product["id"]), field="caption", image=fused.caption.image, quote=fused.caption.text)
            for fused in instance.captions
            if fused.place == f"product {number}"
        ]
    return found
