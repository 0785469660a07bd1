"""The value of an attribute as a number, for comparing products."""

from collections.abc import Sequence
from dataclasses import dataclass

from caslie_tools.backends.embedded.questions.attribute_facts import stated
from caslie_tools.backends.embedded.questions.attributes import Attribute, column_words
from caslie_tools.backends.embedded.questions.claims import contains_stem
from caslie_tools.backends.embedded.questions.facts import Fact, ProductFacts, bare_number


@dataclass(frozen=True, kw_only=True)
class Value:
    """A number that a fact states."""

    number: float
    """In the base unit of its dimension, or as written without a unit."""
    unit: str
    """The dimension, or the column of a number without a unit. Only values with the same unit can be compared."""
    fact: Fact


def measured_value(attribute: Attribute | None, product: ProductFacts, *, dimension: str = "") -> Value | None:
    """Returns the value of an attribute that a field or a printed line states.

    Args:
        attribute: The attribute, or ``None`` for any quantity of the dimension.
        product: The facts of the product.
        dimension: The dimension that the value must have, or empty for any.
    """
    if attribute is None:
        facts = product.of("field", "label")
    else:
        facts = [found.fact for found in stated(attribute, product) if found.fact.kind in ("field", "label")]
    for fact in facts:
        if (value := _value(fact)) and (not dimension or dimension in (value.unit, _kind_of(attribute, value))):
            return value
    return None


def named_value(words: Sequence[str], product: ProductFacts) -> Value | None:
    """Returns the value of the first field whose name contains one of some words."""
    for fact in product.of("field"):
        if any(contains_stem(word, part) for word in words for part in column_words(fact.field)) and (
            value := _value(fact)
        ):
            return value
    return None


def _value(fact: Fact) -> Value | None:
    if fact.quantities:
        return Value(number=fact.quantities[0].value, unit=fact.quantities[0].dimension, fact=fact)
    bare = bare_number(fact.citation.quote)
    return None if bare is None else Value(number=bare, unit=fact.field, fact=fact)


def _kind_of(attribute: Attribute | None, value: Value) -> str:
    """Returns the dimension of a number without a unit: a bare price is money."""
    if attribute is None or value.unit != value.fact.field or len(attribute.dimensions) != 1:
        return ""
    return next(iter(attribute.dimensions))
