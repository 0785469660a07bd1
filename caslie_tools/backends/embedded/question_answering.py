"""Extractive answers to open questions: the passage that answers, quoted and cited, or an honest no.

Nothing is worded freely and nothing in a product's text is obeyed: an answer is a product's title and passages of its
fields and kept captions, chosen by the words of the question, by what kind of thing it asks for and by sentence
embeddings. Quantities have to match exactly.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from caslie_tools.backends.embedded.facts import (
    asked_kinds,
    colour_words,
    content_words,
    contradicts,
    coverage,
    kinds_in,
    quantities,
)
from caslie_tools.backends.embedded.sentence_embeddings import MiniLMEmbeddings
from caslie_tools.domain import Answer, Citation
from caslie_tools.tasks import FusedInstance
from caslie_tools.tasks.evidence import evidence

NOT_ANSWERED: Final = "The products' texts and images do not answer this."

_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])")
_WHICH: Final = re.compile(
    r"^\W*(?:which|what)\b(?!\s+(?:is|are|does|do|colou?r|size)\b)|\bwhich (?:one|product)", re.I
)
_LOOSE: Final = frozenset({"time", "text"})
_HOW_LONG: Final = re.compile(r"\b(?:how (?:long|big|large)|size)\b", re.IGNORECASE)
_MOST_QUOTES: Final = 2
_MOST_PRODUCTS: Final = 3
_MAX_QUOTE: Final = 300

# Set on the labelled questions of benchmarks/calibrate_judges.py (its part on the sample catalogue).
_LEAST_COVERAGE: Final = 0.5
_LEAST_COSINE_WITH_KIND: Final = 0.45
_LEAST_COSINE_ALONE: Final = 0.6


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A sentence of a field or a caption."""

    product: int
    """Index of the product."""
    citation: Citation

    @property
    def text(self) -> str:
        """The words, after the field's name where it tells something."""
        label = self.citation.field
        plain = label in ("title", "description", "caption")
        return self.citation.quote if plain else f"{label.replace('_', ' ')}: {self.citation.quote}"


@dataclass(frozen=True, kw_only=True)
class _Support:
    """How well a passage, or a product by all its passages, answers."""

    score: float
    answers: bool


