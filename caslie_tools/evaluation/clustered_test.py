"""The paired test of right and wrong answers, for instances that share products or users.

The test asks how probable the difference in right answers would be if chance decided which treatment is which. It
decides once for all instances of a cluster, which are those of one product or user. It is exact. If every instance is a
cluster of its own, it is McNemar's test, which compares the number of instances that only the first treatment answers
right with the number that only the second does.

Instances with several products or users, such as pairs of products, belong to one cluster and share a product with
others. The p-value is then at least that of a second test: the difference is compared with a normal distribution, whose
variance includes every two instances that share a product or user (Aronow, Samii and Assenova, "Cluster-robust variance
estimation for dyadic data", Political Analysis 2015).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from caslie_tools._optional import require
from caslie_tools.evaluation.clusters import Names, connected_clusters, main_clusters

_MAX_NAMES: Final = 5
"""Of an instance with more products and users, only the most frequent ones count."""


@dataclass(frozen=True)
class ClusteredTest:
    """The result of the test."""

    p_value: float
    """Two-sided."""
    clusters: int
    """Number of clusters of the instances whose answer differs."""


def clustered_test(differences: Sequence[int], names: Sequence[Names]) -> ClusteredTest:
    """Tests whether two treatments differ.

    Args:
        differences: 1 for an instance that only the first treatment answers right, -1 for one that only the second
            does, otherwise 0.
        names: The products and users of each instance.

    Raises:
        MissingExtraError: If scipy is not installed.
    """
    changed = [index for index, difference in enumerate(differences) if difference]
    if not changed:
        return ClusteredTest(p_value=1.0, clusters=0)
    values, named = [differences[index] for index in changed], [names[index] for index in changed]
    clusters = main_clusters(named)
    sums = [int(one) for one in np.bincount(clusters, weights=values)]
    p_value = exact_p_value(sums)
    if len(np.unique(connected_clusters(named))) < len(sums):
        variance = max(_shared_variance(values, named), sum(one * one for one in sums))
        p_value = max(p_value, math.erfc(abs(sum(values)) / math.sqrt(2 * variance)))
    return ClusteredTest(p_value=p_value, clusters=len(sums))


def exact_p_value(sums: Sequence[int]) -> float:
    """Returns the two-sided p-value of the exact test.

    It is the probability that the total is as far from 0 as it is, or farther, if the sign of every sum is random.

    Args:
        sums: The sum of the differences in each cluster.

    Raises:
        MissingExtraError: If scipy is not installed.
    """
    sizes = Counter(abs(one) for one in sums if one)
    if not sizes:
        return 1.0
    stats = require("scipy.stats", "evaluation", "A paired test")
    signal = require("scipy.signal", "evaluation", "A paired test")
    distribution = np.ones(1)  # of the sum of those that are positive
    for size, count in sorted(sizes.items()):
        steps = np.zeros(size * count + 1)
        steps[::size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        distribution = signal.convolve(distribution, steps)
    totals = 2 * np.arange(len(distribution)) - (len(distribution) - 1)
    return float(min(1.0, max(0.0, distribution[np.abs(totals) >= abs(sum(sums))].sum())))


def _shared_variance(values: Sequence[int], names: Sequence[Names]) -> int:
    """Returns the sum of the products of all two values whose instances share a name, each value with itself included.

    Instances that share several names must count once. By inclusion and exclusion, their squared sums are added for
    single names, subtracted for two names, and so on.
    """
    frequency = Counter(name for each in names for name in each)
    sums: defaultdict[tuple[object, ...], int] = defaultdict(int)
    for index, (value, each) in enumerate(zip(values, names, strict=True)):
        for subset in _subsets(sorted(each, key=lambda name: (-frequency[name], name))[:_MAX_NAMES] or [index]):
            sums[subset] += value
    return sum((1 if len(subset) % 2 else -1) * total * total for subset, total in sums.items())


def _subsets(names: Sequence[object]) -> Iterable[tuple[object, ...]]:
    ordered = sorted(names, key=str)
    return (subset for size in range(1, len(ordered) + 1) for subset in combinations(ordered, size))
