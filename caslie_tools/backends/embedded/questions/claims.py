"""Claims such as vegan, waterproof or gluten free: whether a text states one, states its contrary, or says nothing.

A claim is stated only by its own words or an accepted spelling of it. A related word is no evidence: a vegetarian
product need not be vegan.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final, Literal, TypeAlias

from caslie_tools.backends.embedded.quantities import Quantity, quantities
from caslie_tools.backends.embedded.questions.languages import NEGATORS, is_function_word, tokens
from caslie_tools.backends.embedded.words import stem

Stated: TypeAlias = Literal["yes", "no", "perhaps", "unclear", "nothing"]
"""What a text says about a claim. ``perhaps``: it says that the claim may hold, such as "may contain nuts"."""

_SPELLINGS: Final = (
    r"vegan\w*|végan\w*|végétalien\w*",
    r"vegetari\w+|végétari\w+|vegetarisk\w*",
    r"organic\w*|ecologic\w+|bio|biologi\w+|ökologi\w+|öko|eko|ekologi\w+|écologi\w+|ecológic\w+|orgánic\w+",
    r"water[- ]?proof|wasserdicht\w*|étanche\w*|imperméable\w*|impermeable\w*|vattentät\w*",
    r"decaf\w*|entkoffeiniert\w*|décaféiné\w*|descafeinad\w+|caffeine[- ]free|koffeinfrei\w*|koffeinfri\w*",
    r"dish[- ]?washer|spülmaschine\w*|lave-vaisselle|lavavajillas|diskmaskin\w*",
    r"micro[- ]?wave\w*|mikrowelle\w*|micro-ondes|microondas|mikrovåg\w*",
    r"wireless\w*|cordless|kabellos\w*|sans[- ]fil|inalámbric\w+|trådlös\w*",
    r"recyclable\w*|recycelbar\w*|reciclable\w*|återvinningsbar\w*",
    r"rechargeable\w*|wiederaufladbar\w*|recargable\w*|uppladdningsbar\w*",
)
"""Spellings of the same claim, in several languages."""

_SUBSTANCES: Final = (
    r"sugars?|zucker|sucres?|azúcar(?:es)?|socker",
    r"lactose|laktose|lactosa|laktos",
    r"caffeine|koffein|caféine|cafeína",
    r"alcohol|alkohol|alcool",
    r"fat|fett|grasas?|graisses?",
    r"salt|salz|sel|sal",
    r"milk|milch|lait|leche|mjölk",
    r"fragrances?|perfumes?|parfum|duft\w*|perfume",
    r"solvents?|lösemittel|lösungsmittel|solvants?|disolventes?|lösningsmedel",
)
"""Spellings of substances that a product may be free from."""

_WITHOUT: Final = r"without|no|zero|0 ?%|sans|ohne|sin|utan|kein|keine|keinen"
_FREE_OF: Final = r"free (?:of|from)|frei von|fri från|exempt de|libre de"
_WITH: Final = r"contains?|containing|enthält|contient|contiene|innehåller|with|mit|avec|con|med"
_LIST: Final = r"(?:[\w-]+,? (?:and |or |und |oder |et |ou |y |o |och |eller )?){0,3}"
_ABSENCE: Final = re.compile(
    rf"\b(?P<free>[^\W\d_]+)[- ]free\b|\b(?:{_FREE_OF}|without|ohne|sans|sin|utan) (?P<of>[^\W\d_]+)"
    r"|\b(?P<frei>[^\W\d_]{3,}?)(?:frei|fri|fritt|fria)\b",
    re.IGNORECASE,
)
_CLAUSE: Final = re.compile(r"[.;,:!?()]+\s|\n")
_HEDGE: Final = re.compile(
    r"\b(?:may|might|traces?|spuren|kann|können|peut|peuvent|puede|pueden|trazas|kan|spår|"
    r"optional\w*|partly|partially)\b",
    re.IGNORECASE,
)
_MISREAD: Final = 0.85


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a product is asked to be: words that a text must state, or a substance that it must be free from."""

    words: tuple[str, ...] = ()
    """Stems that the same text must contain."""
    absent: str = ""
    """A pattern of the substance that the product must not contain."""
    quantities: tuple[Quantity, ...] = ()
    """Quantities that the same text must contain."""

    @property
    def empty(self) -> bool:
        """Whether nothing is claimed."""
        return not (self.words or self.absent or self.quantities)


def parse_absence(question: str) -> tuple[str, str]:
    """Returns the pattern of a substance that a question wants a product to be free from, and the question without it.

    Both are empty and unchanged if the question asks for no such thing.
    """
    for match in _ABSENCE.finditer(question):
        word = match["free"] or match["of"] or match["frei"]
        if is_function_word(word.lower()):
            continue
        return substance(word), f"{question[: match.start()]} {question[match.end() :]}"
    return "", question


