"""Confidence intervals and paired tests.

Intervals are percentile bootstraps over instances (Efron and Tibshirani 1993) of the task's headline metric. Two
treatments of the same instances are compared in pairs, by the interval of their difference and by McNemar's exact test.
McNemar's test compares the number of instances that only the first treatment answers right with the number that only
the second does. It needs no large sample, and it depends on right and wrong only, not on the metric. A report has many
tests, so its p-values are adjusted (Holm 1979).
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from caslie_tools._optional import require
from caslie_tools.domain import FrozenModel, Probability
from caslie_tools.evaluation.bootstrap import FloatArray, TaskAnswers, resampled_counts, resampled_headlines
from caslie_tools.exceptions import InputError

LEVEL: Final = 0.95


class Interval(FrozenModel):
    """A confidence interval."""

    low: float
    high: float
    level: float = LEVEL

    @classmethod
    def of_mean(cls, values: Sequence[float], *, seed: int = 0, level: float = LEVEL) -> "Interval":
        """Returns the bootstrap interval of a mean. There is one value per instance."""
        kinds = sorted(Counter(values).items())
        weights = resampled_counts([size for _, size in kinds], seed=seed)
        return cls.of(weights @ np.array([value for value, _ in kinds]) / len(values), level=level)

    @property
    def sign(self) -> int:
        """1 if the interval is above 0, -1 if it is below 0, and 0 if it includes 0."""
        return int(self.low > 0) - int(self.high < 0)

    @classmethod
    def of(cls, resampled: FloatArray, *, level: float = LEVEL) -> "Interval":
        """Returns the percentile interval of a statistic's resampled values."""
        low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
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
    p_value: Probability
    """Of McNemar's exact test, two-sided."""
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
    only_first, only_second = pairs.count((True, False)), pairs.count((False, True))
    p_value = mcnemar(only_first, only_second)
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
        interval=Interval.of(resampled[0] - resampled[1], level=level),
        only_first=only_first,
        only_second=only_second,
        p_value=p_value,
        adjusted=p_value,
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Returns the two-sided p-value of McNemar's exact test, from the numbers of discordant pairs.

    Raises:
        MissingExtraError: If scipy is not installed.
    """
    if only_first + only_second == 0:
        return 1.0
    stats = require("scipy.stats", "evaluation", "A paired test")
    return float(stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)


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
