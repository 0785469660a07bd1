"""The scores, paired tests and costs of a run's treatments. One list of answers is scored in ``metrics``.

An invalid answer is wrong in every score. Each score also has the value of the reference scoring, which drops invalid
answers: for comparisons with published numbers, and to see how much dropping raises the score.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np

from caslie_tools.domain import FrozenModel
from caslie_tools.evaluation.bootstrap import FloatArray, TaskAnswers, resampled_headlines
from caslie_tools.evaluation.groups import OutcomeGroup, treatments_of
from caslie_tools.evaluation.metrics import reference_scores, score_answers
from caslie_tools.evaluation.outcomes import Cost, Outcome, Treatment, sort_treatments
from caslie_tools.evaluation.scored_outcomes import ScoredOutcome
from caslie_tools.evaluation.significance import LEVEL, Interval, PairedTest, adjust, paired_test
from caslie_tools.exceptions import InputError
from caslie_tools.tasks import Task

PAIRS: Final[tuple[tuple[Treatment, Treatment], ...]] = (
    ("gated", "none"),
    ("gated", "every"),
    ("text_first", "gated"),
    ("every", "none"),
    ("every", "plain"),
    ("every", "general"),
    ("every", "given"),
    ("given_gated", "none"),
    ("given_gated", "given"),
)
"""The pairs of treatments that are compared.

They answer, in this order: are gated captions worth it, is the gate, does looking only if needed lose answers, are
captions without a gate worth it, is the context of a caption, is its task, are new captions better than those in the
data, and are gated captions in the data worth it, and is their gate?"""


class TreatmentScore(FrozenModel):
    """The scores of one treatment of one task. All values except the count are shares from 0 to 1."""

    task: str
    split: str
    treatment: Treatment
    count: int
    metric: str
    """Name of the task's headline metric. For open questions: ``accuracy``."""
    value: float
    """Value of the headline metric."""
    interval: Interval
    """Interval of the headline metric."""
    accuracy: float
    precision: float | None
    """Of the positive label, if the headline metric is its F1. Otherwise the mean over the labels. ``None`` for open
    questions."""
    recall: float | None
    """As ``precision``."""
    macro_f1: float | None
    """``None`` for open questions, which have no labels."""
    recall_at_1: float | None
    """Equal to the accuracy, because each instance has one right answer. ``None`` for open questions."""
    invalid: float
    """Share of answers that are not a label of the task. They count as wrong."""
    failed: float
    """Share of answers that are missing because a model failed. They are included in ``invalid``."""
    reference: float | None
    """Headline metric by the reference scoring of the models' responses. ``None`` if it drops all of them."""


class TreatmentCost(FrozenModel):
    """The total cost of a treatment over all instances, as if it were the only treatment."""

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
    """Share of captions found in the store. ``None`` without captions."""


class Average(FrozenModel):
    """The mean of the headline metric over tasks, each with the same weight."""

    value: float
    interval: Interval


def score_treatments(group: OutcomeGroup) -> list[TreatmentScore]:
    """Scores each treatment of one task, on the instances that have the treatment.

    Raises:
        MissingExtraError: If scikit-learn is not installed.
    """
    treated = {name: group.with_treatments(name) for name in treatments_of([group])}
    return [_score(group, name, outcomes) for name, outcomes in treated.items() if outcomes]


def _score(group: OutcomeGroup, treatment: Treatment, outcomes: Sequence[ScoredOutcome]) -> TreatmentScore:
    answered = TaskAnswers.from_outcomes(group.task, outcomes, treatment)
    count = len(outcomes)
    valid = [right for right, answer in zip(answered.right, answered.answers, strict=True) if answer is not None]
    if group.task.metric is None:
        scores = None
        reference = sum(valid) / len(valid) if valid else None
    else:
        scores = score_answers(group.task, answered.answers, answered.gold)
        texts = [outcome.treatments[treatment].text for outcome in outcomes]
        reference = _reference(group.task, texts, answered.gold)
    return TreatmentScore(
        task=group.task.name,
        split=group.split,
        treatment=treatment,
        count=count,
        metric=answered.metric,
        value=answered.headline,
        interval=Interval.of(resampled_headlines([answered], seed=group.seed)[0], clusters=answered.cluster_count),
        accuracy=answered.accuracy,
        precision=scores and scores.precision,
        recall=scores and scores.recall,
        macro_f1=scores and scores.macro_f1,
        recall_at_1=scores and scores.accuracy,
        invalid=1 - len(valid) / count,
        failed=sum(outcome.treatments[treatment].failed for outcome in outcomes) / count,
        reference=reference,
    )


