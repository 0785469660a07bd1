"""The context of a general caption, which is made without a question when an image is indexed."""

from typing import Final

from caslie_tools.domain import GENERAL_TASK, Product, QueryContext

_CONTEXT_FIELDS: Final = ("title", "brand", "category", "description")
_MAX_CONTEXT_CHARACTERS: Final = 2000


def general_context(product: Product) -> QueryContext:
    """Returns the context of the general caption that an image of the product gets when it is indexed.

    Prices and attributes are left out. A changed price or stock level therefore does not cause a new caption, and
    variants of a product that share an image share its caption.
    """
    return general_context_for(
        "\n".join(f"{name}: {product.fields[name]}" for name in _CONTEXT_FIELDS if name in product.fields)
    )


def general_context_for(known: str) -> QueryContext:
    """Returns the context of a general caption, which is made without a question.

    Args:
        known: The available text about the product in the image. A long text is cut.
    """
    return QueryContext(
        task=GENERAL_TASK,
        aim="telling shoppers what the product is, what its label says and how it looks",
        known=known[:_MAX_CONTEXT_CHARACTERS],
        question="Does the information from the image tell shoppers something about this product?",
    )
