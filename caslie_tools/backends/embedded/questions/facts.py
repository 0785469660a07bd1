"""The facts that an answer can use: values of fields, sentences of texts, printed lines, and sentences of captions."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, TypeAlias

from caslie_tools.backends.embedded.quantities import UNIT_DIMENSIONS, Quantity, number, quantities
from caslie_tools.backends.embedded.questions.attributes import Attribute, attribute_of_column, column_words
from caslie_tools.backends.embedded.questions.languages import tokens
from caslie_tools.backends.embedded.words import content_words, stem
from caslie_tools.domain import Citation

FactKind: TypeAlias = Literal["field", "sentence", "label", "seen"]
"""A short value of a field, a sentence of a longer one, a printed line, or a sentence about what a picture shows."""

TEXT_FIELDS: Final = frozenset({"title", "category", "brand", "description"})
MAX_WORDS: Final = 24
"""Number of words that an answer quotes at most from one fact."""

_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+(?=[A-ZÀ-Ý0-9])")
_PRINTED: Final = re.compile(r"[\"\u201c\u201e\u00ab]([^\"\u201c\u201d\u00ab\u00bb]+)[\"\u201d\u00bb]")
_READS: Final = re.compile(
    r"\b(?:reads?|says?|text|printed|label\w*|written|words?|lettering|logo|brand\w*)\b", re.IGNORECASE
)
_GUESSED: Final = re.compile(r"^(?:It resembles|It may show|It shows) ")
_SHORT: Final = 12
_NUMBER_WORDS: Final = {
    word: str(value)
    for words in (
        "one two three four five six seven eight nine ten eleven twelve",
        "eine zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
        "une deux trois quatre cinq six sept huit neuf dix onze douze",
        "una dos tres cuatro cinco seis siete ocho nueve diez once doce",
        "en två tre fyra fem sex sju åtta nio tio elva tolv",
    )
    for value, word in enumerate(words.split(), start=1)
    if value > 1 or word == "one"
}
_CURRENCIES: Final = {"eur": "EUR", "usd": "USD", "gbp": "GBP", "chf": "CHF", "sek": "SEK", "nok": "NOK", "dkk": "DKK"}
_NAMES: Final = ("title", "name", "product_name", "titel", "bezeichnung", "nom", "nombre", "namn")
_KINDS: Final = frozenset(
    {"category", "section", "kategorie", "catégorie", "categoría", "kategori", "department", "type"}
)
_KIND_STEMS: Final = frozenset(map(stem, _KINDS))


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One thing that is stated of a product."""

    kind: FactKind
    citation: Citation

    @property
    def field(self) -> str:
        """The name of the field, or ``caption``."""
        return self.citation.field

    @property
    def value(self) -> str:
        """The text as an answer says it: a bare number has the unit of its column, printed text has quotation marks."""
        if self.kind == "label":
            return f'"{cut(self.citation.quote)}"'
        return with_unit(self.field, self.citation.quote) if self.kind == "field" else self.citation.quote

    @cached_property
    def quantities(self) -> tuple[Quantity, ...]:
        """The quantities of the text, also those with a number word such as "two years"."""
        if self.kind == "field" and (quantity := column_quantity(self.field, self.citation.quote)):
            return (quantity,)
        return quantities(with_digits(self.citation.quote))

    @cached_property
    def attribute(self) -> Attribute | None:
        """The attribute that the name of the field stands for."""
        return None if self.kind in ("label", "seen") else attribute_of_column(self.field)


@dataclass(frozen=True, kw_only=True)
class Found:
    """A fact and the part of it that an answer says."""

    fact: Fact
    value: str


@dataclass(frozen=True, kw_only=True)
class ProductFacts:
    """What is stated of one product."""

    index: int
    id: str
    title: str
    facts: tuple[Fact, ...]
    words: frozenset[str]
    """Stems of the product's name and kind."""
    kind: str
    """The last part of the category."""
    kinds: frozenset[str]
    """Stems of the category."""

    @property
    def name(self) -> str:
        """The name of the product in an answer."""
        return self.title or self.id or "the product"

    def of(self, *kinds: FactKind) -> list[Fact]:
        """Returns the facts of some kinds."""
        return [fact for fact in self.facts if fact.kind in kinds]


def product_facts(index: int, record: Mapping[str, object], sources: Sequence[Citation]) -> ProductFacts:
    """Collects the facts of a product.

    Args:
        index: Position of the product.
        record: The product's fields.
        sources: What an answer about the product can cite: its fields and its kept captions.
    """
    fields = {name.lower(): str(value) for name, value in record.items() if value not in (None, "")}
    title = next((fields[name] for name in _NAMES if name in fields), "")
    category = next((value for name, value in fields.items() if column_words(name) & _KIND_STEMS), "")
    leaf = re.split(r"\s*[>/|]\s*", category)[-1]
    brand = fields.get("brand", "")
    return ProductFacts(
        index=index,
        id=str(record.get("id") or ""),
        title=title,
        facts=tuple(fact for source in sources for fact in _facts(source)),
        words=content_words(title) | content_words(category) | content_words(brand),
        kind=leaf,
        kinds=content_words(category),
    )


