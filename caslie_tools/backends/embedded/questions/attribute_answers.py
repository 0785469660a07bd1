"""Finds what states an attribute of a product, an amount of something, or anything else that is asked for by name."""

import re
from collections.abc import Sequence
from typing import Final

from caslie_tools.backends.embedded.questions.aspects import Aspects, is_foreign, share
from caslie_tools.backends.embedded.questions.attribute_facts import stated
from caslie_tools.backends.embedded.questions.attributes import BY_NAME, column_words
from caslie_tools.backends.embedded.questions.claims import contains_stem
from caslie_tools.backends.embedded.questions.facts import (
    TEXT_FIELDS,
    Fact,
    Found,
    ProductFacts,
    has_digits,
    is_guess,
    said,
    with_digits,
)
from caslie_tools.backends.embedded.questions.languages import PACKAGING, language_of
from caslie_tools.backends.embedded.questions.understanding import Question
from caslie_tools.backends.embedded.words import stem

_LIKE_COLUMN: Final = 0.6
"""Cosine from which the name of an unlisted column means what a question asks for."""
_MOST_WORDS: Final = 0.6
_WHOLE_PRODUCT: Final = frozenset({"price", "brand", "name", "origin", "guarantee"})
"""Attributes that a product has as a whole, so that an unknown word in another language can only mean the product."""
_ASKS_PERSON_OR_TIME: Final = re.compile(
    r"^\W*(?:who|whom|when|wer|wann|quand|qui|quién|cuándo|vem|när)\b", re.IGNORECASE
)
_ASKS_MANNER: Final = re.compile(r"^\W*(?:how|wie|comment|cómo|hur|where|wo|où|dónde|var)\b", re.IGNORECASE)
_COUNTED: Final = (
    ("capsule", "softgel", "gélule", "kapsel", "kapseln", "cápsula", "kapslar"),
    ("tablet", "tablette", "tabletten", "tablett", "comprimé", "comprimido", "tabletter"),
    ("piece", "pc", "stück", "stücke", "pièce", "pieza", "stycken"),
    ("bag", "beutel", "sachet", "bolsita", "påsar"),
)
"""Names of the same countable thing in several languages."""


class AttributeAnswers:
    """Finds attributes and amounts.

    Args:
        aspects: Finds the words that a fact must contain.
    """

    def __init__(self, aspects: Aspects) -> None:
        self.aspects = aspects

    def attribute(self, question: Question, product: ProductFacts) -> list[Found]:
        """Returns the facts that state the attribute of a question, the best first. Only the first is the answer."""
        attribute = question.attribute
        if attribute is None:
            return []
        words = self.aspects.of(question, product)
        if question.language != "en" and attribute.name in _WHOLE_PRODUCT:
            words = ()
        elif len(words) == 1 and attribute.dimensions and not PACKAGING & set(words):
            # A word in another language cannot be found in the texts. One such word is the product itself.
            words = () if is_foreign(question, product) else words
        return list(stated(attribute, product, words=words, unit=question.unit, batteries=_about_battery(question)))

    def amount(self, question: Question, product: ProductFacts) -> list[Found]:
        """Returns the facts that state how much or how many of something the product has."""
        noun = question.amount_of
        names = next((names for names in _COUNTED if noun in map(stem, names)), (noun,))
        others = [word for word in self.aspects.of(question, product) if word != noun]
        found = []
        for fact in product.facts:
            if fact.field in ("title", "category", "brand") or is_guess(fact) or not has_digits(fact):
                continue
            exact = fact.kind == "field" and {stem(name) for name in names} & column_words(fact.field)
            near = _next_to_number(fact.citation.quote, names)
            counted = (
                fact.kind in ("field", "label")
                and any(quantity.dimension == "count" for quantity in fact.quantities)
                and any(contains_stem(noun, own) for own in product.words)
            )
            if exact or near or counted:
                found.append((share(fact, others), Found(fact=fact, value=said(fact, near))))
        return [item for _, item in sorted(found, key=lambda pair: -pair[0])]

    def other(self, question: Question, product: ProductFacts) -> list[Found]:
        """Returns the facts that contain what an open question asks about."""
        words = self.aspects.of(question, product)
        if (
            not words
            or _ASKS_PERSON_OR_TIME.search(question.text)
            or (len(words) < 2 and _ASKS_MANNER.search(question.text))
        ):
            return []
        fields = [fact for fact in product.of("field") if fact.field not in TEXT_FIELDS]
        named = [fact for fact in fields if set(words) <= column_words(fact.field)]
        if named:
            return [Found(fact=fact, value=_with_name(fact)) for fact in named]
        needed = 1.0 if len(words) <= 2 else _MOST_WORDS
        facts = [fact for fact in product.facts if fact.field not in ("title", "category") and not is_guess(fact)]
        stating = sorted(
            (-share(fact, words), index) for index, fact in enumerate(facts) if share(fact, words) >= needed
        )
        if stating and _language_fits(question, facts[stating[0][1]]):
            return [
                Found(fact=facts[index], value=said(facts[index], _word_in(facts[index], words[0])))
                for _, index in stating
            ]
        return self._like_column(words, fields)

    def _like_column(self, words: Sequence[str], fields: Sequence[Fact]) -> list[Found]:
        names = [" ".join(sorted(column_words(fact.field))) for fact in fields]
        if not names:
            return []
        embeddings = self.aspects.embeddings
        cosines = embeddings.encode(names) @ embeddings.encode([" ".join(words)])[0]
        best = int(cosines.argmax())
        return [Found(fact=fields[best], value=_with_name(fields[best]))] if cosines[best] >= _LIKE_COLUMN else []


def _next_to_number(text: str, names: Sequence[str]) -> str:
    """Returns the part of a text in which a number counts or measures a thing, or an empty text."""
    wanted = {stem(name) for name in names}
    for part in re.split(r"(?<!\d)[,;|] ?", text):
        after = r"\d+(?:[.,]\d+)?(?: ?[^\W\d_]+| ?%){1,3}"
        before = r"[^\W\d_]+:? \d+(?:[.,]\d+)? ?(?:%|[^\W\d_]+)?"
        for match in (*re.finditer(after, with_digits(part)), *re.finditer(before, with_digits(part))):
            if any(contains_stem(word, match[0]) for word in wanted):
                return part if len(part.split()) <= 14 else match[0]
    return ""


def _word_in(fact: Fact, word: str) -> str:
    """Returns a word as a fact writes it, or an empty text."""
    spelled = (token for token in re.findall(r"[^\W_]+", fact.citation.quote) if contains_stem(word, token))
    return next(spelled, "")


def _about_battery(question: Question) -> bool:
    return question.attribute == BY_NAME["capacity"] and any(
        re.match(r"batter|akku|accu", word) for word in question.words
    )


def _language_fits(question: Question, fact: Fact) -> bool:
    return fact.kind != "sentence" or question.language == language_of(fact.citation.quote)


def _with_name(fact: Fact) -> str:
    return f"{fact.field.replace('_', ' ')} {fact.value}" if len(fact.value.split()) <= 2 else fact.value
