"""CQE without language models: five small judges that look at different things.

Each turns one number into P(yes), by a logistic around a threshold, and abstains where it has nothing to go on. The
thresholds were set on with-and-without outcomes of captions of the sample catalogue and of the calibration half of the
shelf photos; ``benchmarks/calibrate_judges.py`` prints them with each judge's precision and recall.
"""

import asyncio
import math
import re
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import numpy as np
from langchain_core.runnables import RunnableConfig

from caslie_tools._concurrency import AsyncRunnable
from caslie_tools.backends.embedded.facts import (
    asked_kinds,
    content_words,
    contradicts,
    coverage,
    is_question,
    kinds_in,
    quantities,
)
from caslie_tools.backends.embedded.sentence_embeddings import MiniLMEmbeddings
from caslie_tools.domain import Evidence, Vote
from caslie_tools.roles.interfaces import Judge, JudgeRequest

_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+")
_FRAME: Final = frozenset({"read", "mostly", "resembl", "resemble", "text", "seen"})
"""Stems of the captioner's own words."""


class EmbeddedJudge(AsyncRunnable[JudgeRequest, Vote]):
    """Base of the judges: measures one number and compares it with a threshold.

    Args:
        embeddings: Compares sentences.
    """

    name = "embedded-judge"
    threshold: ClassVar[float]
    slope: ClassVar[float]
    measures: ClassVar[str]
    """What the number is, for the vote's reason."""

    def __init__(self, embeddings: MiniLMEmbeddings) -> None:
        self.embeddings = embeddings

    async def ainvoke(
        self,
        input: JudgeRequest,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Vote:
        """Votes on one caption, off the event loop."""
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
        """Returns the number; ``None`` abstains."""
        raise NotImplementedError

    def cosines(self, focus: str, texts: Sequence[str]) -> list[float]:
        """Returns the cosine of each text with the focus."""
        vectors = self.embeddings.encode(texts).astype(np.float64)
        found: list[float] = (vectors @ self.embeddings.encode([focus])[0].astype(np.float64)).tolist()
        return found


class RelevanceJudge(EmbeddedJudge):
    """Is a sentence of the caption about what the context is about? The best cosine of the two.

    Abstains without a focus. Where the focus is what is known, as a title whose category is asked, it tells whether the
    picture shows that product at all.
    """

    name = "embedded-relevance"
    measures = "cosine with the question"
    threshold = 0.25
    slope = 15.0

    def measure(self, request: JudgeRequest) -> float | None:
        """Returns the best sentence's cosine with the focus."""
        focus = request.context.focus
        if not focus.strip():
            return None
        return max(self.cosines(focus, _SENTENCE_END.split(request.caption) or [request.caption]))


class NoveltyJudge(EmbeddedJudge):
    """Does the caption say what the text at hand does not? The share of its words and quantities that are new."""

    name = "embedded-novelty"
    measures = "share of news"
    threshold = 0.4
    slope = 12.0

    def measure(self, request: JudgeRequest) -> float:
        """Returns the share of the caption's content that is not known, 0 for a caption without content."""
        told = " ".join(item.text for item in request.evidence) or request.caption
        words = content_words(told) - _FRAME
        amounts = quantities(told)
        known = request.context.known
        at_hand, stated = content_words(known), quantities(known)
        new = sum(not coverage([word], known) for word in words) if at_hand else len(words)
        new += sum(not any(amount.same(other) for other in stated) for amount in amounts)
        total = len(words) + len(amounts)
        return new / total if total else 0.0


class StrengthJudge(EmbeddedJudge):
    """Is what was seen sure, and does it bear on the question? The best evidence's score times its bearing.

    Abstains on captions whose evidence is not known.
    """

    name = "embedded-strength"
    measures = "strength of the evidence"
    threshold = 0.6
    slope = 12.0

    def measure(self, request: JudgeRequest) -> float | None:
        """Returns the strength of the best evidence."""
        if not request.evidence:
            return None
        focus = request.context.focus
        if not focus.strip():
            return max(item.score for item in request.evidence)
        cosines = self.cosines(focus, [item.text.lower() for item in request.evidence])
        return max(
            item.score * _bearing(item, focus, request.context.known, cosine)
            for item, cosine in zip(request.evidence, cosines, strict=True)
        )


class AnswerKindJudge(EmbeddedJudge):
    """Does the caption hold the kind of thing that is asked for: a volume, a colour, a protection class ...?

    1 if it does or says the very words asked about, 0 if not, or if it names another quantity than the asked one.
    Without a question any pipeline of the thing counts; for other texts, such as a query or a review, it abstains.
    """

    name = "embedded-answer-kind"
    measures = "holds what is asked for"
    threshold = 0.5
    slope = 6.0

    def measure(self, request: JudgeRequest) -> float | None:
        """Returns 1 or 0."""
        focus = request.context.focus
        if not focus.strip():
            return float(any(item.kind != "colour" for item in request.evidence)) if request.evidence else None
        if contradicts(focus, request.caption):
            return 0.0
        asked = asked_kinds(focus)
        if not asked and not is_question(focus):
            return None
        held = kinds_in(request.caption) | _kinds_of(request.evidence)
        aspect = _open_words(focus, request.context.known)
        return float(bool(asked & held) or any(coverage([word], request.caption) for word in aspect))


class GainJudge(EmbeddedJudge):
    """Does the caption supply what the context asks for and the text at hand lacks?

    The share of the focus's words and quantities missing in the known text that the caption holds; a missing kind of
    thing counts like a word. Abstains if nothing is asked, 0 if the text at hand has it all.
    """

    name = "embedded-gain"
    measures = "share of what is missing that it supplies"
    threshold = 0.2
    slope = 12.0

    def measure(self, request: JudgeRequest) -> float | None:
        """Returns the share supplied."""
        focus, known = request.context.focus, request.context.known
        if not focus.strip() or focus == known:
            return None
        words = _open_words(focus, known)
        stated, told = quantities(known), quantities(request.caption)
        amounts = [amount for amount in quantities(focus) if not any(amount.same(other) for other in stated)]
        if amounts and not any(amount.same(other) for amount in amounts for other in told):
            return 0.0
        kinds = asked_kinds(focus) - {quantity.dimension for quantity in amounts}
        held = kinds_in(request.caption) | _kinds_of(request.evidence)
        open_kind = bool(kinds) and not kinds & kinds_in(known)
        wanted = len(words) + len(amounts) + open_kind
        if not wanted:
            return 0.0
        supplied = sum(coverage([word], request.caption) for word in words)
        supplied += sum(any(amount.same(other) for other in told) for amount in amounts)
        supplied += open_kind and bool(kinds & held)
        return supplied / wanted


def embedded_jury(embeddings: MiniLMEmbeddings) -> tuple[Judge, ...]:
    """Returns the five judges in the order they are asked."""
    judges = (AnswerKindJudge, GainJudge, StrengthJudge, RelevanceJudge, NoveltyJudge)
    return tuple(judge(embeddings) for judge in judges)


def _open_words(focus: str, known: str) -> frozenset[str]:
    """What the focus talks about and the text at hand does not."""
    return frozenset(word for word in content_words(focus) if not coverage([word], known))


def _kinds_of(evidence: Sequence[Evidence]) -> frozenset[str]:
    kinds = {"tag": "kind", "resembles": "kind", "colour": "colour", "text": "text"}
    return frozenset(kinds[item.kind] for item in evidence)


def _bearing(item: Evidence, focus: str, known: str, cosine: float) -> float:
    if contradicts(focus, item.text):
        return 0.0
    if asked_kinds(focus) & (kinds_in(item.text) | _kinds_of([item])):
        return 1.0
    words = _open_words(focus, known) or content_words(focus)
    return max(float(any(coverage([word], item.text) for word in words)), cosine, 0.0)
