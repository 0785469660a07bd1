"""Confidence intervals and paired tests.

Intervals are percentile bootstraps (Efron and Tibshirani 1993) of the task's headline metric. They draw products, not
instances, because the instances of one product are not independent. Two treatments of the same instances are compared
in pairs, by the interval of their difference and by the test of :mod:`caslie_tools.evaluation.clustered_test`. The test
needs no large sample. It depends on right and wrong only, not on the metric. A report has many tests, so its p-values
are adjusted (Holm 1979).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from caslie_tools.domain import FrozenModel, Probability
from caslie_tools.evaluation.bootstrap import FloatArray, TaskAnswers, resampled_headlines, resampled_kinds
from caslie_tools.evaluation.clustered_test import clustered_test
from caslie_tools.evaluation.clusters import Names, main_clusters
from caslie_tools.exceptions import InputError

LEVEL: Final = 0.95


class Interval(FrozenModel):
    """A confidence interval."""

    low: float
    high: float
    level: float = LEVEL

    @classmethod
    def of_mean(
        cls, values: Sequence[float], names: Sequence[Names], *, seed: int = 0, level: float = LEVEL
    ) -> "Interval":
        """Returns the bootstrap interval of a mean difference. There is one value from -1 to 1 per instance."""
        clusters = main_clusters(names)
        kinds, weights = resampled_kinds(values, clusters, seed=seed)
        resampled = weights @ np.array(kinds) / weights.sum(axis=1)
        return cls.of(resampled, clusters=len(np.unique(clusters)), lowest=-1, level=level)

    @property
    def sign(self) -> int:
        """1 if the interval is above 0, -1 if it is below 0, and 0 if it includes 0."""
        return int(self.low > 0) - int(self.high < 0)

    @classmethod
    def of(cls, resampled: FloatArray, *, clusters: int, lowest: float = 0.0, level: float = LEVEL) -> "Interval":
        """Returns the percentile interval of a score's resampled values.

        If all values are equal, for example because every answer is right, the bootstrap would give an interval without
        a width. The width is then that of the exact interval (Clopper and Pearson 1934) of a share that is 0 or 1.

        Args:
            resampled: The values. None is above 1.
            clusters: Number of clusters that were resampled.
            lowest: The lowest possible value: 0 for a score, -1 for a difference of scores.
            level: Level of the interval.
        """
        low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
        if resampled.min() == resampled.max():
            width = 1 - ((1 - level) / 2) ** (1 / clusters)
            return cls(low=max(float(low) - width, lowest), high=min(float(high) + width, 1.0), level=level)
        return cls(low=float(low), high=float(high), level=level)


class PairedTest(FrozenModel):
    """The comparison of two treatments, or of two runs, on the same instances of one task."""

    task: str
    split: str
    treatment: str | None = None
    """The treatment, if two runs are compared."""
    first: str
    """Name of the first treatment or run."""
    second: str
    """Name of the second treatment or run."""
    count: int
    """Number of instances that both have."""
    metric: str
    first_value: float
    second_value: float
    difference: float
    """Difference of the headline metric, first minus second."""
    interval: Interval
    """Interval of the difference."""
    only_first: int
    """Number of instances that only the first answers right."""
    only_second: int
    """Number of instances that only the second answers right."""
    clusters: int
    """Number of clusters that these instances form: those of one product or user are one cluster."""
    p_value: Probability
    """Of the paired test, two-sided."""
    adjusted: Probability
    """The p-value after Holm's correction for all tests of the report."""


def paired_test(
    first: TaskAnswers,
    second: TaskAnswers,
    *,
    names: tuple[str, str],
    split: str = "",
    seed: int = 0,
    level: float = LEVEL,
) -> PairedTest:
    """Compares two treatments of the same instances. ``adjusted`` is not adjusted yet: see :func:`adjust`.

    Args:
        first: The first treatment's answers.
        second: The second treatment's answers to the same instances.
        names: Names of the two.
        split: The split of the instances.
        seed: See :func:`~caslie_tools.evaluation.bootstrap.resampled_headlines`.
        level: Level of the interval.

    Raises:
        InputError: If the treatments answer different instances, or no instances.
        MissingExtraError: If scipy is not installed.
    """
    resampled = resampled_headlines([first, second], seed=seed)
    pairs = list(zip(first.right, second.right, strict=True))
    differences = [int(one) - int(other) for one, other in pairs]
    test = clustered_test(differences, first.names)
    return PairedTest(
        task=first.task.name,
        split=split,
        first=names[0],
        second=names[1],
        count=len(pairs),
        metric=first.metric,
        first_value=first.headline,
        second_value=second.headline,
        difference=first.headline - second.headline,
        interval=Interval.of(resampled[0] - resampled[1], clusters=first.cluster_count, lowest=-1, level=level),
        only_first=differences.count(1),
        only_second=differences.count(-1),
        clusters=test.clusters,
        p_value=test.p_value,
        adjusted=test.p_value,
    )


def bonferroni(count: int) -> float:
    """Returns the confidence level for each of ``count`` statements so that all of them together have :data:`LEVEL`."""
    return 1 - (1 - LEVEL) / count


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values after Holm's step-down correction, in the same order."""
    if any(not 0 <= p_value <= 1 for p_value in p_values):
        raise InputError("a p-value must be between 0 and 1")
    adjusted = [0.0] * len(p_values)
    previous = 0.0
    for rank, position in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        previous = max(previous, min(1.0, p_values[position] * (len(p_values) - rank)))
        adjusted[position] = previous
    return adjusted


def adjust(tests: Sequence[PairedTest]) -> tuple[PairedTest, ...]:
    """Returns the tests of one report with p-values adjusted for the number of tests."""
    adjusted = holm([test.p_value for test in tests])
    return tuple(test.model_copy(update={"adjusted": p_value}) for test, p_value in zip(tests, adjusted, strict=True))
