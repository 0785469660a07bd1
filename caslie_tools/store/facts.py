"""Facts: the named values of a product or document that filters compare."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from caslie_tools.domain import Product

FactValue: TypeAlias = str | int | float
Fact: TypeAlias = tuple[str, str, FactValue]
"""Name, type (``text``, ``number``, ``truth value`` or ``other``) and value. A truth value is stored as 0 or 1."""

PRODUCT_FIELDS: Final = {
    "id": "text",
    "title": "text",
    "description": "text",
    "category": "text",
    "price": "number",
    "brand": "text",
}
"""The fields of a product and their types. Every other name in a filter is an attribute."""


def product_facts(product: Product) -> Iterator[Fact]:
    """Yields the facts of a product: its fields and its attributes. An empty field counts as missing."""
    fields = {name: getattr(product, name) for name in PRODUCT_FIELDS}
    yield from metadata_facts(
        product.attributes | {name: value for name, value in fields.items() if value not in (None, "")}
    )


def metadata_facts(metadata: Mapping[str, Any]) -> Iterator[Fact]:
    """Yields the facts of the metadata of a plain document.

    A value that is not a number, text or truth value has the type ``other``. Filters can only test that it exists.
    """
    for name, value in metadata.items():
        if value is None or (isinstance(value, float) and math.isnan(value)):
            continue
        yield (name, *(typed_value(value) or ("other", "")))


def typed_value(value: object) -> tuple[str, FactValue] | None:
    """Returns the type and the stored form of a value that filters can compare, or ``None`` for any other value."""
    if isinstance(value, bool):
        return "truth value", int(value)
    if isinstance(value, int):
        # An integer in SQLite has at most 64 bits.
        return "number", value if -(2**63) <= value < 2**63 else _to_float(value)
    if isinstance(value, float):
        return "number", float(value)
    return ("text", str(value)) if isinstance(value, str) else None


def _to_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
