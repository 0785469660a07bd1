"""Hard facts in plain text: words that carry meaning, quantities, codes, colours, and what a question asks for.

Small tables instead of a model: numbers and units have to match exactly, which no embedding can promise.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from caslie_tools.backends.embedded.colours import COLOUR_NAMES

_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)?")

_STOP_WORDS: Final = frozenset(
    _WORD.findall(
        """a about all also am an and any are as at be been but by can could did do does each few
        for from get gets had has have he her here his how i if in into is it its just like made
        make makes many may me more most much must my need no not of off on one only or other our
        out over please product products she should show shows so some such tell than that the their
        them then there these they thing things this those to too us use used very want was we were
        what when where which who why will with would you your"""
    )
)

# Unit as written: dimension, and factor to its base unit (volume in ml, mass in g, length in mm, time in s ...).
_UNITS: Final[dict[str, tuple[str, float]]] = {
    "ml": ("volume", 1), "cl": ("volume", 10), "dl": ("volume", 100), "l": ("volume", 1000),
    "litre": ("volume", 1000), "liter": ("volume", 1000), "litres": ("volume", 1000), "liters": ("volume", 1000),
    "mg": ("mass", 0.001), "g": ("mass", 1), "gram": ("mass", 1), "grams": ("mass", 1), "kg": ("mass", 1000),
    "oz": ("mass", 28.35), "lb": ("mass", 453.6),
    "mm": ("length", 1), "cm": ("length", 10), "m": ("length", 1000), "metre": ("length", 1000),
    "metres": ("length", 1000), "meter": ("length", 1000), "meters": ("length", 1000), "inch": ("length", 25.4),
    "w": ("power", 1), "watt": ("power", 1), "watts": ("power", 1), "kw": ("power", 1000),
    "v": ("voltage", 1), "volt": ("voltage", 1), "volts": ("voltage", 1),
    "mah": ("charge", 1), "ah": ("charge", 1000), "wh": ("energy", 1), "kwh": ("energy", 1000),
    "kcal": ("nutrition", 1), "kj": ("nutrition", 0.239),
    "lumen": ("light", 1), "lumens": ("light", 1), "lm": ("light", 1), "lux": ("light", 1),
    "h": ("time", 3600), "hour": ("time", 3600), "hours": ("time", 3600), "min": ("time", 60), "minutes": ("time", 60),
    "s": ("time", 1), "days": ("time", 86400), "year": ("time", 31557600), "years": ("time", 31557600),
    "°c": ("temperature", 1), "°": ("temperature", 1), "degrees": ("temperature", 1), "°f": ("fahrenheit", 1),
    "%": ("share", 1), "percent": ("share", 1),
    "bags": ("count", 1), "pieces": ("count", 1), "pcs": ("count", 1), "pack": ("count", 1), "tablets": ("count", 1),
}  # fmt: skip

_QUANTITY: Final = re.compile(
    r"(?<![\w.,])(\d+(?:[.,]\d+)?)\s*(" + "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True)) + r")(?!\w)",
    re.IGNORECASE,
)
_CODES: Final = {
    "protection": re.compile(r"\bIP[X0-6][X0-9]K?\b"),
    "connector": re.compile(r"\b(?:USB(?:-[A-C])?|HDMI|RJ45|Lightning|[23]\.5 ?mm jack)\b", re.IGNORECASE),
}
"""Codes that answer a question: protection classes (IEC 60529) and connectors."""

_ORIGIN: Final = re.compile(
    r"\b(?:(?i:product of|made in|produced in|grown in|country of origin|imported from)\s|from [A-ZÅÄÖ][a-zåäö]+)"
)

_SHADES: Final = MappingProxyType(
    {
        "gray": "grey", "silver": "grey", "anthracite": "grey", "navy": "blue", "cyan": "turquoise",
        "teal": "turquoise", "violet": "purple", "lilac": "purple", "crimson": "red", "scarlet": "red",
        "burgundy": "red", "maroon": "red", "magenta": "pink",
        "khaki": "beige", "ivory": "white", "olive": "green", "golden": "yellow",
    }
)  # fmt: skip
"""Other names of colours, by the everyday name they go with."""

_ASKS: Final[tuple[tuple[str, frozenset[str]], ...]] = (
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
    (r"\b(?:what (?:is|does) (?:this|it|the picture)|what kind|what type|which (?:kind|type|category)|category)\b",
     frozenset({"kind"})),
    (r"\b(?:label|printed|written|says?|read|reads|text|brand|name)\b", frozenset({"text"})),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A number with its unit."""

    value: float
    """In the base unit of its dimension."""
    dimension: str
    text: str
    """As it was written."""

    def same(self, other: "Quantity") -> bool:
        """Whether both say the same, in whatever unit: 0.75 l is 750 ml, 500 ml is not."""
        close = abs(self.value - other.value) <= 1e-6 * max(abs(self.value), abs(other.value), 1e-12)
        return self.dimension == other.dimension and close


