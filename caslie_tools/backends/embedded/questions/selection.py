"""Selects products: for "which bottle ...", "do you have ..." and "the cheapest ..."."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from caslie_tools.backends.embedded.questions.attribute_facts import colour_facts, stated
from caslie_tools.backends.embedded.questions.claim_answers import verdict_on
from caslie_tools.backends.embedded.questions.claims import Claim, contains_stem
from caslie_tools.backends.embedded.questions.facts import Fact, ProductFacts, is_guess
from caslie_tools.backends.embedded.questions.languages import WHOLE, is_function_word, subject_words, tokens
from caslie_tools.backends.embedded.questions.understanding import Question
from caslie_tools.backends.embedded.questions.values import Value, measured_value, named_value
from caslie_tools.backends.embedded.words import colour_words

_START: Final = re.compile(
    r"^\W*(?:(?:do|would|have) (?:you|we|they)|have you|is there|are there|(?:can|could) i (?:get|"
    r"buy)|i(?:'m| am) looking for|(?:haben|führen|verkaufen) sie|habt ihr|gibt es|"
    r"(?:est-ce que )?vous (?:avez|vendez)|avez[- ]vous|vendez[- ]vous|y a[- ]t[- ]il|tienen|"
    r"tenéis|venden|hay|har (?:ni|du)|säljer ni|finns det|which|what|"
    r"welche\w*|quel\w*|cuál\w*|qué|vilk\w+|show|list|find|name)\b\s*(?:me |us )?(?:have|sell|"
    r"stock|carry|offer|got)?\s*(?:any|some|an?|the|all|eine?n?|des|une?|un|unos|algún|någon|en|"
    r"ett)?\b",
    re.IGNORECASE,
)
_PREPOSITION: Final = re.compile(
    r"with|without|under|over|below|above|for|from|in|on|of|that|which|less|more|between|at|mit|ohne|unter|über|für|aus|avec|sans|pour|de|con|"
    r"sin|para|med|utan|för|från|över"
)
_ANY_PRODUCT: Final = re.compile(
    r"\W*(?:which|what|welche\w*|quel\w*|cuál\w*|qué|vilk\w+|show|list|find)\b(?: \w+)? "
    r"(?:products?|items?|articles?|ones?|produkte?\w*|artikel|"
    r"produits?|productos?|artículos?)\b",
    re.IGNORECASE,
)
_ATTRIBUTES_OF_WORDS: Final = ("origin", "material", "brand")


@dataclass(frozen=True, kw_only=True)
class Match:
    """A product that fits a question, and the facts that show it."""

    product: ProductFacts
    facts: tuple[Fact, ...]
    value: Value | None = None
    """The value that was compared."""


def kind_words(question: Question) -> tuple[str, ...]:
    """Returns the stems of the kind of product that a question names, the thing itself last. Empty for any product."""
    start = _START.match(question.text)
    if start is None:
        return ()
    found: list[str] = []
    for word in tokens(question.text[start.end() :]):
        own = subject_words(word)
        if (
            _PREPOSITION.fullmatch(word)
            or (found and not own)
            or (is_function_word(word) and question.form != "exists")
        ):
            break
        found += own
    return tuple(word for word in found if word in question.words)


def is_kind(word: str, product: ProductFacts) -> bool:
    """Whether a product is a thing of this name, and not one that is made of it or for it: apple juice is juice."""
    if any(contains_stem(word, kind) for kind in product.kinds):
        return True
    title = [own for own in subject_words(product.title) if not any(letter.isdigit() for letter in own)]
    if not any(contains_stem(word, own) for own in title):
        return False
    # If the category repeats the thing, another word of the title only describes it.
    return contains_stem(word, title[-1]) or not any(
        contains_stem(kind, own) for kind in product.kinds for own in title
    )


def asks_for_products(question: Question, products: Sequence[ProductFacts]) -> bool:
    """Whether a question that selects something selects products, in contrast to "which country is it from?"."""
    if question.form == "exists":
        return True
    if kind := kind_words(question):
        return any(is_kind(kind[-1], product) for product in products)
    return question.extreme is not None or bool(_ANY_PRODUCT.match(question.text))


def select(question: Question, products: Sequence[ProductFacts]) -> list[Match]:
    """Returns the products that fit a question, the best first. A superlative leaves only the best."""
    kind = kind_words(question)
    candidates = [product for product in products if not kind or is_kind(kind[-1], product)]
    if question.extreme is not None and re.search(r"\b(?:or|oder|ou|eller)\b", question.text):
        return _extreme(question, _named(question, candidates), ())
    compared = _compared_words(question, candidates)
    matches = [match for product in candidates if (match := _match(question, product, skip=(*kind[-1:], *compared)))]
    return matches if question.extreme is None else _extreme(question, [match.product for match in matches], compared)


def _match(question: Question, product: ProductFacts, *, skip: Sequence[str]) -> Match | None:
    facts: list[Fact] = []
    value = None
    if question.bound is not None:
        value = measured_value(question.bound.attribute, product, dimension=question.bound.dimension)
        if value is None or not question.bound.holds(value.number):
            return None
        facts.append(value.fact)
    for asked in question.quantities:
        stating = [
            fact for fact in product.facts if not is_guess(fact) and any(asked.same(own) for own in fact.quantities)
        ]
        if not stating:
            return None
        facts.append(stating[0])
    if question.colours:
        shown = next((found.fact for found in colour_facts(product, ())), None)
        if shown is None or not question.colours <= colour_words(shown.citation.quote):
            return None
        facts.append(shown)
    if question.absent:
        verdict, fact = verdict_on(Claim(absent=question.absent), product)
        if verdict != "yes" or fact is None:
            return None
        facts.append(fact)
    for word in question.words:
        if (
            word in skip
            or word in WHOLE
            or colour_words(word)
            or any(contains_stem(word, own) for own in product.words)
        ):
            continue
        fact = _stating(word, question, product)
        if fact is None:
            return None
        facts.append(fact)
    return Match(product=product, facts=tuple(dict.fromkeys(facts)), value=value)


def _stating(word: str, question: Question, product: ProductFacts) -> Fact | None:
    """Returns a fact that states a word of the product, of the attribute in question if it is one of words."""
    attribute = question.attribute
    if attribute is not None and attribute.name in _ATTRIBUTES_OF_WORDS:
        for found in stated(attribute, product):
            if contains_stem(word, found.fact.citation.quote, printed=found.fact.kind == "label"):
                return found.fact
        return None
    verdict, fact = verdict_on(Claim(words=(word,)), product)
    return fact if verdict == "yes" else None


def _named(question: Question, products: Sequence[ProductFacts]) -> list[ProductFacts]:
    """Returns the products that a question names: those with the most of its words."""
    counts = [
        sum(any(contains_stem(word, own) for own in product.words) for word in question.words) for product in products
    ]
    most = max(counts, default=0)
    return [product for product, count in zip(products, counts, strict=True) if count == most and most > 0]


def _compared_words(question: Question, products: Sequence[ProductFacts]) -> tuple[str, ...]:
    """Returns the words of a superlative that name a column: protein in "the most protein"."""
    if question.extreme is None or question.extreme.attributes:
        return ()
    words = (question.amount_of, *question.words) if question.amount_of else question.words
    return tuple(word for word in words if any(named_value([word], product) for product in products))


def _extreme(question: Question, products: Sequence[ProductFacts], compared: Sequence[str]) -> list[Match]:
    extreme = question.extreme
    assert extreme is not None  # noqa: S101 (for the type checker)
    for attribute in extreme.attributes or (None,):
        valued = []
        for product in products:
            value = named_value(compared, product) if attribute is None else measured_value(attribute, product)
            if value is not None:
                valued.append((value, product))
        units = Counter(value.unit for value, _ in valued)
        unit, count = units.most_common(1)[0] if units else ("", 0)
        if count < 2:  # one value alone is no comparison
            continue
        valued = [(value, product) for value, product in valued if value.unit == unit]
        best = (max if extreme.largest else min)(value.number for value, _ in valued)
        return [
            Match(product=product, facts=(value.fact,), value=value)
            for value, product in valued
            if value.number == best
        ]
    return []