class QuestionAnswering:
    """Answers open questions by quoting.

    Args:
        embeddings: Compares questions with passages.
    """

    def __init__(self, embeddings: MiniLMEmbeddings) -> None:
        self.embeddings = embeddings

    def answer(self, instance: FusedInstance) -> Answer:
        """Answers a question over products; with citations, or with ``answerable=False``."""
        data = instance.input if isinstance(instance.input, Mapping) else {}
        question = str(data.get("question", "")) or instance.instruction
        # An input without products is treated as one product.
        records = [record for record in _list(data.get("products", [data])) if isinstance(record, Mapping)]
        passages = _passages(evidence(instance), [str(record.get("id", "")) for record in records])
        titles = [str(record.get("title") or record.get("id") or "the product") for record in records]
        if not passages or not question.strip():
            return Answer(text=NOT_ANSWERED, answerable=False)
        chosen = self._choose(question, passages, titles)
        if not chosen:
            return Answer(text=NOT_ANSWERED, answerable=False)
        sentences, cited = [], []
        for product, quoted in chosen:
            quotes = [passage for passage in quoted if passage.citation.field != "title"]
            said = " ".join(_closed(passage.text) for passage in quotes)
            sentences.append(f"{titles[product]}: {said}" if said else _closed(titles[product]))
            cited += [passage.citation for passage in quoted]
        return Answer(text=" ".join(" ".join(sentences).split()), citations=tuple(cited), answerable=True)

    def support(self, question: str, text: str) -> float:
        """Returns how well one text answers a question, about 0 to 1."""
        passages = _passages([Citation(product="", field="caption", quote=text)], [""])
        scores = self._score(question, passages, content_words(question))
        return max((support.score for support in scores), default=0.0)

    def _choose(
        self, question: str, passages: Sequence[Passage], titles: Sequence[str]
    ) -> list[tuple[int, list[Passage]]]:
        words = content_words(question)
        meant = _named(question, titles)
        if not meant and _WHICH.search(question) and len(titles) > 1:
            return self._select(question, passages, words)
        if not meant:
            shares = [coverage(words, title) for title in titles]
            meant = [index for index, share in enumerate(shares) if share == max(shares)]
        best: list[tuple[float, int, list[Passage]]] = []
        for product in meant:
            own = [passage for passage in passages if passage.product == product]
            aspect = frozenset(word for word in words if not coverage([word], titles[product]))
            supports = self._score(question, own, aspect)
            ranked = sorted(range(len(own)), key=lambda index: -supports[index].score)
            good = [index for index in ranked if supports[index].answers]
            if good:
                top = supports[good[0]].score
                quotes = [own[index] for index in good[:_MOST_QUOTES] if supports[index].score > 0.75 * top]
                best.append((top, product, quotes))
        best.sort(key=lambda item: (-item[0], item[1]))
        return [(product, quotes) for _, product, quotes in best[:1]]

    def _select(
        self, question: str, passages: Sequence[Passage], words: frozenset[str]
    ) -> list[tuple[int, list[Passage]]]:
        """Answers "which ...": the products that hold all that is asked, together over their passages."""
        wanted, colours = quantities(question), colour_words(question)
        found: list[tuple[float, int, list[Passage]]] = []
        for product in dict.fromkeys(passage.product for passage in passages):
            own = [passage for passage in passages if passage.product == product]
            whole = "\n".join(passage.text for passage in own)
            stated = quantities(whole)
            if not all(any(asked.same(known) for known in stated) for asked in wanted):
                continue
            if not colours <= colour_words(whole):
                continue
            covered = coverage(words, whole)
            # A quantity that is asked for and found outweighs a verb that is not.
            if covered < (0.3 if wanted or colours else 0.6):
                continue
            supports = self._score(question, own, words)
            exact = [
                bool(wanted) and any(asked.same(known) for asked in wanted for known in quantities(passage.text))
                for passage in own
            ]
            ranked = sorted(range(len(own)), key=lambda index: (-exact[index], -supports[index].score))
            quotes = [own[ranked[0]]]
            # More only for words that are still open; the title, which the answer names anyway, comes before others.
            for index in sorted(ranked[1:], key=lambda index: own[index].citation.field != "title"):
                said = " ".join(passage.text for passage in quotes)
                if len(quotes) < _MOST_QUOTES and coverage(words, f"{said} {own[index].text}") > coverage(words, said):
                    quotes.append(own[index])
            found.append((covered + supports[ranked[0]].score, product, quotes))
        found.sort(key=lambda item: (-item[0], item[1]))
        return [(product, quotes) for score, product, quotes in found[:_MOST_PRODUCTS] if score > 0.8 * found[0][0]]

    def _score(self, question: str, passages: Sequence[Passage], aspect: frozenset[str]) -> list[_Support]:
        if not passages:
            return []
        asked = asked_kinds(question)
        # Kinds named too loosely to rest an answer on them alone: "how long" may ask for metres or hours.
        loose = _LOOSE | ({"length", "volume"} if _HOW_LONG.search(question) else frozenset())
        vectors = self.embeddings.encode([passage.text for passage in passages])
        cosines = vectors @ self.embeddings.encode([question])[0]
        supports = []
        for passage, cosine in zip(passages, cosines.astype(np.float64), strict=True):
            kinds = asked & kinds_in(passage.citation.quote, passage.citation.field)
            covered = coverage(aspect, passage.text)
            missing = bool(colour_words(question)) and "colour" not in kinds_in(passage.citation.quote)
            wrong = contradicts(question, passage.citation.quote) or (bool(quantities(question)) and not kinds)
            answers = not wrong and (
                (covered >= _LEAST_COVERAGE and not missing)
                or bool(kinds - loose)
                or (bool(kinds) and (covered > 0 or cosine >= _LEAST_COSINE_WITH_KIND))
                or (not asked and cosine >= _LEAST_COSINE_ALONE)
            )
            # The title says what the product is, which is hardly ever what is asked about it.
            own_name = 0.5 if passage.citation.field == "title" else 0.0
            held = 0.5 if kinds - loose else 0.3 if kinds else 0.0
            score = 0.45 * covered + held + 0.4 * max(0.0, float(cosine)) - own_name - (1.0 if wrong else 0.0)
            supports.append(_Support(score=score, answers=answers and (not own_name or "kind" in asked)))
        return supports


def _named(question: str, titles: Sequence[str]) -> list[int]:
    """Returns the products whose title, of two words or more, the question says in full; of those the longest."""
    sizes = {
        index: len(words)
        for index, title in enumerate(titles)
        if len(words := content_words(title)) > 1 and words <= content_words(question)
    }
    return [index for index, size in sizes.items() if size == max(sizes.values())]


def _passages(sources: Sequence[Citation], products: Sequence[str]) -> list[Passage]:
    order = {product: index for index, product in reversed(list(enumerate(products)))}
    only = 0 if len(products) == 1 else None
    return [
        Passage(product=product, citation=source.model_copy(update={"quote": sentence}))
        for source in sources
        if (product := order.get(source.product or "", only)) is not None
        for sentence in _sentences(source.quote)
    ]


def _sentences(text: str) -> list[str]:
    flat = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return [sentence[:_MAX_QUOTE] for sentence in _SENTENCE_END.split(flat) if sentence]


def _closed(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
