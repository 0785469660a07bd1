"""The part of an outcome that scores and tests need. It is small, so that a run of any size can be reported.

An outcome as it is read from a run takes about 25 kB of memory, mostly for captions, votes and responses. Equal parts
of scored outcomes are shared, so that one takes less than 1 kB.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from caslie_tools.domain import Verdict
from caslie_tools.evaluation.caption_effects import Usefulness, is_judged, judged_captions, right_in_any
from caslie_tools.evaluation.clusters import Names, names_of
from caslie_tools.evaluation.metrics import reference_answer
from caslie_tools.evaluation.outcomes import Outcome, Treatment, TreatmentOutcome
from caslie_tools.tasks import Task, get_task

_MAX_LABEL_CHARACTERS: Final = 60
"""A longer response is no label of any task."""

Part = TypeVar("Part", bound=Hashable)


@dataclass(frozen=True, slots=True)
class ScoredTreatment:
    """What scores need to know of an answer. See :class:`~caslie_tools.evaluation.outcomes.TreatmentOutcome`."""

    answer: str | None
    """The label answered. Empty for an open question. ``None`` for an invalid answer."""
    text: str
    """The response as the reference scoring reads it. Empty for an open question."""
    right: bool
    fused: int
    """Number of captions fused."""
    failed: bool
    """Whether a model failed, so that there is no answer."""


@dataclass(frozen=True, slots=True)
class ScoredOutcome:
    """What scores need to know of an outcome. See :class:`~caslie_tools.evaluation.outcomes.Outcome`."""

    index: int
    key: str
    task: str
    split: str
    gold: str
    names: Names
    """The products and users of the instance."""
    treatments: Mapping[Treatment, ScoredTreatment]
    captions: tuple["ScoredCaption", ...]
    """The captions that the gate decided on, as far as their effect is known."""
    right_in_any: bool
    """Whether the answer is right with one of the evaluated selections of captions."""


@dataclass(frozen=True, slots=True)
class ScoredCaption:
    """What scores need to know of a caption. See :class:`~caslie_tools.evaluation.caption_effects.JudgedCaption`."""

    use: Usefulness
    kept: bool
    votes: tuple[tuple[str, Verdict], ...]
    """The name and the verdict of each judge."""


class OutcomeScorer:
    """Turns outcomes into scored ones, which share their equal parts."""

    def __init__(self) -> None:
        self._parts: dict[Hashable, Hashable] = {}

    def score(self, outcome: Outcome) -> ScoredOutcome:
        """Returns the scored outcome.

        Raises:
            UnknownTaskError: If its task is unknown.
        """
        task = get_task(outcome.task)
        captions = [
            self._shared(ScoredCaption(one.use, one.kept, tuple((vote.judge, vote.verdict) for vote in one.votes)))
            for one in judged_captions(outcome)
        ]
        return ScoredOutcome(
            index=outcome.index,
            key=outcome.key,
            task=task.name,
            split=self._shared(outcome.split),
            gold=self._shared(outcome.gold.strip()),
            names=self._shared(names_of(outcome)),
            treatments={
                self._shared(name): self._shared(_scored(task, treated)) for name, treated in outcome.treatments.items()
            },
            captions=self._shared(tuple(captions)),
            right_in_any=is_judged(outcome) and right_in_any(outcome),
        )

    def _shared(self, part: Part) -> Part:
        """Returns an equal value that was seen before, if there is one."""
        return self._parts.setdefault(part, part)  # type: ignore[return-value]  # equal, so of the same type


def _scored(task: Task, treated: TreatmentOutcome) -> ScoredTreatment:
    answer = treated.answer
    return ScoredTreatment(
        answer="" if task.is_open and answer is not None else answer,
        text="" if task.is_open else reference_answer(treated.text)[:_MAX_LABEL_CHARACTERS],
        right=treated.right,
        fused=treated.fused,
        failed=bool(treated.error),
    )