def _reference(task: Task, texts: Sequence[str], gold: Sequence[str]) -> float | None:
    try:
        return reference_scores(task, texts, gold).value
    except InputError:  # no response is left
        return None


def compare_treatments(groups: Sequence[OutcomeGroup]) -> tuple[PairedTest, ...]:
    """Tests each pair of :data:`PAIRS` on the instances that have both. The p-values are adjusted for all tests.

    Raises:
        MissingExtraError: If scipy or scikit-learn is not installed.
    """
    return adjust([compare_pair(group, pair) for group in groups for pair in PAIRS if group.with_treatments(*pair)])


def compare_pair(group: OutcomeGroup, pair: tuple[Treatment, Treatment], *, level: float = LEVEL) -> PairedTest:
    """Compares two treatments of one task, on the instances that have both. There must be at least one.

    Raises:
        MissingExtraError: If scipy is not installed.
    """
    outcomes = group.with_treatments(*pair)
    first, second = (TaskAnswers.from_outcomes(group.task, outcomes, treatment) for treatment in pair)
    return paired_test(first, second, names=pair, split=group.split, seed=group.seed, level=level)


def average_headline(
    groups: Sequence[OutcomeGroup], treatment: Treatment, *, minus: Treatment | None = None
) -> Average | None:
    """Averages the headline metric of a treatment over tasks.

    Products are resampled within each task. Tasks are not resampled: the average is about these tasks only.

    Args:
        groups: The outcomes by task and split.
        treatment: The treatment.
        minus: Another treatment. With it, the differences between the two are averaged.

    Returns:
        ``None`` if a task lacks a treatment.
    """
    names = (treatment,) if minus is None else (treatment, minus)
    if not groups or not all(group.with_treatments(*names) for group in groups):
        return None
    values: list[float] = []
    resampled: list[FloatArray] = []
    clusters = 0
    for group in groups:
        answered = [TaskAnswers.from_outcomes(group.task, group.with_treatments(*names), name) for name in names]
        drawn = resampled_headlines(answered, seed=group.seed)
        values.append(answered[0].headline - (answered[1].headline if minus else 0))
        resampled.append(drawn[0] - (drawn[1] if minus else 0))
        clusters += answered[0].cluster_count
    interval = Interval.of(np.mean(resampled, axis=0), clusters=clusters, lowest=-1 if minus else 0)
    return Average(value=sum(values) / len(values), interval=interval)


class CostTotals:
    """Adds up the costs of each treatment."""

    def __init__(self) -> None:
        self._counts: Counter[Treatment] = Counter()
        self._sums: defaultdict[Treatment, Counter[str]] = defaultdict(Counter)

    def add(self, outcome: Outcome) -> None:
        """Adds the costs of one instance."""
        for treatment, treated in outcome.treatments.items():
            self._counts[treatment] += 1
            self._sums[treatment].update(dict(treated.cost))

    def totals(self) -> list[TreatmentCost]:
        """Returns the total cost of each treatment."""
        return [
            TreatmentCost(
                treatment=treatment,
                count=self._counts[treatment],
                cached=_cached_share(sums["cached_captions"], sums["captioner_calls"]),
                **{name: sums[name] for name in Cost.model_fields},
            )
            for treatment in sort_treatments(self._counts)
            for sums in [self._sums[treatment]]
        ]


def _cached_share(cached: int, made: int) -> float | None:
    return cached / (cached + made) if cached + made else None
