"""The paired test, against values by hand, by enumeration and by simulation."""

import operator
import random
from collections.abc import Sequence
from itertools import product

import pytest

pytest.importorskip("scipy", reason="tests need the extra 'evaluation'")

from scipy import stats

from caslie_tools.evaluation.clustered_test import clustered_test, exact_p_value
from caslie_tools.evaluation.clusters import Names


def names(*texts: str) -> list[Names]:
    return [frozenset(text.split()) for text in texts]


def test_without_shared_products_the_exact_test_is_mcnemars() -> None:
    def mcnemar(only_first: int, only_second: int) -> float:
        return exact_p_value([1] * only_first + [-1] * only_second)

    # Two-sided binomial tail, by hand: 22 / 2**10 for 1 of 10, and 2 * (1 + 10 + 45 + 120 + 210) / 2**10 for 4 of 10.
    assert mcnemar(1, 9) == mcnemar(9, 1) == pytest.approx(22 / 1024)
    assert mcnemar(4, 6) == pytest.approx(2 * (1 + 10 + 45 + 120 + 210) / 1024)
    assert mcnemar(5, 5) == pytest.approx(1)
    assert mcnemar(0, 0) == 1
    # Agresti, Categorical Data Analysis (approval of the prime minister): 86 and 150 discordant pairs.
    assert mcnemar(86, 150) == pytest.approx(3.716e-05, rel=1e-3)


@pytest.mark.parametrize("sums", [[5], [3, -1, 2], [4, 4, -1, 1, 1, -2], [0, 2, 0], [-6, -6, -6, 1]])
def test_the_exact_test_is_that_of_all_signs(sums: list[int]) -> None:
    totals = [sum(map(operator.mul, signs, sums)) for signs in product((1, -1), repeat=len(sums))]
    expected = sum(abs(total) >= abs(sum(sums)) for total in totals) / len(totals)
    assert exact_p_value(sums) == pytest.approx(expected)


def test_the_exact_test_of_many_instances_is_exact() -> None:
    expected = stats.binomtest(30_000, 59_000).pvalue
    for size in (1, 2):
        assert exact_p_value([size] * 30_000 + [-size] * 29_000) == pytest.approx(expected)


def test_the_instances_of_a_product_or_user_are_one_cluster() -> None:
    test = clustered_test([1, 1, 1, -1, 1, 0, 0], names("a", "a", "user:b", "user:b", "", "c", "d"))
    assert test.clusters == 3
    assert test.p_value == exact_p_value([2, 0, 1])
    assert clustered_test([0, 0], names("a", "b")) == clustered_test([], [])


def shared_variance(differences: Sequence[int], named: Sequence[Names]) -> int:
    """The variance of the second test, by its definition."""
    places = range(len(differences))
    return sum(
        differences[one] * differences[other]
        for one in places
        for other in places
        if one == other or named[one] & named[other]
    )


def test_pairs_that_share_products_in_part_are_not_counted_as_independent() -> None:
    draw = random.Random(1)  # noqa: S311 (made-up pairs)
    named = [frozenset(draw.sample("abcdefghijklmnop", 2)) for _ in range(60)]
    differences = [draw.choice([1, 1, 1, -1, 0]) for _ in range(60)]
    test = clustered_test(differences, named)
    deviation = abs(sum(differences)) / shared_variance(differences, named) ** 0.5
    assert test.p_value == pytest.approx(2 * stats.norm.sf(deviation))
    single = exact_p_value([one for one in differences if one])
    assert test.p_value > 10 * single


def test_a_large_effect_is_found_among_pairs_that_are_all_connected() -> None:
    draw = random.Random(2)  # noqa: S311 (made-up pairs)
    products = [f"p{number}" for number in range(60)]
    named = [frozenset(draw.sample(products, 2)) for _ in range(200)]
    differences = [int(draw.random() < 0.69) - int(draw.random() < 0.31) for _ in named]
    assert clustered_test(differences, named).p_value < 0.001


@pytest.mark.parametrize(("products", "pairs"), [(60, 120), (20, 100)])
def test_pairs_without_an_effect_are_found_to_differ_at_most_at_the_nominal_rate(products: int, pairs: int) -> None:
    """Every product helps or misleads in all of its pairs, or its partner does: chance decides."""
    draw = random.Random(3)  # noqa: S311 (made-up pairs)
    found = 0
    for _ in range(300):
        effects = [draw.choice([1, -1]) for _ in range(products)]
        drawn = [draw.sample(range(products), 2) for _ in range(pairs)]
        differences = [effects[draw.choice(pair)] for pair in drawn]
        found += clustered_test(differences, [frozenset(map(str, pair)) for pair in drawn]).p_value <= 0.05
    assert found / 300 <= 0.05


def test_of_many_products_of_one_instance_the_most_frequent_count() -> None:
    many = " ".join(f"p{number}" for number in range(30))
    named = names(*[many] * 4, *["p1"] * 4)
    assert clustered_test([1] * 8, named).clusters == 1
    assert clustered_test([1] * 8, named).p_value == 1
