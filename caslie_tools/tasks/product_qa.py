"""``product_qa``: open questions about one or several products, answered from their fields and the kept captions."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, JsonValue, TypeAdapter, with_config
from typing_extensions import TypedDict

from caslie_tools.domain import ImageRef, Product
from caslie_tools.tasks.definition import Task
from caslie_tools.tasks.instances import Instance, PlacedImage
from caslie_tools.tasks.places import ImageSlot

SHOPPERS_IMAGE = "the shopper's picture"
"""The id of the product that stands for the shopper's own images. The catalogue has no such product."""

CAPTION_KEY = "information extracted from image"
"""The key that a product's kept captions are written under."""


@with_config(extra="allow")
class ProductRecord(TypedDict):
    """A product in a question's input: its id and any text fields."""

    id: str


@with_config(extra="forbid")
class ProductQuestion(TypedDict):
    """The input of ``product_qa``."""

    question: Annotated[str, Field(min_length=1)]
    products: list[ProductRecord]


def product_question(question: str, products: Sequence[Product], extra_images: Sequence[ImageRef] = ()) -> Instance:
    """Builds an instance of ``product_qa``.

    Args:
        question: The shopper's question.
        products: The products that the question is about, with their images.
        extra_images: The shopper's own images. Together they are one more product, which has no text.
    """
    records: list[JsonValue] = [{"id": product.id, **_texts(product)} for product in products]
    images = [
        PlacedImage(ref=ref, place=place, product=product.id)
        for place, product in enumerate(products)
        for ref in product.images
    ]
    if extra_images:
        images += [PlacedImage(ref=ref, place=len(records)) for ref in extra_images]
        records.append({"id": SHOPPERS_IMAGE})
    return Instance(task=PRODUCT_QA.name, input={"question": question, "products": records}, images=tuple(images))


def _texts(product: Product) -> dict[str, JsonValue]:
    """Returns the texts of a product, without those that would be taken for its id, or for what its images show."""
    texts: dict[str, JsonValue] = {}
    for name, text in product.fields.items():
        common = " ".join(name.split()).casefold()
        if name != "id" and common != CAPTION_KEY:
            texts[f"{name.strip()} in the catalogue" if common in {"id", "caption"} else name] = text
    return texts


def catalogue_products(instance: Instance) -> tuple[Product, ...]:
    """Returns the catalogue products of an instance, by id and title; empty if its input has no list ``products``."""
    records = instance.input.get("products") if isinstance(instance.input, dict) else None
    return tuple(
        Product(id=str(record["id"]), title=str(record.get("title", "")))
        for record in (records if isinstance(records, list) else [])
        if isinstance(record, dict) and record["id"] != SHOPPERS_IMAGE
    )


PRODUCT_QA = Task(
    name="product_qa",
    abbreviation="pqa",
    instruction=(
        "Answer the shopper's question from the products' fields and the information extracted from their images, "
        "and from nothing else. If they do not answer it, say so."
    ),
    input=TypeAdapter(ProductQuestion),
    image_slots=(
        ImageSlot(
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
    from_question=product_question,
)
