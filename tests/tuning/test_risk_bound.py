"""The bound on a share: against exact values, and against what it must hold for."""

import math

import numpy as np
import pytest

pytest.importorskip("scipy", reason="bounds need the extra 'evaluation'")

from caslie_tools.tuning.risk_bound import least_count, p_value, upper_bound


def binomial(most: int, count: int, share: float) -> float:
    return sum(math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(most + 1))


@pytest.mark.parametrize(("lost", "count", "limit"), [(0, 149, 0.02), (1, 149, 0.02), (3, 200, 0.05), (200, 200, 0.5)])
def test_of_losses_that_are_0_or_1_the_p_value_is_exact(lost: int, count: int, limit: float) -> None:
    assert p_value(lost, count, limit, binary=True) == pytest.approx(binomial(lost, count, limit))


def test_without_losses_both_p_values_are_equal() -> None:
    assert p_value(0, 149, 0.02, binary=False) == pytest.approx(0.98**149)


def test_of_other_losses_the_p_value_is_the_smaller_of_two_bounds() -> None:
    # By hand: the share is 0.01 of 400; its divergence from 0.03 is 0.009041...
    divergence = 0.01 * math.log(0.01 / 0.03) + 0.99 * math.log(0.99 / 0.97)
    assert p_value(4, 400, 0.03, binary=False) == pytest.approx(
        min(math.exp(-400 * divergence), math.e * binomial(4, 400, 0.03))
    )
    assert p_value(20, 400, 0.03, binary=False) == 1.0


def test_a_sum_of_fractions_is_not_rounded_up_to_the_next_whole_number() -> None:
    tenths = sum([0.1] * 30)  # 3.0000000000000013
    assert tenths > 3
    assert p_value(tenths, 100, 0.1, binary=False) == pytest.approx(p_value(3, 100, 0.1, binary=False))


@pytest.mark.parametrize(("limit", "confidence", "count"), [(0.02, 0.95, 149), (0.05, 0.95, 59), (0.1, 0.9, 22)])
def test_the_least_count_is_the_first_that_can_show_the_limit(limit: float, confidence: float, count: int) -> None:
    assert least_count(limit, confidence) == count
    assert p_value(0, count, limit, binary=True) <= 1 - confidence < p_value(0, count - 1, limit, binary=True)


def test_the_upper_bound_inverts_the_p_value() -> None:
    assert upper_bound(0, 149, 0.95, binary=True) == pytest.approx(1 - 0.05 ** (1 / 149))
    bound = upper_bound(2.5, 300, 0.9, binary=False)
    assert p_value(2.5, 300, bound, binary=False) == pytest.approx(0.1)
    assert upper_bound(10, 10, 0.95, binary=True) == pytest.approx(1.0)


@pytest.mark.parametrize("parts", [1, 3])
def test_the_bound_is_too_small_at_most_at_the_error_rate(parts: int) -> None:
    """Losses are the mean of some coins that fall alike with a probability of one half."""
    draw, share, count, runs = np.random.default_rng(7), 0.1, 60, 2000
    coins = draw.random((runs, count, parts)) < share
    alike = draw.random((runs, count, 1)) < 0.5
    totals = np.where(alike, coins[:, :, :1], coins).mean(axis=2).sum(axis=1)
    bounds = {total: upper_bound(total, count, 0.9, binary=parts == 1) for total in np.unique(totals).tolist()}
    broken = sum(bounds[total] < share for total in totals.tolist())
    assert 0 < broken <= 0.1 * runs
