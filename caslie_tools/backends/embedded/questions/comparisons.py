"""Superlatives and bounds in questions: "the cheapest", "the fewest calories", "under 5", "more than 2 l"."""

import re
from dataclasses import dataclass
from typing import Final

from caslie_tools.backends.embedded.quantities import number, quantities
from caslie_tools.backends.embedded.questions.attributes import BY_NAME, Attribute, asked_attributes

_SUPERLATIVES: Final[tuple[tuple[str, tuple[str, ...], bool], ...]] = (
    (
        r"cheap(?:est|er)|least expensive|less expensive|lowest[- ]priced|billigste\w*|günstigste\w*|"
        r"billiger|günstiger|moins cher\w*|más barat\w+|"
        r"billigast\w*|billigare",
        ("price",),
        False,
    ),
    (
        r"(?:most|more) expensive|priciest|dearest|teuerste\w*|teurer|plus cher\w*|más car\w+|"
        r"dyrast\w*|dyrare",
        ("price",),
        True,
    ),
    (r"lightest|lighter|leichteste\w*|leichter|plus légère?s?|más liger\w+|lättast\w*|lättare", ("weight",), False),
    (r"heaviest|heavier|schwerste\w*|schwerer|plus lourde?s?|más pesad\w+|tyngst\w*|tyngre", ("weight",), True),
    (r"brightest|brighter|hellste\w*|heller|plus lumineu\w+|ljusast\w*", ("brightness",), True),
    (
        r"strongest|most powerful|more powerful|stärkste\w*|plus puissante?s?|más potentes?|"
        r"starkast\w*",
        ("power",),
        True,
    ),
    (r"shortest|shorter|kürzeste\w*|kürzer|plus courte?s?|más cort\w+|kortast\w*", ("length", "duration"), False),
    (r"longest|longer|längste\w*|länger|plus longue?s?|más larg\w+|längst\w*", ("length", "duration"), True),
    (r"fastest|faster|schnellste\w*|schneller|plus rapides?|más rápid\w+|snabbast\w*", ("speed",), True),
    (r"widest|wider|breiteste\w*", ("width",), True),
    (r"narrowest|narrower|schmalste\w*", ("width",), False),
    (r"tallest|taller|höchste\w* (?:produkt|artikel)", ("height",), True),
    (r"thickest|thicker|dickste\w*", ("thickness",), True),
    (r"thinnest|thinner|dünnste\w*", ("thickness",), False),
    (
        r"smallest|smaller|kleinste\w*|kleiner|plus petite?s?|más pequeñ\w+|minsta|mindre(?! än)",
        ("capacity", "size"),
        False,
    ),
    (
        r"biggest|bigger|largest|larger|größte\w*|größer|plus grande?s?|más grandes?|störst\w*|större",
        ("capacity", "size"),
        True,
    ),
    (
        r"(?:fewest|lowest|least|smallest number|wenigste\w*|niedrigste\w*|le moins|la moins|menos|"
        r"minst|lägst\w*)|\bless\b(?! than)",
        (),
        False,
    ),
    (
        r"(?:most|highest|greatest|meiste\w*|höchste\w*|le plus|la plus|más|mest|flest|högst\w*)|"
        r"\bmore\b(?! than)",
        (),
        True,
    ),
)
"""A pattern of a superlative or a comparative, the attributes that it compares, and whether the largest is wanted."""