def is_spelled(word: str) -> bool:
    """Whether a word is a claim with listed spellings, so that it is found in texts of other languages."""
    return any(re.fullmatch(spellings, word, re.IGNORECASE) for spellings in _SPELLINGS)


def substance(word: str) -> str:
    """Returns a pattern of a substance in all listed spellings."""
    for spellings in _SUBSTANCES:
        if re.fullmatch(spellings, word, re.IGNORECASE):
            return spellings
    return re.escape(word)


def stated(claim: Claim, text: str, *, printed: bool = False) -> Stated:
    """Returns what a text says about a claim.

    Args:
        claim: The claim.
        text: A sentence, a value or a printed line.
        printed: Whether the text was read from a picture, so that a letter may be wrong.
    """
    found: list[Stated] = []
    if claim.absent:
        found.append(_absence(claim.absent, text))
    if claim.words:
        found.append(_words(claim.words, text, printed=printed))
    if claim.quantities:
        own = quantities(text)
        found.append("yes" if all(any(asked.same(other) for other in own) for asked in claim.quantities) else "nothing")
    for verdict in ("nothing", "unclear", "no"):
        if verdict in found:
            return verdict
    if not found:
        return "nothing"
    return "perhaps" if _HEDGE.search(text) else "yes"


def contains_stem(word: str, text: str, *, printed: bool = False, in_compounds: bool = False) -> bool:
    """Whether a text contains a word or an accepted spelling of it.

    Args:
        word: The stem of the word.
        text: The text.
        printed: Whether the text was read from a picture, so that a letter may be wrong.
        in_compounds: Whether the word may begin a longer one, as in ``Kabellänge``.
    """
    own = tokens(text)
    if in_compounds and len(word) >= 5 and any(other.startswith(word) for other in own):
        return True
    return _position(word, text, own, printed=printed) is not None


def _absence(pattern: str, text: str) -> Stated:
    absent = (
        rf"\b(?:{pattern})[- ]?free\b|\b(?:{_FREE_OF}) {_LIST}(?:{pattern})\b|\b(?:{_WITHOUT}) (?:{pattern})\b"
        rf"|\b(?:{pattern})(?:frei|fri)\w{{0,2}}\b"
    )
    if re.search(absent, text, re.IGNORECASE):
        return "yes"
    if re.search(rf"\b(?:{_WITH}) {_LIST}(?:{pattern})\b", text, re.IGNORECASE):
        return "no"
    return "nothing"


def _words(words: Sequence[str], text: str, *, printed: bool) -> Stated:
    verdict: Stated = "nothing"
    for clause in _CLAUSE.split(text):
        own = tokens(clause)
        positions = [_position(word, clause, own, printed=printed) for word in words]
        if any(position is None for position in positions):
            continue
        found = _polarity([position for position in positions if position is not None], own)
        if found != "unclear":
            return found
        verdict = "unclear"
    if verdict == "nothing" and len(words) > 1:
        # The words may be in several clauses of one sentence.
        own = tokens(text)
        positions = [_position(word, text, own, printed=printed) for word in words]
        if all(position is not None for position in positions):
            return "unclear" if NEGATORS & set(own) else "yes"
    return verdict


def _polarity(positions: Sequence[int], own: Sequence[str]) -> Stated:
    first, last = min(positions), max(positions)
    if last + 1 < len(own) and own[last + 1] == "free":
        return "no"
    for back, word in enumerate(reversed(own[:first])):
        if word in NEGATORS:
            between = own[first - back : first]
            return "no" if all(map(is_function_word, between)) else "unclear"
    return "unclear" if NEGATORS & set(own[first : last + 1]) else "yes"


def _position(word: str, text: str, own: Sequence[str], *, printed: bool) -> int | None:
    """Returns the index of the first token that is a word or a spelling of it, or ``None``."""
    for spellings in _SPELLINGS:
        if re.fullmatch(spellings, word, re.IGNORECASE):
            match = re.search(rf"\b(?:{spellings})\b", text, re.IGNORECASE)
            return None if match is None else len(tokens(text[: match.start()]))
    for index, other in enumerate(own):
        if _same(word, stem(other), printed=printed):
            return index
        # "water proof" and "waterproof"
        if index + 1 < len(own) and len(word) > 5 and stem(other + own[index + 1]) == word:
            return index
    return None


def _same(word: str, other: str, *, printed: bool) -> bool:
    if word == other:
        return True
    short, long = sorted((word, other), key=len)
    if len(short) >= 5 and long.startswith(short) and len(long) - len(short) <= 2:  # a plural or an ending
        return True
    # The last part of a compound is the thing itself: a padlock is a lock.
    if len(word) >= 4 and len(other) - len(word) >= 3 and other.endswith(word):
        return True
    return printed and len(short) >= 6 and SequenceMatcher(None, word, other).ratio() >= _MISREAD
