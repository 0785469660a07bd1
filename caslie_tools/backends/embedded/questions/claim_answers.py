"""Answers yes/no questions: yes if the claim is stated of the product, no if its contrary is stated, else nothing."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

from caslie_tools.backends.embedded.questions.aspects import is_foreign
from caslie_tools.backends.embedded.questions.attribute_facts import colour_facts
from caslie_tools.backends.embedded.questions.attributes import BY_NAME, column_words
from caslie_tools.backends.embedded.questions.claims import Claim, Stated, contains_stem, is_spelled, stated
from caslie_tools.backends.embedded.questions.facts import Fact, ProductFacts, is_guess
from caslie_tools.backends.embedded.questions.languages import WHOLE, subject_words
from caslie_tools.backends.embedded.questions.understanding import Question
from caslie_tools.backends.embedded.questions.values import measured_value
from caslie_tools.backends.embedded.words import colour_words
from caslie_tools.domain import Citation

Verdict: TypeAlias = tuple[Stated, Fact | None]
"""What the facts of a product say about a claim, and the fact that says it."""

_INCLUDED: Final = re.compile(
    r"\b(?:includ\w+|comes? with|delivered with|supplied with|contains?|in the box|inklusive|"
    r"enthalten|inkl|fourni\w*|inclu\w+|"
    r"medföljer|ingår)\b",
    re.IGNORECASE,
)
_CONTAINS: Final = re.compile(
    r"\b(?:contain|have|has|made (?:with|of|from)|enthält|enthalten|hat|contient|a-t-\w+|tiene|"
    r"contiene|innehåller|har|in it)\b",
    re.I,
)
_SUGGESTS: Final = re.compile(
    r"\b(?:serve[ds]?|goes|eat|eaten|drink|mix|enjoy\w*|combine[ds]?|pairs?|add|use[ds]?|suit\w*|"
    r"perfect|great|good|fits?|ideal|best)\b.*\b(?:with|to|for|as|in)\b|"
    r"\b(?:schmeckt|passt|servieren|mischen|se marie|servir|mélanger|mezclar|passar|servera)\b",
    re.IGNORECASE,
)
"""A sentence that suggests what to use a product with, which it does not contain."""
_TRUE: Final = frozenset({"yes", "true", "1", "ja", "oui", "sí", "si"})
_FALSE: Final = frozenset({"no", "false", "0", "nein", "non", "nej"})
_WATERPROOF: Final = "waterproof"


def answer_claim(question: Question, product: ProductFacts) -> Verdict:
    """Returns what the facts of a product say about the claim of a question."""
    if question.bound is not None:
        return _within(question, product)
    if question.colours:
        return _coloured(question, product)
    words = tuple(word for word in question.words if word not in WHOLE and not _of_product(word, product))
    if is_foreign(question, product):  # there, a single other word is the product itself
        claimed = tuple(word for word in words if is_spelled(word))
        if (claimed or question.absent) and len(words) - len(claimed) == 1:
            words = claimed
    if any(quantity.dimension == "share" for quantity in question.quantities):
        words = question.words  # "100% wool" is not stated by 100% of something else
    claim = Claim(words=words, absent=question.absent, quantities=question.quantities)
    if claim.empty:
        named = tuple(word for word in question.words if word not in WHOLE)
        names = [fact for fact in product.facts if fact.citation.quote == product.title or fact.field == "category"]
        return verdict_on(Claim(words=named), product, facts=names) if named else ("nothing", None)
    contained = bool(_CONTAINS.search(question.text))
    return verdict_on(claim, product, included=question.inclusion, contained=contained)


def verdict_on(
    claim: Claim,
    product: ProductFacts,
    *,
    facts: Sequence[Fact] | None = None,
    included: bool = False,
    contained: bool = False,
) -> Verdict:
    """Returns what the facts of a product say about a claim. Facts that contradict each other say nothing.

    Args:
        claim: The claim.
        product: The facts of the product.
        facts: Only these facts count. By default, all.
        included: Whether only a statement about what is included counts.
        contained: Whether a suggestion, such as what to serve it with, does not count.
    """
    found: dict[Stated, Fact] = {}
    for fact in _with_joined_lines(product.facts if facts is None else facts):
        if is_guess(fact) or (included and not _INCLUDED.search(fact.citation.quote)):
            continue
        if contained and fact.kind == "sentence" and _SUGGESTS.search(fact.citation.quote):
            continue
        if fact.field == "category":  # only the last part of a path says what a product is
            fact = Fact(kind="field", citation=fact.citation.model_copy(update={"quote": product.kind}))
        verdict = _in_column(claim, fact)
        if verdict == "nothing":
            verdict = _in_text(claim, fact)
        found.setdefault(verdict, fact)
    if "yes" in found and "no" in found:
        return "nothing", None
    for verdict in ("yes", "no", "perhaps"):
        if verdict in found:
            return verdict, found[verdict]
    return "nothing", None


def _in_text(claim: Claim, fact: Fact) -> Stated:
    text = fact.citation.quote
    parts = [text]
    if any(quantity.dimension == "share" for quantity in claim.quantities):  # each share has its own thing
        parts = re.split(r"[,;|] ?", text)
    verdicts = [stated(claim, part, printed=fact.kind == "label") for part in parts]
    return next((verdict for verdict in verdicts if verdict != "nothing"), "nothing")


def answer_choice(question: Question, product: ProductFacts) -> Fact | None:
    """Returns the fact that states exactly one of the alternatives of a question such as "is it wired or wireless?"."""
    before, after = re.split(r"\b(?:or|oder|ou|o|eller)\b", question.text, maxsplit=1)
    facts = []
    for words in (subject_words(before)[-1:], subject_words(after)[:1]):
        if not words:
            return None
        if colours := colour_words(" ".join(words)):
            shown = next(colour_facts(product, ()), None)
            if shown is not None and colours <= colour_words(shown.fact.citation.quote):
                facts.append(shown.fact)
            continue
        verdict, fact = verdict_on(Claim(words=words), product)
        if verdict == "yes" and fact is not None:
            facts.append(fact)
    return facts[0] if len(facts) == 1 else None


def protection_class(question: Question, product: ProductFacts) -> Fact | None:
    """Returns the fact with the protection class, which answers whether a product is waterproof without a yes."""
    if not any(contains_stem(_WATERPROOF, word) for word in question.words):
        return None
    pattern = BY_NAME["protection class"].value
    return next((fact for fact in product.facts if pattern is not None and pattern.search(fact.citation.quote)), None)


def _within(question: Question, product: ProductFacts) -> Verdict:
    assert question.bound is not None  # noqa: S101 (for the type checker)
    value = measured_value(question.bound.attribute, product, dimension=question.bound.dimension)
    if value is None:
        return "nothing", None
    return ("yes" if question.bound.holds(value.number) else "no"), value.fact


def _coloured(question: Question, product: ProductFacts) -> Verdict:
    words = [
        word
        for word in question.words
        if not colour_words(word) and word not in WHOLE and not _of_product(word, product)
    ]
    for found in colour_facts(product, words):
        if question.colours & colour_words(found.fact.citation.quote):
            return "yes", found.fact
        if found.fact.field != "title":  # a colour in a title need not be the only one
            return "no", found.fact
    return "nothing", None


def _of_product(word: str, product: ProductFacts) -> bool:
    return any(contains_stem(word, own) for own in product.words)


def _in_column(claim: Claim, fact: Fact) -> Stated:
    """Reads a column that is named after the claim, such as ``vegan: yes``."""
    if fact.kind != "field" or claim.absent or not claim.words:
        return "nothing"
    if not all(any(contains_stem(word, part) for part in column_words(fact.field)) for word in claim.words):
        return "nothing"
    value = fact.citation.quote.strip().lower()
    return "yes" if value in _TRUE else "no" if value in _FALSE else "nothing"


def _with_joined_lines(facts: Sequence[Fact]) -> Iterator[Fact]:
    """Yields facts, and printed lines that follow each other as one: "CAFFEINE" and "FREE"."""
    yield from facts
    labels = [fact for fact in facts if fact.kind == "label"]
    yield from _pairs(labels)


def _pairs(labels: Sequence[Fact]) -> Iterable[Fact]:
    for first, second in pairwise(labels):
        if first.citation.image == second.citation.image:
            joined = f"{first.citation.quote} {second.citation.quote}"
            citation: Citation = first.citation.model_copy(update={"quote": joined})
            yield Fact(kind="label", citation=citation)
