"""Words in plain text: content words, stems, colour words, and how many of some words a text contains."""

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from caslie_tools.backends.embedded.colours import COLOUR_NAMES
from caslie_tools.backends.embedded.quantities import without_quantities

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

_SHADES: Final = MappingProxyType(
    {
        "gray": "grey", "silver": "grey", "anthracite": "grey", "navy": "blue", "cyan": "turquoise",
        "teal": "turquoise", "violet": "purple", "lilac": "purple", "crimson": "red", "scarlet": "red",
        "burgundy": "red", "maroon": "red", "magenta": "pink",
        "khaki": "beige", "ivory": "white", "olive": "green", "golden": "yellow",
    }
)  # fmt: skip
"""From another name of a colour to the basic colour name."""


@lru_cache(maxsize=4096)
def stem(word: str) -> str:
    """Removes English endings, so that ``apples`` matches ``apple`` and ``washing`` matches ``wash``."""
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
    """Returns the stems of the content words of a text, without stop words and quantities."""
    words = _WORD.findall(without_quantities(text))
    return frozenset(stem(word) for word in words if word.lower() not in _STOP_WORDS and len(word) > 1)


def contains_word(word: str, words: Iterable[str]) -> bool:
    """Whether a stem occurs among other stems, also as part of a compound or with a misread letter.

    For example, ``juice`` occurs in ``applejuice``, and ``apple`` matches ``äpple``. Short words must be equal.
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
    """Returns the share of the wanted stems that a text contains, or 0 if there are no wanted stems."""
    wanted = list(wanted)
    present = content_words(text)
    return sum(contains_word(word, present) for word in wanted) / len(wanted) if wanted else 0.0


def colour_words(text: str) -> frozenset[str]:
    """Returns the basic colours named in a text. Other names of colours count as the basic colour."""
    words = {_SHADES.get(word, word) for word in map(str.lower, _WORD.findall(text))}
    return frozenset(words & COLOUR_NAMES)
