"""A short simulation of text-first thresholds. benchmarks/README.md has the rates of a long one."""

import numpy as np
import pytest

pytest.importorskip("scipy", reason="calibrating needs the extra 'evaluation'")

from noise_simulation import NOMINAL, Shop
from text_first_simulation import calibrated_threshold, is_broken, made_up_answers, true_loss

from caslie_tools.pipeline.text_first import confidence_of


def test_a_threshold_loses_what_the_simulation_says() -> None:
    texts = [outcome.treatments["none"] for outcome in made_up_answers(Shop(products=20_000, instances=1), 0)]
    lost = np.array([confidence_of(one.answer, one.probabilities or {}) for one in texts if not one.right])
    for threshold in (0.0, 0.3, 0.8):
        assert true_loss(threshold) == pytest.approx((lost >= threshold).sum() / len(texts), abs=0.01)


def test_thresholds_break_their_guarantee_at_most_at_the_nominal_rate() -> None:
    shops = (Shop(100, 1), Shop(40, 5), Shop(60, 3, 0.7), Shop(60, 3, 0.5))
    thresholds = [calibrated_threshold(shop, seed) for shop in shops for seed in range(20)]
    assert sum(map(is_broken, thresholds)) <= NOMINAL * len(thresholds)
    assert sum(threshold is not None for threshold in thresholds) > len(thresholds) / 2


def test_counting_instances_one_by_one_would_break_the_guarantee_too_often() -> None:
    thresholds = [calibrated_threshold(Shop(40, 10), seed, name_products=False) for seed in range(20)]
    assert sum(map(is_broken, thresholds)) > 2 * NOMINAL * len(thresholds)
