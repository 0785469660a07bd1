"""A short noise simulation. benchmarks/README.md has the rates of a long one."""

import pytest

pytest.importorskip("scipy", reason="tests need the extra 'evaluation'")

import numpy as np
from noise_simulation import NOMINAL, SHOPS, Shop, accepted_gate, conclusions_of, noise
from scipy import stats

from caslie_tools.evaluation.outcomes import Outcome


def is_right(outcome: Outcome) -> bool:
    return outcome.treatments["every"].right


@pytest.mark.parametrize(("correlation", "low", "high"), [(1.0, 1.0, 1.0), (0.5, 0.45, 0.55), (0.7, 0.65, 0.75)])
def test_the_instances_of_a_product_have_the_correlation(correlation: float, low: float, high: float) -> None:
    shop = Shop(products=4000, instances=2, correlation=correlation)
    effects = np.array([is_right(outcome) for outcome in noise(shop, 0)], dtype=float).reshape(2, shop.products)
    assert low <= np.corrcoef(effects)[0, 1] <= high
    assert 0.47 < effects.mean() < 0.53


def test_gates_are_tuned_on_noise_at_most_at_the_nominal_rate() -> None:
    accepted = [accepted_gate(shop, seed) is not None for shop in SHOPS for seed in range(3)]
    assert sum(accepted) <= NOMINAL * len(accepted)


def test_conclusions_find_a_difference_in_noise_at_most_at_the_nominal_rate() -> None:
    found = [conclusions_of(shop, seed) for shop in SHOPS for seed in range(5)]
    for errors in zip(*found, strict=True):
        # The true rate is close to the nominal rate, so a few runs may by chance have more errors.
        assert sum(errors) <= stats.binom.isf(0.01, len(errors), NOMINAL)
