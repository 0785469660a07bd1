"""A short noise simulation. benchmarks/README.md has the rates of a long one."""

import pytest

pytest.importorskip("scipy", reason="tests need the extra 'evaluation'")

import numpy as np
from noise_simulation import (
    MAX_LOSS,
    NOMINAL,
    SHOPS,
    Shop,
    accepts_gate,
    calibrated_threshold,
    conclusions_of,
    confident_answers,
    noise,
    true_loss,
)
from scipy import stats

from caslie_tools.evaluation.outcomes import Outcome
from caslie_tools.pipeline.text_first import confidence_of


def helps(outcome: Outcome) -> bool:
    return outcome.treatments["every"].right


@pytest.mark.parametrize(("correlation", "low", "high"), [(1.0, 1.0, 1.0), (0.5, 0.45, 0.55), (0.7, 0.65, 0.75)])
def test_the_instances_of_a_product_have_the_correlation(correlation: float, low: float, high: float) -> None:
    shop = Shop(products=4000, instances=2, correlation=correlation)
    effects = np.array([helps(outcome) for outcome in noise(shop, 0)], dtype=float).reshape(2, shop.products)
    assert low <= np.corrcoef(effects)[0, 1] <= high
    assert 0.47 < effects.mean() < 0.53


def test_gates_are_tuned_on_noise_at_most_at_the_nominal_rate() -> None:
    accepted = [accepts_gate(shop, seed) for shop in SHOPS for seed in range(12)]
    assert sum(accepted) <= NOMINAL * len(accepted)


def test_conclusions_find_a_difference_in_noise_at_most_at_the_nominal_rate() -> None:
    found = [conclusions_of(shop, seed) for shop in SHOPS for seed in range(5)]
    for errors in zip(*found, strict=True):
        # The true rate is close to the nominal rate, so a few runs may by chance have more errors.
        assert sum(errors) <= stats.binom.isf(0.01, len(errors), NOMINAL)


def test_a_text_first_threshold_loses_what_the_simulation_says() -> None:
    texts = [outcome.treatments["none"] for outcome in confident_answers(Shop(products=20_000, instances=1), 0)]
    lost = np.array([confidence_of(one.answer, one.probabilities or {}) for one in texts if not one.right])
    for threshold in (0.0, 0.3, 0.8):
        assert true_loss(threshold) == pytest.approx((lost >= threshold).sum() / len(texts), abs=0.01)


def test_text_first_thresholds_break_their_guarantee_at_most_at_the_nominal_rate() -> None:
    shops = (Shop(100, 1), Shop(40, 5), Shop(60, 3, 0.7), Shop(60, 3, 0.5))
    thresholds = [calibrated_threshold(shop, seed) for shop in shops for seed in range(20)]
    broken = [threshold is not None and true_loss(threshold) > MAX_LOSS for threshold in thresholds]
    assert sum(broken) <= NOMINAL * len(broken)
    assert sum(threshold is not None for threshold in thresholds) > len(thresholds) / 2


def test_counting_instances_one_by_one_would_break_the_guarantee_too_often() -> None:
    thresholds = [calibrated_threshold(Shop(40, 10), seed, name_products=False) for seed in range(20)]
    broken = [threshold is not None and true_loss(threshold) > MAX_LOSS for threshold in thresholds]
    assert sum(broken) > 2 * NOMINAL * len(broken)
