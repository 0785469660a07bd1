"""Extractive question answering: quotes and cites the passages that answer a question, or answers that none does.

An answer consists of a product's title and of passages from its fields and kept captions. It contains no generated
text, and instructions inside a product's text have no effect. Passages are chosen by the words of the question, by the
kind of answer that it expects and by sentence embeddings. Quantities must match exactly.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from caslie_tools.backends.embedded.answer_kinds import expected_kinds, kinds_in
from caslie_tools.backends.embedded.quantities import contradicts, quantities
from caslie_tools.backends.embedded.sentence_embeddings import MiniLMEmbeddings
from caslie_tools.backends.embedded.words import colour_words, content_words, coverage
from caslie_tools.domain import Answer, Citation
from caslie_tools.tasks import FusedInstance
from caslie_tools.tasks.evidence import evidence

NOT_ANSWERED: Final = "The products' texts and images do not answer this."
"""The answer if no passage answers the question."""

_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])")
_WHICH_PRODUCT: Final = re.compile(
    r"^\W*(?:which|what)\b(?!\s+(?:is|are|does|do|colou?r|size)\b)|\bwhich (?:one|product)", re.I
)
_AMBIGUOUS_KINDS: Final = frozenset({"time", "text"})
_AMBIGUOUS_LENGTH: Final = re.compile(r"\b(?:how (?:long|big|large)|size)\b", re.IGNORECASE)
_MAX_QUOTES: Final = 2
_MAX_PRODUCTS: Final = 3
_MAX_QUOTE_LENGTH: Final = 300

# Set on the labelled questions about the sample catalogue in benchmarks/calibrate_judges.py.
_MIN_COVERAGE: Final = 0.5
_MIN_COSINE_WITH_KIND: Final = 0.45
_MIN_COSINE_ALONE: Final = 0.6


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A sentence of a field or a caption."""

    product: int
    """Index of the product."""
    citation: Citation

    @property
    def text(self) -> str:
        """The quote, preceded by the field name if the name adds information."""
        label = self.citation.field
        plain = label in ("title", "description", "caption")
        return self.citation.quote if plain else f"{label.replace('_', ' ')}: {self.citation.quote}"


@dataclass(frozen=True, kw_only=True)
class _Support:
    """How well a passage answers a question."""

    score: float
    answers: bool
    """Whether the passage alone answers the question."""


