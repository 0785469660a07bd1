"""A short noise simulation: at most the nominal share of noise is taken for an effect."""

import pytest

pytest.importorskip("scipy", reason="tests need the extra 'evaluation'")

import numpy as np
from noise_simulation import NOMINAL, SHOPS, Shop, accepts_gate, noise

from caslie_tools.evaluation.outcomes import Outcome

RUNS = 12
"""For each shop. A long simulation has its own rate for each shop: see benchmarks/README.md."""


def helps(outcome: Outcome) -> bool:
    return outcome.treatments["every"].right


@pytest.mark.parametrize(("correlation", "low", "high"), [(1.0, 1.0, 1.0), (0.5, 0.45, 0.55), (0.7, 0.65, 0.75)])
def test_the_instances_of_a_product_have_the_correlation(correlation: float, low: float, high: float) -> None:
    shop = Shop(products=4000, instances=2, correlation=correlation)
    effects = np.array([helps(outcome) for outcome in noise(shop, 0)], dtype=float).reshape(2, shop.products)
    assert low <= np.corrcoef(effects)[0, 1] <= high
    assert 0.47 < effects.mean() < 0.53


def test_gates_are_tuned_on_noise_at_most_at_the_nominal_rate() -> None:
    accepted = [accepts_gate(shop, seed) for shop in SHOPS for seed in range(RUNS)]
    assert sum(accepted) <= NOMINAL * len(accepted)
