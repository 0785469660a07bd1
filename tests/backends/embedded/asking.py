"""Asks the embedded predictor about products, with captions that are given."""

from typing import Any

from caslie_tools.backends.embedded import EmbeddedPredictor
from caslie_tools.domain import Answer, Caption, ImageRef, Product, QueryContext
from caslie_tools.tasks import PRODUCT_QA, product_question
from caslie_tools.tasks.fusion import fuse
from tests.backends.embedded.images import sha


def product(id_: str, **values: Any) -> Product:
    """Returns a product. A value that is no field of a product is an attribute."""
    fields = {
        name: values.pop(name) for name in ("title", "description", "category", "brand", "price") if name in values
    }
    return Product(id=id_, attributes=values, **fields)


async def ask(predictor: EmbeddedPredictor, question: str, *products: Product, **captions: str) -> Answer:
    """Asks about products. Each keyword argument is a kept caption for the product with that id."""
    ref = ImageRef(data=b"unused")
    shown = [item.model_copy(update={"images": (ref,) if item.id in captions else ()}) for item in products]
    instance = PRODUCT_QA.check(product_question(question, shown))
    kept = [
        Caption(
            key=sha(text), text=text, image=sha(id_), context=QueryContext(task="product_qa"), captioner="c",
            prompt_version="1",
        )
        for placed in instance.images
        for id_, text in captions.items()
        if placed.product == id_
    ]  # fmt: skip
    return await predictor.ainvoke(fuse(PRODUCT_QA, instance, kept))


async def said(predictor: EmbeddedPredictor, question: str, *products: Product, **captions: str) -> str:
    """Returns the text of an answer, or an empty text for a refusal."""
    answer = await ask(predictor, question, *products, **captions)
    return answer.text if answer.answerable else ""