_UPPER: Final = (
    r"under|below|less than|fewer than|no more than|at most|up to|(?:less expensive|cheaper|"
    r"lighter|smaller|shorter|narrower|thinner) than|"
    r"(?:billiger|günstiger|leichter|kleiner|kürzer) als|(?:moins cher\w*|plus léger|plus petit|"
    r"plus court) que|más barat\w+ que|billigare än|maximum|max\.?|unter|weniger als|höchstens|"
    r"maximal|bis zu|moins (?:de|que)|au plus|maximum de|menos de|como máximo|mindre än|högst|max"
)
_LOWER: Final = (
    r"over|above|more than|at least|no less than|(?:more expensive|heavier|larger|bigger|longer|"
    r"wider|taller|higher|brighter|stronger|thicker) than|"
    r"(?:teurer|schwerer|größer|länger|breiter) als|(?:plus cher\w*|plus lourd|plus grand|"
    r"plus long) que|más car\w+ que|dyrare än|from|über|mehr als|mindestens|ab|plus de|au moins|"
    r"más de|al menos|mer än|minst"
)
_NUMBER: Final = r"(?P<number>\d+(?:[.,]\d+)?)"
_BOUND: Final = re.compile(rf"\b(?:(?P<upper>{_UPPER})|(?P<lower>{_LOWER}))\s+[€$£]?\s?{_NUMBER}", re.IGNORECASE)
_RANGE: Final = re.compile(
    rf"\b(?:between|zwischen|entre|mellan)\s+{_NUMBER}.{{0,12}}?\s(?:and|und|et|y|"
    rf"och)\s+(?P<end>\d+(?:[.,]\d+)?)",
    re.I,
)
_MONEY: Final = re.compile(r"[€$£]|\b(?:eur|euros?|usd|dollars?|gbp|pounds?|kr|kronor|chf|francs?)\b", re.IGNORECASE)
_INCLUSIVE: Final = re.compile(
    r"at most|up to|no more|at least|no less|höchstens|mindestens|maxim|bis|ab|au (?:plus|moins)|"
    r"como|al menos|högst|minst|from",
    re.I,
)


@dataclass(frozen=True, kw_only=True)
class Extreme:
    """A superlative."""

    attributes: tuple[Attribute, ...]
    largest: bool
    words: str
    """As written in the question."""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """Limits of a value."""

    attribute: Attribute | None
    """``None`` if only the unit says what is limited."""
    dimension: str
    """``money``, the dimension of the unit, or empty if the question gives no unit."""
    low: float
    high: float
    inclusive: bool

    def holds(self, value: float) -> bool:
        """Whether a value, in the base unit of the dimension, is within the limits."""
        return self.low <= value <= self.high if self.inclusive else self.low < value < self.high


def find_extreme(question: str) -> Extreme | None:
    """Returns the superlative of a question. Its attribute may be named by the superlative or by the question."""
    question = _BOUND.sub(" ", question)  # "cheaper than 5" is a limit
    for pattern, names, largest in _SUPERLATIVES:
        if match := re.search(rf"\b(?:{pattern})\b(?! than)", question, re.IGNORECASE):
            attributes = tuple(BY_NAME[name] for name in names)
            if not names:
                attributes = asked_attributes(question)
            elif "duration" in names and any(item.name == "battery life" for item in asked_attributes(question)):
                attributes = (BY_NAME["battery life"],)
            return Extreme(attributes=attributes, largest=largest, words=match[0])
    return None


def find_bound(question: str) -> Bound | None:
    """Returns the limits that a question sets to a value."""
    span = _RANGE.search(question)
    match = span or _BOUND.search(question)
    if match is None:
        return None
    dimension = ""
    rest = question[match.start("end") if span else match.start("number") :]
    value = number(match["end"] if span else match["number"])
    factor = 1.0
    stated = quantities(rest)
    if stated and rest.startswith(stated[0].text):
        dimension, factor = stated[0].dimension, stated[0].value / value if value else 1.0
    elif _MONEY.search(question):
        dimension = "money"
    attributes = [item for item in asked_attributes(question) if not dimension or dimension in item.dimensions]
    attribute = attributes[0] if attributes else None
    if attribute is None and dimension in ("", "money"):
        attribute, dimension = BY_NAME["price"], "money"
    if span:
        return Bound(
            attribute=attribute,
            dimension=dimension,
            low=number(span["number"]) * factor,
            high=value * factor,
            inclusive=True,
        )
    inclusive = bool(_INCLUSIVE.search(match["upper"] or match["lower"]))
    low, high = (float("-inf"), value * factor) if match["upper"] else (value * factor, float("inf"))
    return Bound(attribute=attribute, dimension=dimension, low=low, high=high, inclusive=inclusive)


def without_comparison(question: str) -> str:
    """Returns a question without its superlative and its limits, for finding the words that it is about."""
    for pattern in (_RANGE, _BOUND):
        question = pattern.sub(" ", question)
    if extreme := find_extreme(question):
        question = question.replace(extreme.words, " ")
    return _MONEY.sub(" ", question)
