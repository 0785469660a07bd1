"""CQE without language models: five small judges that measure different properties of a caption.

Each judge measures one number, converts it to P(yes) by a logistic function around a threshold, and abstains if it
cannot measure. The thresholds were set with outcomes with and without captions, for captions of the sample catalogue
and of the calibration half of the shelf photos. ``benchmarks/calibrate_judges.py`` prints the best thresholds with the
precision and recall of each judge.
"""

import asyncio
import math
import re
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import numpy as np
from langchain_core.runnables import RunnableConfig

from caslie_tools._concurrency import AsyncRunnable
from caslie_tools.backends.embedded.answer_kinds import expected_kinds, is_question, kinds_in
from caslie_tools.backends.embedded.quantities import contradicts, quantities
from caslie_tools.backends.embedded.sentence_embeddings import MiniLMEmbeddings
from caslie_tools.backends.embedded.words import content_words, coverage
from caslie_tools.domain import Evidence, Vote
from caslie_tools.roles.interfaces import Judge, JudgeRequest

_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+")
_CAPTIONER_WORDS: Final = frozenset({"read", "mostly", "resembl", "resemble", "text", "seen"})
"""Stems of the words that the captioner adds to every caption."""


class EmbeddedJudge(AsyncRunnable[JudgeRequest, Vote]):
    """Base class of the judges: measures one number and compares it with a threshold.

    Args:
        embeddings: Compares sentences.
    """

    name = "embedded-judge"
    threshold: ClassVar[float]
    slope: ClassVar[float]
    measures: ClassVar[str]
    """Description of the number, for the reason of the vote."""

    def __init__(self, embeddings: MiniLMEmbeddings) -> None:
        self.embeddings = embeddings

    async def ainvoke(self, input: JudgeRequest, config: RunnableConfig | None = None, **kwargs: Any) -> Vote:
        """Votes on one caption in a worker thread."""
        value = await asyncio.to_thread(self.measure, input)
        if value is None:
            return Vote(judge=self.name, verdict="abstain", reason=f"{self.measures}: nothing to go on")
        probability = 1 / (1 + math.exp(-self.slope * (value - self.threshold)))
        return Vote(
            judge=self.name,
            verdict="yes" if probability >= 0.5 else "no",
            probability=probability,
            reason=f"{self.measures}: {value:.2f}, at least {self.threshold:.2f} is yes",
        )

    def measure(self, request: JudgeRequest) -> float | None:
        """Returns the number, or ``None`` to abstain."""
        raise NotImplementedError

    def cosines(self, focus: str, texts: Sequence[str]) -> list[float]:
        """Returns the cosine similarity of each text to the focus."""
        vectors = self.embeddings.encode(texts).astype(np.float64)
        found: list[float] = (vectors @ self.embeddings.encode([focus])[0].astype(np.float64)).tolist()
        return found


class RelevanceJudge(EmbeddedJudge):
    """Measures whether the caption is about the focus: the best cosine similarity of a sentence to the focus.

    Abstains without a focus. If the focus is the text of the product, such as a title whose category is wanted, it
    measures whether the image shows that product.
    """

    name = "embedded-relevance"
    measures = "cosine with the question"
    threshold = 0.25
    slope = 15.0

    def measure(self, request: JudgeRequest) -> float | None:
        """Returns the best cosine similarity of a sentence to the focus."""
        focus = request.context.focus
        if not focus.strip():
            return None
        return max(self.cosines(focus, _SENTENCE_END.split(request.caption) or [request.caption]))


class NoveltyJudge(EmbeddedJudge):
    """Measures whether the caption adds information: the share of its words and quantities that the text lacks."""

    name = "embedded-novelty"
    measures = "share of news"
    threshold = 0.4
    slope = 12.0

    def measure(self, request: JudgeRequest) -> float:
        """Returns the share of new words and quantities, or 0 for a caption without content."""
        content = " ".join(item.text for item in request.evidence) or request.caption
        words = content_words(content) - _CAPTIONER_WORDS
        amounts = quantities(content)
        known = request.context.known
        known_amounts = quantities(known)
        new = sum(not coverage([word], known) for word in words) if content_words(known) else len(words)
        new += sum(not any(amount.same(other) for other in known_amounts) for amount in amounts)
        total = len(words) + len(amounts)
        return new / total if total else 0.0


