"""The facts that state an attribute of a product."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from caslie_tools.backends.embedded.questions.aspects import covers, share
from caslie_tools.backends.embedded.questions.attributes import BY_NAME, Attribute
from caslie_tools.backends.embedded.questions.claims import contains_stem
from caslie_tools.backends.embedded.questions.facts import (
    TEXT_FIELDS,
    Fact,
    Found,
    ProductFacts,
    bare_number,
    has_digits,
    is_guess,
    said,
)
from caslie_tools.backends.embedded.questions.languages import WHOLE, subject_words, tokens
from caslie_tools.backends.embedded.words import colour_words, stem

_SUBJECT: Final = re.compile(r"(?:The|Its|Der|Die|Das|Le|La|Les|El|Los|Las) ([^\W\d_]+)\b")
_FOR_OTHERS: Final = re.compile(r"\b(?:for|für|pour|para|för)\b[^,;]*$", re.IGNORECASE)
_CHARGING: Final = re.compile(r"\bcharg\w+ (?:[^\s,]+ ){0,4}in \d", re.IGNORECASE)
"""The time that charging takes, which is not how long a charge lasts."""
_LENGTHS: Final = ("length", "width", "height", "depth", "diameter", "thickness")


def stated(
    attribute: Attribute, product: ProductFacts, *, words: Sequence[str] = (), unit: str = "", batteries: bool = False
) -> Iterator[Found]:
    """Yields the facts that state an attribute: first fields, then printed lines, then sentences.

    Args:
        attribute: The attribute.
        product: The facts of the product.
        words: Words that a fact must contain.
        unit: The dimension that a quantity must have, or empty for any of the attribute's dimensions.
        batteries: Whether the capacity of a battery is meant.
    """
    if attribute.name == "colour":
        yield from colour_facts(product, words)
        return
    if attribute.name in ("brand", "name"):
        yield from _names(attribute, product)
        return
    dimensions = frozenset({unit}) & attribute.dimensions or attribute.dimensions
    if batteries:
        dimensions = frozenset({"charge", "energy"})
        words = [word for word in words if not re.match(r"batter|akku|accu|batería", word)]
    if attribute.name == "washing temperature":
        words = [word for word in words if not cue_in("care", word)]
    fields = [fact for fact in product.of("field", "sentence") if fact.field not in TEXT_FIELDS]
    named = sorted(
        (fact for fact in fields if _has_name(fact, attribute)), key=lambda fact: fact.attribute != attribute
    )
    for fact in named:
        if attribute.name == "care" and _only_about("storage", fact, but="care"):
            continue
        if (not attribute.dimensions or _measures(fact, dimensions)) and (not words or covers(fact, words)):
            yield Found(fact=fact, value=fact.value if fact.kind == "field" else said(fact))
    by_unit = attribute.dimensions - {"share"}
    for fact in fields:
        short = fact.kind == "field" and len(fact.citation.quote.split()) <= 4
        measured = any(quantity.dimension in dimensions for quantity in fact.quantities)
        if measured and by_unit and short and fact not in named and fact.attribute in (None, attribute) and not words:
            yield Found(fact=fact, value=said(fact, _quantity_text(fact, dimensions)))
    labels = product.of("label")
    for fact in labels:
        if (value := _printed_value(fact, attribute, dimensions)) and (not words or covers(fact, words)):
            yield Found(fact=fact, value=said(fact, value))
    if attribute.value is not None and not words and (whole := _across_lines(labels, attribute.value)):
        yield whole
    for fact in product.facts:
        if fact.kind not in ("sentence", "seen", "field") or is_guess(fact) or fact in named:
            continue
        if fact.field in ("category", "brand"):
            continue
        if (value := _sentence_value(fact, attribute, dimensions, words, product)) and _enough(fact, words):
            yield Found(fact=fact, value=said(fact, value))


def _has_name(fact: Fact, attribute: Attribute) -> bool:
    return fact.attribute == attribute or attribute.names(fact.field)


def _measures(fact: Fact, dimensions: frozenset[str]) -> bool:
    if any(quantity.dimension in dimensions for quantity in fact.quantities):
        return True
    return not fact.quantities and bare_number(fact.citation.quote) is not None


def _printed_value(fact: Fact, attribute: Attribute, dimensions: frozenset[str]) -> str:
    text = fact.citation.quote
    if attribute.value is not None and (match := attribute.value.search(text)):
        return match[0]
    if attribute.cue is not None and not attribute.dimensions and attribute.cue.search(text):
        return text
    return "" if _other_length(attribute, text) else _quantity_text(fact, dimensions)


def _sentence_value(
    fact: Fact, attribute: Attribute, dimensions: frozenset[str], words: Sequence[str], product: ProductFacts
) -> str:
    text = fact.citation.quote
    if not words and _about_a_part(text, product):
        return ""
    if attribute.value is not None and (match := attribute.value.search(text)):
        weak = attribute.name == "origin" and match[0].startswith(("from", "aus"))
        if not weak or words or any(contains_stem(word, text) for word in product.words):
            return match[0]
    if attribute.name == "washing temperature" and not cue_in("care", text):
        return ""
    cued = attribute.cue is not None and bool(attribute.cue.search(text))
    if not attribute.dimensions:
        return text if cued and attribute.value is None else ""
    found = _quantity_text(fact, dimensions)
    if not found or _other_length(attribute, text, cued=cued) or _CHARGING.search(text):
        return ""
    if cued or words or attribute.name == "washing temperature":
        return found
    if attribute.name == "length":
        return found if _measures_product(text, found, product) else ""
    specific = attribute.cue is None and not dimensions & {"volume", "mass", "time", "share", "temperature"}
    return found if specific and not _FOR_OTHERS.search(text[: text.find(found)]) else ""


def cue_in(name: str, text: str) -> bool:
    """Whether a text has a word that shows the attribute of a name."""
    cue = BY_NAME[name].cue
    return cue is not None and bool(cue.search(text))


def _only_about(name: str, fact: Fact, *, but: str) -> bool:
    return cue_in(name, fact.citation.quote) and not cue_in(but, fact.citation.quote)


def _about_a_part(text: str, product: ProductFacts) -> bool:
    """Whether a sentence begins with a part of the product: "The keycaps are made of PBT"."""
    match = _SUBJECT.match(text)
    if match is None:
        return False
    subject = match[1].lower()
    return stem(subject) not in WHOLE and not any(contains_stem(stem(subject), own) for own in product.words)


def _measures_product(text: str, quantity: str, product: ProductFacts) -> bool:
    """Whether the clause with a quantity names the product, or follows a clause that does: "Braided cable, 1.5 m"."""
    before, after = text.split(quantity, 1) if quantity in text else (text, "")
    clause = before.rsplit(",", 1)[-1] + quantity + after.split(",", 1)[0]
    if not subject_words(clause):
        clause = before
    return any(contains_stem(word, clause) for word in product.words)


def _other_length(attribute: Attribute, text: str, *, cued: bool = False) -> bool:
    """Whether a text names another length, such as the thickness where the width is asked for."""
    if attribute.name not in _LENGTHS or cued:
        return False
    cues = (BY_NAME[name].cue for name in _LENGTHS if name not in (attribute.name, "length"))
    return any(cue is not None and cue.search(text) for cue in cues)


def colour_facts(product: ProductFacts, words: Sequence[str]) -> Iterator[Found]:
    """Yields the facts that state a colour: first fields, then what the picture shows, then sentences.

    Args:
        product: The facts of the product.
        words: Words that a fact must contain, such as the name of a part.
    """
    for fact in product.of("field", "sentence"):
        if fact.attribute == BY_NAME["colour"] and covers(fact, words):
            yield Found(fact=fact, value=fact.value)
    about_whole = not words
    for fact in product.of("seen"):
        if colour_words(fact.citation.quote) and not is_guess(fact) and (about_whole or covers(fact, words)):
            yield Found(fact=fact, value=fact.value)
    for fact in product.facts:
        described = covers(fact, words) if words else fact.field == "title" and _is_adjective(fact)
        if described and fact.kind in ("sentence", "field") and colour_words(fact.citation.quote):
            yield Found(fact=fact, value=said(fact))


def _is_adjective(title: Fact) -> bool:
    """Whether a colour in a title describes the product, in contrast to a name such as Pink Lady."""
    words = re.findall(r"[^\W_]+|[,(/|-]", title.citation.quote)
    for index, word in enumerate(words):
        if colour_words(word):
            after = words[index + 1 : index + 2]
            return not after or after[0].islower() or words[index - 1 : index] in (["("], [","], ["-"], ["/"], ["|"])
    return False


def _names(attribute: Attribute, product: ProductFacts) -> Iterator[Found]:
    fields = [fact for fact in product.facts if fact.kind == "field" and attribute.names(fact.field)]
    yield from (Found(fact=fact, value=fact.value) for fact in fields)
    if fields:
        return
    labels = product.of("label")
    if product.title:  # a printed word that the title has too is a name
        titled = [fact for fact in labels if set(tokens(fact.citation.quote)) & set(tokens(product.title))]
        yield from (Found(fact=fact, value=fact.value) for fact in titled[:1])
    elif lines := [fact for fact in labels if not has_digits(fact)][:2]:
        yield Found(fact=lines[0], value=", ".join(fact.value for fact in lines))


def _across_lines(labels: Sequence[Fact], value: re.Pattern[str]) -> Found | None:
    """Finds a value that begins on one printed line and ends on the next, such as "PRODUCT OF" and "AUSTRIA"."""
    for first, second in pairwise(labels):
        joined = f"{first.citation.quote} {second.citation.quote}"
        if first.citation.image == second.citation.image and value.search(joined):
            return Found(fact=first, value=f'"{joined}"')
    return None


def _quantity_text(fact: Fact, dimensions: frozenset[str]) -> str:
    return next((quantity.text for quantity in fact.quantities if quantity.dimension in dimensions), "")


def _enough(fact: Fact, words: Sequence[str]) -> bool:
    return share(fact, words) >= (1.0 if len(words) <= 1 else 0.5)
