"""Clusters: instances that share a product or a user, which are not independent of each other.

A caption of one product helps or misleads in all of its instances alike. Intervals, tests and folds that count such
instances one by one take chance for an effect.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from caslie_tools.data.records import Record
from caslie_tools.evaluation.outcomes import Outcome
from caslie_tools.evaluation.products import product_names

IntArray: TypeAlias = npt.NDArray[np.int64]
Names: TypeAlias = frozenset[str]
"""The names of the products and users of one instance. An instance without names is independent of all others."""

_SEED: Final = 20241022


def names_of(instance: Outcome | Record) -> Names:
    """Returns the names of the products and users of an instance."""
    products = instance.products if isinstance(instance, Outcome) else product_names(instance)
    return frozenset((*products, *(f"user:{user}" for user in instance.users)))


def main_clusters(names: Sequence[Names]) -> IntArray:
    """Returns one cluster per instance: that of the product or user that most instances have.

    Instances of different clusters may still share a product, such as pairs of products. See
    :func:`connected_clusters`.

    Returns:
        The number of each instance's cluster, from 0.
    """
    counts = Counter(name for each in names for name in each)
    numbers: dict[object, int] = {}
    return np.array(
        [
            numbers.setdefault(max(each, key=lambda name: (counts[name], name)) if each else index, len(numbers))
            for index, each in enumerate(names)
        ],
        dtype=np.int64,
    )


def count_clusters(names: Sequence[Names]) -> int:
    """Returns the number of different main clusters of instances."""
    return len(np.unique(main_clusters(names)))


def connected_clusters(names: Sequence[Names]) -> IntArray:
    """Returns the clusters of which no two share a product or a user. Chains of shared products are one cluster.

    Returns:
        The number of each instance's cluster, from 0.
    """
    leader = list(range(len(names)))

    def lead(index: int) -> int:
        while leader[index] != index:
            leader[index] = index = leader[leader[index]]
        return index

    first_with: dict[str, int] = {}
    for index, each in enumerate(names):
        for name in each:
            leader[lead(index)] = lead(first_with.setdefault(name, index))
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(lead(index), len(numbers)) for index in range(len(names))], dtype=np.int64)


def cluster_folds(names: Sequence[Names], labels: Sequence[int], count: int) -> Iterator[tuple[IntArray, IntArray]]:
    """Splits instances for a cross-validation, so that no product or user is in both parts of a fold.

    Args:
        names: The products and users of each instance.
        labels: A label of each instance. The folds have similar shares of each.
        count: Number of folds.

    Yields:
        For each fold, the rows to learn from and the rows to decide. Rows that share a product with the latter through
        a third one are in neither.
    """
    clusters = main_clusters(names)
    sizes = np.bincount(clusters)
    shares = np.bincount(clusters, weights=np.asarray(labels, dtype=np.float64)) / sizes
    shuffled = np.random.default_rng(_SEED).permutation(len(sizes))
    fold_of_cluster = np.empty(len(sizes), dtype=np.int64)
    fold_of_cluster[shuffled[np.argsort(shares[shuffled], kind="stable")]] = np.arange(len(sizes)) % count
    folds = fold_of_cluster[clusters]
    for fold in range(count):
        taken = {name for number, each in zip(folds, names, strict=True) if number == fold for name in each}
        seen = [number != fold and taken.isdisjoint(each) for number, each in zip(folds, names, strict=True)]
        yield np.flatnonzero(seen), np.flatnonzero(folds == fold)
