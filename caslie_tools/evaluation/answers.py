"""The answers to some instances of one task, and their headline metric, also over resamples of the instances.

A resample of the instances only says how often each kind of instance (right answer, given answers) was drawn. So it is
drawn as such, as counts from a multinomial distribution: the same bootstrap, a matrix product instead of a loop.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from caslie_tools.evaluation.metrics import counted_answer, score
from caslie_tools.evaluation.outcomes import Outcome, Treatment
from caslie_tools.exceptions import InputError
from caslie_tools.tasks import Task

RESAMPLES: Final = 10_000
_SEED: Final = 20241022

Values: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Answered:
    """One treatment's answers to some instances of one task."""

    task: Task
    gold: tuple[str, ...]
    answers: tuple[str | None, ...]
    """``None`` for an invalid one."""
    right: tuple[bool, ...]

    @classmethod
    def of(cls, task: Task, outcomes: Sequence[Outcome], treatment: Treatment) -> "Answered":
        """Collects the answers under one treatment; every outcome must have it."""
        given = [outcome.treatments[treatment] for outcome in outcomes]
        return cls(
            task=task,
            gold=tuple(outcome.gold.strip() for outcome in outcomes),
            answers=tuple(one.answer for one in given),
            right=tuple(one.right for one in given),
        )

    @property
    def metric(self) -> str:
        """The task's headline metric; for open questions the share of right answers."""
        return "accuracy" if self.task.metric is None else self.task.metric.name

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return sum(self.right) / len(self.right)

    @property
    def headline(self) -> float:
        """The headline metric; an invalid answer is a wrong one."""
        return self.accuracy if self.task.metric is None else score(self.task, self.answers, self.gold).value


def resampled_headlines(treatments: Sequence[Answered], *, seed: int, resamples: int = RESAMPLES) -> Values:
    """Returns the headline metric of each treatment in each resample of the instances (treatments x resamples).

    The treatments answer the same instances, in the same order: a resample draws an instance for all of them at once,
    so that the difference of two rows is that of paired samples.

    Args:
        treatments: At least one, with at least one instance.
        seed: The same one draws the same; give every independent set of instances its own.
        resamples: How many resamples.

    Raises:
        InputError: If there is no instance, or the treatments answer different ones.
    """
    first = treatments[0]
    if not first.gold or any(one.gold != first.gold or one.task is not first.task for one in treatments):
        raise InputError("treatments are compared on the same instances, at least one")
    # Where only right and wrong count, there are only so many kinds of instances.
    by_label = first.metric in ("f1", "macro_f1")
    golds = first.gold if by_label else ("",) * len(first.gold)
    rows = zip(golds, *(_labels(one) if by_label else one.right for one in treatments), strict=True)
    kinds = sorted(Counter(rows).items())
    sizes = [size for _, size in kinds]
    weights = resampled_counts(sizes, seed=seed, resamples=resamples)
    columns = list(zip(*(kind for kind, _ in kinds), strict=True))
    return np.stack([_headline(first, columns[0], column, weights) for column in columns[1:]])


def resampled_counts(sizes: Sequence[int], *, seed: int, resamples: int = RESAMPLES) -> Values:
    """Returns how often each kind of instance is drawn in each resample (resamples x kinds).

    Args:
        sizes: How many instances of each kind there are.
        seed: The same one draws the same.
        resamples: How many resamples.
    """
    count = sum(sizes)
    drawn = np.random.default_rng([_SEED, seed]).multinomial(count, np.array(sizes) / count, size=resamples)
    return drawn.astype(np.float64)


def _labels(answered: Answered) -> list[str]:
    return [counted_answer(answered.task, *pair) for pair in zip(answered.answers, answered.gold, strict=True)]


def _headline(answered: Answered, golds: Sequence[str], column: Sequence[Any], weights: Values) -> Values:
    if answered.metric not in ("f1", "macro_f1"):
        return np.asarray(weights @ np.asarray(column, dtype=np.float64) / weights.sum(axis=1))
    metric = answered.task.metric
    positive = metric.positive if metric is not None and answered.metric == "f1" else None
    labels = sorted(set(golds)) if positive is None else [positive]
    actual = np.array([[gold == label for label in labels] for gold in golds], dtype=np.float64)
    predicted = np.array([[answer == label for label in labels] for answer in column], dtype=np.float64)
    hits, there = weights @ (actual * predicted), weights @ actual
    called = there + weights @ predicted
    f1 = np.divide(2 * hits, called, out=np.zeros_like(hits), where=called > 0)
    if positive is not None:
        return np.asarray(f1[:, 0])
    present = there > 0  # the mean is over the labels that are right at least once, in this resample too
    return np.asarray((f1 * present).sum(axis=1) / present.sum(axis=1))
