"""Intervals and tests: how far a figure can be trusted.

Intervals are percentile bootstraps over instances (Efron and Tibshirani 1993), of the task's own headline metric. Two
treatments of the same instances are compared in pairs: the interval of their difference, and McNemar's exact test,
which asks of the instances that only one of the two got right whether they fall to both sides alike. It needs no
assumption on the size of the sample and is about right and wrong, whatever the metric. A report tests many pairs, so
its p-values are adjusted (Holm 1979).
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from caslie_tools._optional import require
from caslie_tools.domain import FrozenModel, Probability
from caslie_tools.evaluation.answers import Answered, Values, resampled_counts, resampled_headlines
from caslie_tools.exceptions import InputError

LEVEL: Final = 0.95


class Interval(FrozenModel):
    """A confidence interval."""

    low: float
    high: float
    level: float = LEVEL

    @classmethod
    def of_mean(cls, values: Sequence[float], *, seed: int = 0, level: float = LEVEL) -> "Interval":
        """Returns the bootstrap interval of the mean of values, one per instance."""
        kinds = sorted(Counter(values).items())
        weights = resampled_counts([size for _, size in kinds], seed=seed)
        return cls.of(weights @ np.array([value for value, _ in kinds]) / len(values), level=level)

    @property
    def sign(self) -> int:
        """1 if all of it is above 0, -1 if all is below, 0 if it includes 0."""
        return int(self.low > 0) - int(self.high < 0)

    @classmethod
    def of(cls, resampled: Values, *, level: float = LEVEL) -> "Interval":
        """Returns the percentile interval of a statistic's resampled values."""
        low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
        return cls(low=float(low), high=float(high), level=level)


class PairedTest(FrozenModel):
    """Two treatments, or two runs, on the same instances of one task."""

    task: str
    split: str
    treatment: str | None = None
    """That of both, where two runs are compared."""
    first: str
    second: str
    count: int
    """Instances that both have."""
    metric: str
    first_value: float
    second_value: float
    difference: float
    """Of the headline metric, first minus second."""
    interval: Interval
    """Of the difference."""
    only_first: int
    """Instances that only the first got right."""
    only_second: int
    p_value: Probability
    """McNemar's, exact and two-sided."""
    adjusted: Probability
    """The p-value after Holm's correction over all tests of the report."""


def paired_test(
    first: Answered,
    second: Answered,
    *,
    names: tuple[str, str],
    split: str = "",
    seed: int = 0,
    level: float = LEVEL,
) -> PairedTest:
    """Compares two treatments of the same instances. ``adjusted`` is as yet the p-value itself: see :func:`adjust`.

    Args:
        first: The one's answers.
        second: The other's, to the same instances.
        names: What the two are called.
        split: Where the instances are from.
        seed: See :func:`~caslie_tools.evaluation.answers.resampled_headlines`.
        level: Of the interval.

    Raises:
        InputError: If they answer different instances, or none.
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
    """Returns the two-sided p-value of McNemar's exact test, from the counts of the discordant pairs.

    Raises:
        MissingExtraError: If scipy is not installed.
    """
    if only_first + only_second == 0:
        return 1.0
    stats = require("scipy.stats", "evaluation", "A paired test")
    return float(stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)


def bonferroni(count: int) -> float:
    """Returns the level at which each of so many calls is made, so that all together hold at :data:`LEVEL`."""
    return 1 - (1 - LEVEL) / count


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values after Holm's step-down correction, in the same order."""
    if any(not 0 <= p_value <= 1 for p_value in p_values):
        raise InputError("a p-value is 0 to 1")
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        least = max(least, min(1.0, p_values[place] * (len(p_values) - rank)))
        adjusted[place] = least
    return adjusted


def adjust(tests: Sequence[PairedTest]) -> tuple[PairedTest, ...]:
    """Returns the tests of one report with their p-values adjusted for how many they are."""
    adjusted = holm([test.p_value for test in tests])
    return tuple(test.model_copy(update={"adjusted": p_value}) for test, p_value in zip(tests, adjusted, strict=True))
