"""Scores, paired tests and costs of a run's treatments.

An invalid answer is wrong in every score. Beside each stands what the reference scoring, which drops invalid answers,
would have printed: for comparing with published numbers, and to see how much dropping flatters.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from caslie_tools.domain import FrozenModel
from caslie_tools.evaluation.answers import Answered, Values, resampled_headlines
from caslie_tools.evaluation.intervals import LEVEL, Interval, PairedTest, adjust, paired_test
from caslie_tools.evaluation.metrics import reference_score, score
from caslie_tools.evaluation.outcomes import TREATMENTS, Outcome, Treatment
from caslie_tools.evaluation.reading import Group

PAIRS: Final[tuple[tuple[Treatment, Treatment], ...]] = (
    ("gated", "none"),
    ("gated", "every"),
    ("every", "none"),
    ("every", "plain"),
    ("every", "given"),
)
"""What is compared: is the picture worth it, is the gate, are captions at all, is their context, are our own."""


class TreatmentScore(FrozenModel):
    """How one treatment of one task's instances fared. Every figure but the counts is a share from 0 to 1."""

    task: str
    split: str
    treatment: Treatment
    count: int
    metric: str
    """The task's headline metric; for open questions the share of right answers."""
    value: float
    """Its value."""
    interval: Interval
    accuracy: float
    macro_f1: float | None
    """``None`` for open questions, which have no labels; so is the next one."""
    recall_at_1: float | None
    """The same as the accuracy, as every instance has one right answer."""
    invalid: float
    """Answers that are none of the task's; they count as wrong."""
    failed: float
    """Answers that are missing because a model failed; among the invalid ones."""
    reference: float | None
    """The headline metric by the reference scoring; ``None`` if no valid answer is left."""


class TreatmentCost(FrozenModel):
    """What a treatment took over all instances, as if it were the only one."""

    treatment: Treatment
    count: int
    captioner_calls: int
    judge_calls: int
    predictor_calls: int
    cached_captions: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    cached: float | None
    """The share of captions that needed no call; ``None`` without captions."""


class Average(FrozenModel):
    """The mean of the headline metric over tasks (and splits), each counting the same."""

    value: float
    interval: Interval


def score_treatments(group: Group, *, seed: int = 0) -> list[TreatmentScore]:
    """Scores every treatment of one task's instances, over the instances that have it.

    Raises:
        MissingExtraError: If scikit-learn is not installed.
    """
    treated = {name: group.treated(name) for name in TREATMENTS}
    return [_score(group, name, outcomes, seed) for name, outcomes in treated.items() if outcomes]


def _score(group: Group, treatment: Treatment, outcomes: Sequence[Outcome], seed: int) -> TreatmentScore:
    answered = Answered.of(group.task, outcomes, treatment)
    count = len(outcomes)
    valid = [right for right, answer in zip(answered.right, answered.answers, strict=True) if answer is not None]
    if group.task.metric is None:
        macro_f1 = None
        reference = sum(valid) / len(valid) if valid else None
    else:
        macro_f1 = score(group.task, answered.answers, answered.gold).macro_f1
        reference = reference_score(group.task, answered.answers, answered.gold).value if valid else None
    return TreatmentScore(
        task=group.task.name,
        split=group.split,
        treatment=treatment,
        count=count,
        metric=answered.metric,
        value=answered.headline,
        interval=Interval.of(resampled_headlines([answered], seed=seed)[0]),
        accuracy=answered.accuracy,
        macro_f1=macro_f1,
        recall_at_1=None if group.task.metric is None else answered.accuracy,
        invalid=1 - len(valid) / count,
        failed=sum(bool(outcome.treatments[treatment].error) for outcome in outcomes) / count,
        reference=reference,
    )


def compare_treatments(groups: Sequence[Group]) -> tuple[PairedTest, ...]:
    """Tests every pair of :data:`PAIRS` on the instances that have both, adjusted for the number of tests.

    Raises:
        MissingExtraError: If scipy or scikit-learn is not installed.
    """
    return adjust(
        [
            compare_pair(group, pair, seed=seed)
            for seed, group in enumerate(groups)
            for pair in PAIRS
            if group.treated(*pair)
        ]
    )


def compare_pair(group: Group, pair: tuple[Treatment, Treatment], *, seed: int = 0, level: float = LEVEL) -> PairedTest:
    """Compares two treatments of one task's instances, over those that have both: at least one.

    Raises:
        MissingExtraError: If scipy is not installed.
    """
    outcomes = group.treated(*pair)
    first, second = (Answered.of(group.task, outcomes, treatment) for treatment in pair)
    return paired_test(first, second, names=pair, split=group.split, seed=seed, level=level)


def average(groups: Sequence[Group], treatment: Treatment, *, beside: Treatment | None = None) -> Average | None:
    """Averages a treatment's headline metric over tasks, or its difference to another treatment's.

    The instances of each task are resampled by themselves: the tasks are these ones, not drawn from many.

    Returns:
        ``None`` if a task lacks a treatment.
    """
    names = (treatment,) if beside is None else (treatment, beside)
    if not groups or not all(group.treated(*names) for group in groups):
        return None
    values: list[float] = []
    resampled: list[Values] = []
    for seed, group in enumerate(groups):
        answered = [Answered.of(group.task, group.treated(*names), name) for name in names]
        drawn = resampled_headlines(answered, seed=seed)
        values.append(answered[0].headline - (answered[1].headline if beside else 0))
        resampled.append(drawn[0] - (drawn[1] if beside else 0))
    return Average(value=sum(values) / len(values), interval=Interval.of(np.mean(resampled, axis=0)))


def treatment_costs(groups: Sequence[Group]) -> list[TreatmentCost]:
    """Adds up what each treatment took."""
    return [
        _cost(treatment, outcomes)
        for treatment in TREATMENTS
        if (outcomes := [outcome for group in groups for outcome in group.treated(treatment)])
    ]


def _cost(treatment: Treatment, outcomes: Sequence[Outcome]) -> TreatmentCost:
    costs = [outcome.treatments[treatment].cost for outcome in outcomes]
    cached, made = sum(cost.cached_captions for cost in costs), sum(cost.captioner_calls for cost in costs)
    return TreatmentCost(
        treatment=treatment,
        count=len(costs),
        captioner_calls=made,
        judge_calls=sum(cost.judge_calls for cost in costs),
        predictor_calls=sum(cost.predictor_calls for cost in costs),
        cached_captions=cached,
        prompt_tokens=sum(cost.prompt_tokens for cost in costs),
        completion_tokens=sum(cost.completion_tokens for cost in costs),
        seconds=sum(cost.seconds for cost in costs),
        cached=cached / (cached + made) if cached + made else None,
    )