class StrengthJudge(EmbeddedJudge):
    """Measures the confidence of the evidence and its relevance to the focus: the best product of both.

    Abstains on captions without evidence.
    """

    name = "embedded-strength"
    measures = "strength of the evidence"
    threshold = 0.6
    slope = 12.0

    def measure(self, request: JudgeRequest) -> float | None:
        """Returns the score of the best evidence, multiplied by its relevance."""
        if not request.evidence:
            return None
        focus = request.context.focus
        if not focus.strip():
            return max(item.score for item in request.evidence)
        cosines = self.cosines(focus, [item.text.lower() for item in request.evidence])
        return max(
            item.score * _relevance(item, focus, request.context.known, cosine)
            for item, cosine in zip(request.evidence, cosines, strict=True)
        )


class AnswerKindJudge(EmbeddedJudge):
    """Checks whether the caption contains the expected kind of answer, such as a volume, a colour or a connector.

    The number is 1 if the caption contains the expected kind or a word of the question, and 0 otherwise or if the
    caption contradicts a quantity of the question. Without a focus, evidence other than colours counts as an answer.
    Abstains if the focus is not a question, such as a search query or a review.
    """

    name = "embedded-answer-kind"
    measures = "holds what is asked for"
    threshold = 0.5
    slope = 6.0

    def measure(self, request: JudgeRequest) -> float | None:
        """Returns 1, 0, or ``None`` to abstain."""
        focus = request.context.focus
        if not focus.strip():
            return float(any(item.kind != "colour" for item in request.evidence)) if request.evidence else None
        if contradicts(focus, request.caption):
            return 0.0
        expected = expected_kinds(focus)
        if not expected and not is_question(focus):
            return None
        found = kinds_in(request.caption) | _kinds_of(request.evidence)
        words = _missing_words(focus, request.context.known)
        return float(bool(expected & found) or any(coverage([word], request.caption) for word in words))


class GainJudge(EmbeddedJudge):
    """Measures whether the caption supplies the information that the context requests and the known text lacks.

    The number is the share of the missing words and quantities of the focus that the caption contains. A missing kind
    of answer counts like a word. If nothing is missing, the number is 0. Abstains without a focus, and if the focus is
    the known text.
    """

    name = "embedded-gain"
    measures = "share of what is missing that it supplies"
    threshold = 0.2
    slope = 12.0

    def measure(self, request: JudgeRequest) -> float | None:
        """Returns the supplied share of the missing information, or ``None`` to abstain."""
        focus, known = request.context.focus, request.context.known
        if not focus.strip() or focus == known:
            return None
        words = _missing_words(focus, known)
        known_amounts, caption_amounts = quantities(known), quantities(request.caption)
        amounts = [amount for amount in quantities(focus) if not any(amount.same(other) for other in known_amounts)]
        if amounts and not any(amount.same(other) for amount in amounts for other in caption_amounts):
            return 0.0
        kinds = expected_kinds(focus) - {quantity.dimension for quantity in amounts}
        found = kinds_in(request.caption) | _kinds_of(request.evidence)
        kind_missing = bool(kinds) and not kinds & kinds_in(known)
        missing = len(words) + len(amounts) + kind_missing
        if not missing:
            return 0.0
        supplied = sum(coverage([word], request.caption) for word in words)
        supplied += sum(any(amount.same(other) for other in caption_amounts) for amount in amounts)
        supplied += kind_missing and bool(kinds & found)
        return supplied / missing


def embedded_jury(embeddings: MiniLMEmbeddings) -> tuple[Judge, ...]:
    """Returns the five judges in the order of their votes."""
    judges = (AnswerKindJudge, GainJudge, StrengthJudge, RelevanceJudge, NoveltyJudge)
    return tuple(judge(embeddings) for judge in judges)


def _missing_words(focus: str, known: str) -> frozenset[str]:
    """Returns the content words of the focus that the known text lacks."""
    return frozenset(word for word in content_words(focus) if not coverage([word], known))


def _kinds_of(evidence: Sequence[Evidence]) -> frozenset[str]:
    kinds = {"tag": "kind", "resembles": "kind", "colour": "colour", "text": "text"}
    return frozenset(kinds[item.kind] for item in evidence)


def _relevance(item: Evidence, focus: str, known: str, cosine: float) -> float:
    if contradicts(focus, item.text):
        return 0.0
    if expected_kinds(focus) & (kinds_in(item.text) | _kinds_of([item])):
        return 1.0
    words = _missing_words(focus, known) or content_words(focus)
    return max(float(any(coverage([word], item.text) for word in words)), cosine, 0.0)