class QuestionAnswerer:
    """Answers open questions with quotes.

    Args:
        embeddings: Compares questions with passages.
    """

    def __init__(self, embeddings: MiniLMEmbeddings) -> None:
        self.embeddings = embeddings

    def answer(self, instance: FusedInstance) -> Answer:
        """Answers a question about products with citations, or with ``answerable=False``."""
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
        sentences, citations = [], []
        for product, cited in chosen:
            # The title is already part of the sentence, so it is cited but not quoted.
            quoted = [passage for passage in cited if passage.citation.field != "title"]
            quotes = " ".join(_with_full_stop(passage.text) for passage in quoted)
            sentences.append(f"{titles[product]}: {quotes}" if quotes else _with_full_stop(titles[product]))
            citations += [passage.citation for passage in cited]
        return Answer(text=" ".join(" ".join(sentences).split()), citations=tuple(citations), answerable=True)

    def support(self, question: str, text: str) -> float:
        """Returns how well a text answers a question. The range is about 0 to 1."""
        passages = _passages([Citation(product="", field="caption", quote=text)], [""])
        scores = self._score(question, passages, content_words(question))
        return max((support.score for support in scores), default=0.0)

    def _choose(
        self, question: str, passages: Sequence[Passage], titles: Sequence[str]
    ) -> list[tuple[int, list[Passage]]]:
        """Returns the products that answer, each with the passages to cite."""
        words = content_words(question)
        candidates = _named(question, titles)
        if not candidates and _WHICH_PRODUCT.search(question) and len(titles) > 1:
            return self._select_products(question, passages, words)
        if not candidates:
            shares = [coverage(words, title) for title in titles]
            candidates = [index for index, share in enumerate(shares) if share == max(shares)]
        best: list[tuple[float, int, list[Passage]]] = []
        for product in candidates:
            own = [passage for passage in passages if passage.product == product]
            aspect = frozenset(word for word in words if not coverage([word], titles[product]))
            supports = self._score(question, own, aspect)
            ranked = sorted(range(len(own)), key=lambda index: -supports[index].score)
            answering = [index for index in ranked if supports[index].answers]
            if answering:
                top = supports[answering[0]].score
                quotes = [own[index] for index in answering[:_MAX_QUOTES] if supports[index].score > 0.75 * top]
                best.append((top, product, quotes))
        best.sort(key=lambda item: (-item[0], item[1]))
        return [(product, quotes) for _, product, quotes in best[:1]]

    def _select_products(
        self, question: str, passages: Sequence[Passage], words: frozenset[str]
    ) -> list[tuple[int, list[Passage]]]:
        """Answers "which ...": returns the products whose passages together contain everything in the question."""
        wanted, colours = quantities(question), colour_words(question)
        found: list[tuple[float, int, list[Passage]]] = []
        for product in dict.fromkeys(passage.product for passage in passages):
            own = [passage for passage in passages if passage.product == product]
            whole = "\n".join(passage.text for passage in own)
            stated = quantities(whole)
            if not all(any(asked.same(other) for other in stated) for asked in wanted):
                continue
            if not colours <= colour_words(whole):
                continue
            covered = coverage(words, whole)
            # A matching quantity or colour is stronger evidence than a missing word, such as a verb.
            if covered < (0.3 if wanted or colours else 0.6):
                continue
            supports = self._score(question, own, words)
            exact = [
                bool(wanted) and any(asked.same(other) for asked in wanted for other in quantities(passage.text))
                for passage in own
            ]
            ranked = sorted(range(len(own)), key=lambda index: (-exact[index], -supports[index].score))
            quotes = [own[ranked[0]]]
            # Further passages are cited only for uncovered words. The title comes first: the answer names it anyway.
            for index in sorted(ranked[1:], key=lambda index: own[index].citation.field != "title"):
                quoted = " ".join(passage.text for passage in quotes)
                adds_words = coverage(words, f"{quoted} {own[index].text}") > coverage(words, quoted)
                if len(quotes) < _MAX_QUOTES and adds_words:
                    quotes.append(own[index])
            found.append((covered + supports[ranked[0]].score, product, quotes))
        found.sort(key=lambda item: (-item[0], item[1]))
        return [(product, quotes) for score, product, quotes in found[:_MAX_PRODUCTS] if score > 0.8 * found[0][0]]

    def _score(self, question: str, passages: Sequence[Passage], aspect: frozenset[str]) -> list[_Support]:
        """Scores each passage.

        Args:
            question: The question.
            passages: The passages of one product.
            aspect: Stems of the words in the question that a passage should contain.
        """
        if not passages:
            return []
        expected = expected_kinds(question)
        # These kinds are too ambiguous to answer alone: "how long" may ask for a length or a duration.
        ambiguous = _AMBIGUOUS_KINDS | (
            frozenset({"length", "volume"}) if _AMBIGUOUS_LENGTH.search(question) else frozenset()
        )
        vectors = self.embeddings.encode([passage.text for passage in passages])
        cosines = vectors @ self.embeddings.encode([question])[0]
        supports = []
        for passage, cosine in zip(passages, cosines.astype(np.float64), strict=True):
            kinds = expected & kinds_in(passage.citation.quote, passage.citation.field)
            covered = coverage(aspect, passage.text)
            lacks_colour = bool(colour_words(question)) and "colour" not in kinds_in(passage.citation.quote)
            wrong = contradicts(question, passage.citation.quote) or (bool(quantities(question)) and not kinds)
            answers = not wrong and (
                (covered >= _MIN_COVERAGE and not lacks_colour)
                or bool(kinds - ambiguous)
                or (bool(kinds) and (covered > 0 or cosine >= _MIN_COSINE_WITH_KIND))
                or (not expected and cosine >= _MIN_COSINE_ALONE)
            )
            # The title names the product, which is rarely the information that the question asks for.
            title_penalty = 0.5 if passage.citation.field == "title" else 0.0
            kind_bonus = 0.5 if kinds - ambiguous else 0.3 if kinds else 0.0
            similarity = 0.4 * max(0.0, float(cosine))
            score = 0.45 * covered + kind_bonus + similarity - title_penalty - (1.0 if wrong else 0.0)
            supports.append(_Support(score=score, answers=answers and (not title_penalty or "kind" in expected)))
        return supports


def _named(question: str, titles: Sequence[str]) -> list[int]:
    """Returns the products whose whole title, of at least two words, is in the question; of these, the longest."""
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
    return [sentence[:_MAX_QUOTE_LENGTH] for sentence in _SENTENCE_END.split(flat) if sentence]


def _with_full_stop(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
