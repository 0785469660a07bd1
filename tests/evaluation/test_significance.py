import numpy as np
import pytest

pytest.importorskip("scipy", reason="tests need the extra 'evaluation'")

from caslie_tools.evaluation.bootstrap import TaskAnswers, resampled_headlines
from caslie_tools.evaluation.clusters import Names
from caslie_tools.evaluation.significance import Interval, adjust, holm, paired_test
from caslie_tools.exceptions import InputError
from caslie_tools.tasks import get_task

MPC = get_task("mpc")


NO_NAMES: Names = frozenset()


def rights(pattern: list[bool], *products: str) -> TaskAnswers:
    answers = tuple("A" if right else "B" for right in pattern)
    names = tuple(frozenset({product}) for product in products) or (NO_NAMES,) * len(pattern)
    return TaskAnswers(task=MPC, gold=("A",) * len(pattern), answers=answers, right=tuple(pattern), names=names)


def test_the_interval_covers_the_true_value_in_about_95_percent_of_cases() -> None:
    draw = np.random.default_rng(11)
    truth, covered, wide = 0.7, 0, 0.0
    for _ in range(400):
        sample = rights((draw.random(100) < truth).tolist())
        interval = Interval.of(resampled_headlines([sample], seed=0, resamples=1000)[0], clusters=100)
        covered += interval.low <= truth <= interval.high
        wide += interval.high - interval.low
    assert 0.91 <= covered / 400 <= 0.98
    assert wide / 400 == pytest.approx(2 * 1.96 * (0.7 * 0.3 / 100) ** 0.5, rel=0.05)


def test_the_interval_of_a_mean_is_close_to_the_normal_approximation() -> None:
    values = [1.0] * 30 + [0.0] * 60 + [-1.0] * 10
    names = [NO_NAMES] * len(values)
    interval = Interval.of_mean(values, names, seed=0)
    spread = 1.96 * float(np.std(values)) / 10
    assert interval.low == pytest.approx(0.2 - spread, abs=0.02)
    assert interval.high == pytest.approx(0.2 + spread, abs=0.02)
    assert Interval.of_mean(values, names, seed=0, level=0.99).low < interval.low


@pytest.mark.parametrize("right", [True, False])
def test_an_interval_has_a_width_even_if_all_answers_are_right_or_wrong(right: bool) -> None:
    # The exact interval of 20 of 20 is 0.832 to 1 (Clopper and Pearson).
    all_equal = rights([right] * 20)
    interval = Interval.of(resampled_headlines([all_equal], seed=0)[0], clusters=all_equal.cluster_count)
    assert (interval.low, interval.high) == pytest.approx((0.832, 1) if right else (0, 0.168), abs=0.001)
    test = paired_test(all_equal, all_equal, names=("a", "b"))
    assert (test.interval.low, test.interval.high) == pytest.approx((-0.168, 0.168), abs=0.001)
    one_product = rights([right] * 20, *["p1"] * 20)
    wide = Interval.of(resampled_headlines([one_product], seed=0)[0], clusters=one_product.cluster_count)
    assert wide.high - wide.low == pytest.approx(0.975)


@pytest.mark.parametrize(("low", "high", "sign"), [(0.1, 0.2, 1), (-0.2, -0.1, -1), (-0.1, 0.1, 0), (0.0, 0.1, 0)])
def test_an_interval_that_touches_0_has_sign_0(low: float, high: float, sign: int) -> None:
    assert Interval(low=low, high=high).sign == sign


def test_instances_that_share_a_product_count_as_one_in_the_test_and_in_the_interval() -> None:
    # Five products of four instances each: the 20 wins are as probable as 5 wins.
    products = [f"p{number % 5}" for number in range(20)]
    test = paired_test(rights([True] * 20, *products), rights([False] * 20, *products), names=("a", "b"))
    assert (test.count, test.only_first, test.clusters) == (20, 20, 5)
    assert test.p_value == pytest.approx(2 / 2**5)
    half = [number % 5 < 2 for number in range(20)]
    clustered, single = (
        Interval.of(resampled_headlines([rights(half, *names)], seed=0)[0], clusters=clusters)
        for names, clusters in ((products, 5), ((), 20))
    )
    assert clustered.high - clustered.low > 1.7 * (single.high - single.low)


def test_holms_correction_steps_down() -> None:
    # Of 4: 0.005 * 4, then 0.01 * 3, then 0.03 * 2 and 0.04 * 1, which must not be smaller than the previous one.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    with pytest.raises(InputError):
        holm([1.5])


def test_a_paired_test_has_the_values_computed_by_hand() -> None:
    first = rights([True] * 60 + [True] * 12 + [False] * 4 + [False] * 24)
    second = rights([True] * 60 + [False] * 12 + [True] * 4 + [False] * 24)
    test = paired_test(first, second, names=("gated", "none"), split="test")
    assert (test.count, test.only_first, test.only_second) == (100, 12, 4)
    assert (test.first_value, test.second_value) == (0.72, 0.64)
    assert test.difference == pytest.approx(0.08)
    assert test.p_value == pytest.approx(2 * (1 + 16 + 120 + 560 + 1820) / 2**16)
    # In a paired test, the variance is that of the differences: (16 / 100 - 0.08**2) / 100.
    spread = 1.96 * ((0.16 - 0.08**2) / 100) ** 0.5
    assert test.interval.low == pytest.approx(0.08 - spread, abs=0.011)
    assert test.interval.high == pytest.approx(0.08 + spread, abs=0.011)


def test_adjusting_keeps_the_order_and_the_unadjusted_p_values() -> None:
    strong = paired_test(rights([True] * 20), rights([False] * 20), names=("a", "b"))
    weak = paired_test(rights([True, False]), rights([False, True]), names=("a", "b"))
    adjusted = adjust([weak, strong])
    assert [test.p_value for test in adjusted] == [weak.p_value, strong.p_value]
    assert [test.adjusted for test in adjusted] == [1.0, pytest.approx(2 * strong.p_value)]
