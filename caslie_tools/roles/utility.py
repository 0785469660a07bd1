"""A judge that measures what a caption does to the predictor's answer.

The predictor answers the instance twice: without captions, and with this caption. Both answers have a probability for
each label. If the caption makes the best answer more probable, it helps. Such with/without outcomes are the label by
which EcomMMMU/SUMEI, the successor of CASLIE, trains its verifier of images.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from pydantic import Field

from caslie_tools._concurrency import AsyncRunnable, SingleFlight, run_together
from caslie_tools.domain import Answer, Caption, FrozenModel, Probability, Vote
from caslie_tools.exceptions import UnsupportedModelError
from caslie_tools.roles.interfaces import JudgeRequest, Predictor
from caslie_tools.tasks import FusedInstance, get_task
from caslie_tools.tasks.fusion import fuse, fused_text

UTILITY: Final = "utility"
"""The usual name of this judge."""
_REMEMBERED: Final = 512
"""Number of answers without captions that are kept. One such answer serves all captions of an instance."""


_CERTAIN: Final = 0.25
"""Certainty of an answer, from 0 for a guess to 1, from which it counts fully."""


SIGNALS: Final = ("margin", "margin_change", "entropy", "entropy_change", "answer_changes")
"""Signals of a vote. ``margin`` is the lead of the best answer over the second without the caption, and ``entropy`` the
uncertainty without it, from 0 to 1. The changes are with the caption, less without. ``answer_changes`` is 1 if the best
answer with the caption is another one, otherwise 0."""


class Utility(FrozenModel):
    """The predictor's best answer without and with a caption."""

    labels: int = Field(ge=2)
    """Number of labels of the instance."""
    answer_without: str
    answer_with: str
    probability_without: Probability
    """Probability of the best answer without the caption."""
    probability_with: Probability
    """Probability of the best answer with the caption."""
    signals: dict[str, float] = Field(default_factory=dict)
    """The change of all probabilities in numbers: see :data:`SIGNALS`."""

    @classmethod
    def compare(cls, before: Mapping[str, float], after: Mapping[str, float], *, labels: int) -> "Utility":
        """Compares the probabilities of the labels.

        Args:
            before: Without the caption.
            after: With the caption.
            labels: Number of labels of the instance.
        """
        best_before, best_after = max(before, key=before.__getitem__), max(after, key=after.__getitem__)
        values = (
            _margin(before),
            _margin(after) - _margin(before),
            _entropy(before),
            _entropy(after) - _entropy(before),
            float(best_before != best_after),
        )
        return cls(
            labels=labels,
            answer_without=best_before,
            answer_with=best_after,
            probability_without=before[best_before],
            probability_with=after[best_after],
            signals=dict(zip(SIGNALS, values, strict=True)),
        )

    @property
    def probability_of_help(self) -> float:
        """Estimate of the probability that the caption helps, above 0.5 if the answer gets more certain with it.

        It is the share of ``probability_with`` in the sum of both probabilities. An answer without the caption that is
        little better than a guess counts less: a caption may then lower the probability of the best answer, because
        that answer was wrong.
        """
        guess = 1 / self.labels
        certainty = (self.probability_without - guess) / (1 - guess)
        before = self.probability_without * min(1.0, max(0.0, certainty) / _CERTAIN)
        total = self.probability_with + before
        return self.probability_with / total if total else 0.0


def _margin(probabilities: Mapping[str, float]) -> float:
    """Returns the lead of the most probable label."""
    first, second = sorted((*probabilities.values(), 0.0), reverse=True)[:2]
    return first - second


def _entropy(probabilities: Mapping[str, float]) -> float:
    """Returns the uncertainty: 0 if one label is certain, 1 if all are equally probable."""
    terms = [share * math.log(share) for share in probabilities.values() if share > 0]
    return -sum(terms) / math.log(len(probabilities)) if len(probabilities) > 1 else 0.0