def _facts(source: Citation) -> Iterable[Fact]:
    if source.image is not None or source.field == "caption":
        yield from _of_caption(source)
        return
    text = _plain(source.quote)
    sentences = _SENTENCE_END.split(text)
    if len(sentences) == 1 and len(text.split()) <= _SHORT and source.field != "description":
        yield Fact(kind="field", citation=source.model_copy(update={"quote": text}))
        return
    for sentence in sentences:
        if sentence:
            yield Fact(kind="sentence", citation=source.model_copy(update={"quote": sentence}))


def _of_caption(source: Citation) -> Iterable[Fact]:
    for sentence in _SENTENCE_END.split(_plain(source.quote)):
        lines = _PRINTED.findall(sentence) if _READS.search(_PRINTED.sub(" ", sentence)) else []
        for line in lines:
            yield Fact(kind="label", citation=source.model_copy(update={"quote": line.strip()}))
        if not lines and sentence and sentence != "No text seen.":
            yield Fact(kind="seen", citation=source.model_copy(update={"quote": sentence}))


def is_guess(fact: Fact) -> bool:
    """Whether a fact is a likeness that the captioner names, and no property of the product."""
    return fact.kind == "seen" and bool(_GUESSED.match(fact.citation.quote))


def column_quantity(column: str, value: str) -> Quantity | None:
    """Returns the quantity of a bare number in a column whose name has a unit, such as ``weight_g``."""
    unit = column_unit(column)
    if unit is None or not re.fullmatch(r"\d+(?:[.,]\d+)?", value.strip()):
        return None
    found = quantities(f"{value.strip()} {unit}")
    return found[0] if found else None


def column_unit(column: str) -> str | None:
    """Returns the unit in the name of a column. ``kcal_per_100g`` has the unit ``kcal``."""
    for part in re.split(r"[\W_]+", column.lower()):
        if part in UNIT_DIMENSIONS:
            return part
    return None


def with_unit(column: str, value: str) -> str:
    """Returns a value with the unit in the name of its column: ``320`` in ``weight_g`` is ``320 g``."""
    if not re.fullmatch(r"\d+(?:[.,]\d+)?", value.strip()):
        return value
    parts = re.split(r"[\W_]+", column.lower())
    currency = next((_CURRENCIES[part] for part in parts if part in _CURRENCIES), "")
    unit = currency or column_unit(column)
    if unit is None:
        return value
    if unit == "years" and value == "1":
        unit = "year"
    spelled = {"w": "W", "v": "V", "mah": "mAh", "wh": "Wh", "hz": "Hz", "nm": "Nm", "gb": "GB", "mb": "MB", "db": "dB"}
    after = re.search(r"(?:^|[\W_])per[\W_]?(.+)$", column, re.IGNORECASE)
    per = f" per {after[1].replace('_', ' ')}" if after else ""
    return f"{value} {spelled.get(unit, unit)}{re.sub(r'(?<=[0-9])(?=[a-z])', ' ', per)}"


def with_digits(text: str) -> str:
    """Returns a text with digits in place of small number words, in five languages."""
    return re.sub(r"[^\W\d_]+", lambda match: _NUMBER_WORDS.get(match[0].lower(), match[0]), text)


def bare_number(text: str) -> float | None:
    """Returns the number of a text that is only a number, with or without a currency sign."""
    plain = re.sub(r"[€$£]|\b(?:EUR|USD|GBP|SEK|CHF|kr)\b", "", text).strip()
    return number(plain) if re.fullmatch(r"\d{1,3}(?:,\d{3})+|\d+(?:[.,]\d+)?", plain) else None


def cut(text: str, around: str = "") -> str:
    """Returns at most 24 words of a text, those around a part of it if it is longer."""
    words = text.split()
    if len(words) <= MAX_WORDS:
        return text
    start = 0
    if around and around in text:
        before = len(text[: text.index(around)].split())
        start = max(0, min(before - MAX_WORDS // 3, len(words) - MAX_WORDS))
    part = " ".join(words[start : start + MAX_WORDS])
    return f"{'... ' if start else ''}{part}{' ...' if start + MAX_WORDS < len(words) else ''}"


def has_digits(fact: Fact) -> bool:
    """Whether a fact contains a number, also as a word."""
    return any(letter.isdigit() for letter in with_digits(fact.citation.quote))


def said(fact: Fact, around: str = "") -> str:
    """Returns what an answer says of a fact: the clause around its value if the sentence is long."""
    text = fact.citation.quote
    if fact.kind == "label":
        return f'"{cut(text, around)}"'
    if fact.kind == "field" and len(text.split()) <= 8:
        return fact.value
    if len(text.split()) > 8 and around:
        clauses = re.split(r"(?<=[;|])\s?|(?<=[^\d],)\s", text)
        clause = next((clause for clause in clauses if around in clause), text)
        is_list = len(clauses) > 3 and sum(len(part.split()) for part in clauses) / len(clauses) <= 4
        if is_list or (len(text.split()) > 14 and len(clause.split()) >= 3):
            return cut(clause.rstrip(" ,;:|"), around)
    return cut(text, around)


def stems(text: str) -> frozenset[str]:
    """Returns the stems of all words of a text."""
    return frozenset(stem(word) for word in tokens(text))


def _plain(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
