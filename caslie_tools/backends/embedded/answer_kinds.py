"""Kinds of answers: which kinds a question expects, and which kinds a text contains.

Question answering literature calls these expected answer types. A kind is one of:

- a dimension of a :class:`~caslie_tools.backends.embedded.quantities.Quantity`, such as ``volume``, or ``money``;
- ``colour``, ``origin``, ``protection`` (a protection class) or ``connector``;
- ``kind`` (the kind of thing that the product is) or ``text`` (the text printed on it).
"""

import re
from functools import lru_cache
from typing import Final

from caslie_tools.backends.embedded.quantities import UNIT_DIMENSIONS, quantities
from caslie_tools.backends.embedded.questions.understanding import understand
from caslie_tools.backends.embedded.words import colour_words

_CODES: Final = {
    "protection": re.compile(r"\bIP[X0-6][X0-9]K?\b"),
    "connector": re.compile(r"\b(?:USB(?:-[A-C])?|HDMI|RJ45|Lightning|[23]\.5 ?mm jack)\b", re.IGNORECASE),
}
"""Protection classes (IEC 60529) and connectors."""

_ORIGIN: Final = re.compile(
    r"\b(?:(?i:product of|made in|produced in|grown in|country of origin|imported from)\s|from [A-ZÅÄÖ][a-zåäö]+)"
)

_EXPECTED_KINDS: Final[tuple[tuple[str, frozenset[str]], ...]] = (
    (r"\bhow much\b(?!.*\b(?:costs?|money|price|weighs?|power)\b)", frozenset({"volume", "mass"})),
    (r"\bhow (?:much|many) (?:litres?|liters?|ml|water|liquid)\b|\b(?:volume|capacity|hold|holds|contents?)\b",
     frozenset({"volume", "charge"})),
    (r"\bhow heavy\b|\b(?:weight|weighs?|heavy|mass|grams?)\b", frozenset({"mass"})),
    (r"\bhow (?:long|wide|tall|high|big|large|deep|thick)\b|\b(?:length|diameter|width|height|size|dimensions?)\b",
     frozenset({"length", "volume", "time"})),
    (r"\b(?:watts?|wattage|power|powerful)\b", frozenset({"power"})),
    (r"\b(?:volts?|voltage)\b", frozenset({"voltage"})),
    (r"\b(?:mah|battery capacity|charge does|capacity)\b", frozenset({"charge", "energy", "volume"})),
    (r"\b(?:bright|brightness|brighter|lumens?|lux)\b", frozenset({"light"})),
    (r"\bhow (?:long|many hours|many minutes)\b|\b(?:battery life|duration)\b", frozenset({"time"})),
    (r"\b(?:temperature|how hot|degrees|wash|washed|washing)\b", frozenset({"temperature"})),
    (r"\b(?:fat|percent|percentage|concentration)\b", frozenset({"share"})),
    (r"\b(?:calories|kcal|energy)\b", frozenset({"nutrition", "energy"})),
    (r"\bhow many (?:bags|pieces|tablets|sachets|items)\b", frozenset({"count"})),
    (r"\b(?:price|cost|costs|expensive|cheap)\b", frozenset({"money"})),
    (r"\b(?:warranty|guarantee|guaranteed)\b", frozenset({"time"})),
    (r"\b(?:colou?rs?|coloured|colored|shades?)\b", frozenset({"colour"})),
    (r"\b(?:waterproof|water-?resistant|dust-?proof|splash-?proof|sweat-?proof|ip ?rating|protection class|rain)\b",
     frozenset({"protection"})),
    (r"\bwhere\b.*\b(?:from|made|grown|produced)\b|\b(?:origin|country)\b", frozenset({"origin"})),
    (r"\b(?:plug|connector|port|socket|usb)\b", frozenset({"connector"})),
    (r"\b(?:what (?:is|does) (?:this|it|the picture)|(?:what|which) (?:kind|type|sort|style|model)|category)\b",
     frozenset({"kind"})),
    (r"\b(?:label|printed|written|says?|read|reads|text|brand|name)\b", frozenset({"text"})),
)  # fmt: skip
"""From a pattern of a question to the kinds of answers that it expects."""

_KINDS_OF_ATTRIBUTES: Final = {
    "brand": frozenset({"text"}),
    "name": frozenset({"text"}),
    "colour": frozenset({"colour"}),
    "origin": frozenset({"origin"}),
}
"""The kinds of attributes that are not measured."""

_QUESTION_START: Final = re.compile(
    r"^\W*(?:what|which|who|how|when|where|why|is|are|does|do|did|can|could|will|would|has|have|should|may)\b",
    re.IGNORECASE,
)


@lru_cache(maxsize=1024)
def expected_kinds(question: str) -> frozenset[str]:
    """Returns the kinds of answers that a question expects. The result is empty if the question does not show it."""
    kinds = {quantity.dimension for quantity in quantities(question)}
    for pattern, expected in _EXPECTED_KINDS:
        if re.search(pattern, question, re.IGNORECASE):
            kinds |= expected
    asked = understand(question)
    if asked.attribute is not None:
        kinds |= asked.attribute.dimensions | _KINDS_OF_ATTRIBUTES.get(asked.attribute.name, frozenset())
    if asked.form == "printed":
        kinds.add("text")
    return frozenset(kinds)


def kinds_in(text: str, field: str = "") -> frozenset[str]:
    """Returns the kinds of answers that a text contains.

    Args:
        text: The text.
        field: Name of the catalogue field that contains the text. It may give the unit of a bare number.
    """
    kinds = {quantity.dimension for quantity in quantities(text)}
    if colour_words(text):
        kinds.add("colour")
    kinds |= {kind for kind, pattern in _CODES.items() if pattern.search(text)}
    if _ORIGIN.search(text) or field in ("country", "origin"):
        kinds.add("origin")
    if text.strip().replace(".", "", 1).isdigit():
        # A part of the field name may be a unit: ``weight_g``, ``kcal_per_100g``.
        kinds |= {UNIT_DIMENSIONS[part] for part in field.lower().split("_") if part in UNIT_DIMENSIONS}
    if field == "price":
        kinds.add("money")
    if field in ("category", "title"):
        kinds.add("kind")
    return frozenset(kinds)


def is_question(text: str) -> bool:
    """Whether a text asks a question, in contrast to a product name, a search query or a review."""
    return len(text) <= 500 and (text.rstrip().endswith("?") or (bool(_QUESTION_START.match(text)) and "." not in text))