class UtilityJudge(AsyncRunnable[JudgeRequest, Vote]):
    """Votes yes if the predictor is more certain of its answer with the caption than without it.

    It abstains without an instance, for a task with open answers, and if the instance has fewer than two labels.

    Args:
        predictor: A predictor that reports the probability of each label, such as the pipeline's own.
        name: The judge's name in votes and traces.

    Raises:
        UnsupportedModelError: If the predictor is known to report no probabilities (its attribute
            ``reports_probabilities`` is false), or if it reports none when the judge votes.
    """

    signals = SIGNALS
    """The names of the signals of its votes."""

    def __init__(self, predictor: Predictor, *, name: str = UTILITY) -> None:
        self.predictor = predictor
        self.name = name
        if not getattr(predictor, "reports_probabilities", True):
            raise self._unsupported()
        self._flights = SingleFlight[Answer]()
        self._answers: OrderedDict[str, Answer] = OrderedDict()

    async def ainvoke(self, input: JudgeRequest, config: RunnableConfig | None = None, **kwargs: Any) -> Vote:
        """Votes on one caption."""
        utility = await self.measure(input, config)
        if isinstance(utility, str):
            return Vote(judge=self.name, verdict="abstain", reason=utility)
        probability = utility.probability_of_help
        return Vote(
            judge=self.name,
            verdict="yes" if probability > 0.5 else "no",
            probability=probability,
            reason=(
                f"best answer {utility.answer_without} ({utility.probability_without:.2f}) without the caption, "
                f"{utility.answer_with} ({utility.probability_with:.2f}) with it"
            ),
            signals=utility.signals,
        )

    async def measure(self, request: JudgeRequest, config: RunnableConfig | None = None) -> Utility | str:
        """Returns what the caption does to the answer, or the reason why that cannot be measured.

        Raises:
            ModelError: If the predictor failed.
            UnsupportedModelError: If the predictor reports no probabilities.
        """
        instance = request.instance
        if instance is None:
            return "there is no instance to answer"
        task = get_task(instance.task)
        if len(task.labels(instance)) < 2:
            return "the answer is not a choice between labels"
        caption = Caption(
            key="",
            text=request.caption,
            image="",
            context=request.context,
            captioner="",
            prompt_version="",
            evidence=request.evidence,
        )
        without = fuse(task, instance, [None], wire=request.wire_format)
        with_caption = fuse(task, instance, [caption], wire=request.wire_format)
        if (before := self._known(request, without)) is not None:
            after = await self._answer(with_caption, config)
        else:
            before, after = await run_together(
                [self._answer_without(without, config), self._answer(with_caption, config)]
            )
        return self._compare(before, after, labels=len(task.labels(instance)))

    def _known(self, request: JudgeRequest, without: FusedInstance) -> Answer | None:
        """Returns the answer without captions, if the request has that of the same predictor to the same text."""
        known = request.known_answer
        if known is None or known.predictor is not self.predictor or known.prediction.fused != fused_text(without):
            return None
        return Answer(text=known.prediction.text, probabilities=known.prediction.probabilities)

    async def _answer_without(self, fused: FusedInstance, config: RunnableConfig | None) -> Answer:
        key = fused.model_dump_json()
        if (known := self._answers.get(key)) is not None:
            self._answers.move_to_end(key)
            return known
        answer = await self._flights(key, lambda: self._answer(fused, config))
        self._answers[key] = answer
        if len(self._answers) > _REMEMBERED:
            self._answers.popitem(last=False)
        return answer

    async def _answer(self, fused: FusedInstance, config: RunnableConfig | None) -> Answer:
        return await self.predictor.ainvoke(fused, config)

    def _compare(self, before: Answer, after: Answer, *, labels: int) -> Utility:
        if not before.probabilities or not after.probabilities:
            raise self._unsupported()
        return Utility.compare(before.probabilities, after.probabilities, labels=labels)

    def _unsupported(self) -> UnsupportedModelError:
        return UnsupportedModelError(
            f"the predictor {self.predictor.get_name()} reports no probabilities, which the judge {self.name} needs: "
            "use a predictor that reports them, or leave this judge out"
        )
