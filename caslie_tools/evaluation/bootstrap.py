"""Bootstrap: the headline metric of a task's answers, over random resamples of its clusters.

A cluster has all instances of a product (:mod:`caslie_tools.evaluation.clusters`). Whole clusters are drawn, because
the instances of a product are not independent.

For the metric, a resample is determined by how often it has each kind of instance (right answer and given answers), and
a cluster by the kinds of its instances. The counts of equal clusters are drawn from a multinomial distribution. This is
the same bootstrap, computed with a matrix product instead of a loop.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from caslie_tools.evaluation.clusters import IntArray, Names, main_clusters
from caslie_tools.evaluation.metrics import counted_answer, score_answers
from caslie_tools.evaluation.outcomes import Treatment
from caslie_tools.evaluation.scored_outcomes import ScoredOutcome
from caslie_tools.exceptions import InputError
from caslie_tools.tasks import Task

RESAMPLES: Final = 10_000
_SEED: Final = 20241022
_MAX_DRAWN: Final = 4_000_000
"""Maximum number of counts that are drawn at once, so that memory stays small."""

FloatArray: TypeAlias = npt.NDArray[np.float64]
Kind = TypeVar("Kind", tuple[Any, ...], float)
"""What a statistic needs to know of an instance."""


@dataclass(frozen=True)
class TaskAnswers:
    """The answers of one treatment to instances of one task."""

    task: Task
    gold: tuple[str, ...]
    answers: tuple[str | None, ...]
    """``None`` for an invalid answer."""
    right: tuple[bool, ...]
    names: tuple[Names, ...]
    """The products and users of each instance."""

    @cached_property
    def clusters(self) -> IntArray:
        """The number of each instance's main cluster."""
        return main_clusters(self.names)

    @property
    def cluster_count(self) -> int:
        """Number of different clusters."""
        return len(np.unique(self.clusters))

    @classmethod
    def from_outcomes(cls, task: Task, outcomes: Sequence[ScoredOutcome], treatment: Treatment) -> "TaskAnswers":
        """Collects the answers under one treatment. Every outcome must have this treatment."""
        given = [outcome.treatments[treatment] for outcome in outcomes]
        return cls(
            task=task,
            gold=tuple(outcome.gold for outcome in outcomes),
            answers=tuple(one.answer for one in given),
            right=tuple(one.right for one in given),
            names=tuple(outcome.names for outcome in outcomes),
        )

    @property
    def metric(self) -> str:
        """Name of the task's headline metric. For open questions: ``accuracy``."""
        return "accuracy" if self.task.metric is None else self.task.metric.name

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return sum(self.right) / len(self.right)

    @property
    def headline(self) -> float:
        """Value of the headline metric. An invalid answer is wrong."""
        return self.accuracy if self.task.metric is None else score_answers(self.task, self.answers, self.gold).value


def resampled_headlines(treatments: Sequence[TaskAnswers], *, seed: int, resamples: int = RESAMPLES) -> FloatArray:
    """Returns the headline metric of each treatment in each resample of the clusters (treatments x resamples).

    All treatments must answer the same instances, in the same order. A resample draws the same clusters for all of
    them, so the difference of two rows is a paired difference.

    Args:
        treatments: At least one, with at least one instance.
        seed: Seed of the resamples. Use another seed for each independent set of instances.
        resamples: Number of resamples.

    Raises:
        InputError: If there are no instances, or if the treatments answer different instances.
    """
    first = treatments[0]
    if not first.gold or any(one.gold != first.gold or one.task is not first.task for one in treatments):
        raise InputError("all treatments must answer the same instances, and at least one")
    # If the metric depends only on right and wrong, the labels do not matter. This reduces the number of kinds.
    by_label = first.metric in ("f1", "macro_f1")
    golds = first.gold if by_label else ("",) * len(first.gold)
    rows = zip(golds, *(_labels(one) if by_label else one.right for one in treatments), strict=True)
    kinds, weights = resampled_kinds(list(rows), first.clusters, seed=seed, resamples=resamples)
    columns = list(zip(*kinds, strict=True))
    return np.stack([_headline(first, columns[0], column, weights) for column in columns[1:]])


def resampled_kinds(
    instances: Sequence[Kind], clusters: IntArray, *, seed: int, resamples: int = RESAMPLES
) -> tuple[list[Kind], FloatArray]:
    """Draws clusters of instances, and counts how often each kind of instance is drawn.

    Args:
        instances: The kind of each instance.
        clusters: The number of each instance's cluster.
        seed: Seed of the resamples.
        resamples: Number of resamples.

    Returns:
        The kinds, sorted, and their counts in each resample (resamples x kinds).
    """
    kinds = sorted(set(instances))
    column = {kind: number for number, kind in enumerate(kinds)}
    kinds_in: dict[int, Counter[int]] = defaultdict(Counter)
    for cluster, kind in zip(clusters.tolist(), instances, strict=True):
        kinds_in[cluster][column[kind]] += 1
    equal = sorted(Counter(tuple(sorted(found.items())) for found in kinds_in.values()).items())
    shares = np.array([count for _, count in equal]) / len(kinds_in)
    contents = np.zeros((len(equal), len(kinds)))
    for number, (cluster_kinds, _) in enumerate(equal):
        for kind_number, count in cluster_kinds:
            contents[number, kind_number] = count
    random = np.random.default_rng([_SEED, seed])
    step = max(1, _MAX_DRAWN // len(equal))
    sizes = [min(step, resamples - start) for start in range(0, resamples, step)]
    return kinds, np.concatenate([random.multinomial(len(kinds_in), shares, size=size) @ contents for size in sizes])


def _labels(answered: TaskAnswers) -> list[str]:
    return [counted_answer(answered.task, *pair) for pair in zip(answered.answers, answered.gold, strict=True)]


def _headline(answered: TaskAnswers, golds: Sequence[str], column: Sequence[Any], weights: FloatArray) -> FloatArray:
    if answered.metric not in ("f1", "macro_f1"):
        return np.asarray(weights @ np.asarray(column, dtype=np.float64) / weights.sum(axis=1))
    metric = answered.task.metric
    positive = metric.positive if metric is not None and answered.metric == "f1" else None
    labels = sorted(set(golds)) if positive is None else [positive]
    actual = np.array([[gold == label for label in labels] for gold in golds], dtype=np.float64)
    predicted = np.array([[answer == label for label in labels] for answer in column], dtype=np.float64)
    true_positives, positives = weights @ (actual * predicted), weights @ actual
    denominator = positives + weights @ predicted
    f1 = np.divide(2 * true_positives, denominator, out=np.zeros_like(true_positives), where=denominator > 0)
    if positive is not None:
        return np.asarray(f1[:, 0])
    present = positives > 0  # as without resampling, the mean is over the labels that are right at least once
    return np.asarray((f1 * present).sum(axis=1) / present.sum(axis=1))