def quantities(text: str) -> tuple[Quantity, ...]:
    """Finds numbers with a unit."""
    found = []
    for match in _QUANTITY.finditer(text):
        dimension, factor = _UNITS[match[2].lower()]
        found.append(Quantity(value=float(match[1].replace(",", ".")) * factor, dimension=dimension, text=match[0]))
    return tuple(found)


def colour_words(text: str) -> frozenset[str]:
    """Finds the names of colours."""
    words = {_SHADES.get(word, word) for word in map(str.lower, _WORD.findall(text))}
    return frozenset(words & COLOUR_NAMES)


@lru_cache(maxsize=4096)
def stem(word: str) -> str:
    """Cuts English endings off, just enough for ``apples`` to meet ``apple`` and ``washing`` to meet ``wash``."""
    word = word.lower().removesuffix("'s").removesuffix("\u2019s")
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        if len(word) > len(ending) + 3 and word.endswith(ending):
            return word[: -len(ending)]
    return word


@lru_cache(maxsize=4096)
def content_words(text: str) -> frozenset[str]:
    """Returns the stems of the words that carry meaning, without numbers that belong to a quantity."""
    bare = _QUANTITY.sub(" ", text)
    return frozenset(stem(word) for word in _WORD.findall(bare) if word.lower() not in _STOP_WORDS and len(word) > 1)


def holds_word(word: str, words: Iterable[str]) -> bool:
    """Whether a stem is among others, also run together with a neighbour or misread by a letter.

    ``juice`` is held by ``applejuice``, ``apple`` by ``äpple``; short words have to be the same.
    """
    for other in words:
        if word == other:
            return True
        if len(word) >= 4 and (other.startswith(word) or other.endswith(word)):
            return True
        if min(len(word), len(other)) >= 5 and SequenceMatcher(None, word, other).ratio() >= 0.8:
            return True
    return False


def coverage(wanted: Iterable[str], text: str) -> float:
    """Returns the share of the wanted stems that a text holds; 0 if none are wanted."""
    wanted = list(wanted)
    present = content_words(text)
    return sum(holds_word(word, present) for word in wanted) / len(wanted) if wanted else 0.0


@lru_cache(maxsize=1024)
def asked_kinds(question: str) -> frozenset[str]:
    """Returns the kinds of thing a question asks for; empty if it does not say.

    A dimension of :class:`Quantity`, ``colour``, ``protection`` or ``connector`` (a code), ``origin``, ``kind``
    (what something is) or ``text`` (what is printed).
    """
    kinds = {quantity.dimension for quantity in quantities(question)}
    for pattern, asked in _ASKS:
        if re.search(pattern, question, re.IGNORECASE):
            kinds |= asked
    return frozenset(kinds)


def kinds_in(text: str, field: str = "") -> frozenset[str]:
    """Returns the kinds of thing a text holds, in the terms of :func:`asked_kinds`.

    Args:
        text: The text.
        field: The catalogue field it stands in, whose name may tell the unit of a bare number.
    """
    kinds = {quantity.dimension for quantity in quantities(text)}
    if colour_words(text):
        kinds.add("colour")
    kinds |= {kind for kind, pattern in _CODES.items() if pattern.search(text)}
    if _ORIGIN.search(text) or field in ("country", "origin"):
        kinds.add("origin")
    if text.strip().replace(".", "", 1).isdigit():
        # The first part of a name that is a unit: ``weight_g``, ``kcal_per_100g``.
        kinds |= {_UNITS[part][0] for part in field.lower().split("_") if part in _UNITS}
    if field == "price":
        kinds.add("money")
    if field in ("category", "title"):
        kinds.add("kind")
    return frozenset(kinds)


def contradicts(question: str, text: str) -> bool:
    """Whether a question names a quantity and the text names only others of its dimension: 750 ml is not 500 ml."""
    for asked in quantities(question):
        alike = [found for found in quantities(text) if found.dimension == asked.dimension]
        if alike and not any(asked.same(found) for found in alike):
            return True
    return False


_OPENERS: Final = re.compile(
    r"^\W*(?:what|which|who|how|when|where|why|is|are|does|do|did|can|could|will|would|has|have|should|may)\b",
    re.IGNORECASE,
)


def is_question(text: str) -> bool:
    """Whether a text asks something, rather than naming or praising a product."""
    return len(text) <= 500 and (text.rstrip().endswith("?") or (bool(_OPENERS.match(text)) and "." not in text))
