import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("sklearn", reason="tuning a gate needs the extra 'evaluation'")

from sklearn.linear_model import LogisticRegression

from caslie_tools.tuning.vote_weights import KEEP, REJECT, DecisiveCaptions, fit


def captions_of(votes: NDArray[np.float64], better: NDArray[np.int64]) -> DecisiveCaptions:
    everything = np.ones(len(better), dtype=bool)
    return DecisiveCaptions(
        rows=np.arange(len(better)),
        votes=votes,
        better=better,
        kept_untuned=everything,
        has_quorum=everything,
        names=(frozenset(),) * len(better),
    )


@pytest.mark.parametrize("strength", [0.001, 0.1, 10.0])
def test_the_fit_is_the_regularised_logistic_regression(strength: float) -> None:
    draw = np.random.default_rng(5)
    votes = draw.uniform(-4.6, 4.6, (80, 4))
    better = np.where(votes[:, 0] + draw.normal(0, 3, 80) > 1, KEEP, REJECT)
    weights, bias = fit(captions_of(votes, better), strength)
    expected = LogisticRegression(C=strength, max_iter=10_000, tol=1e-10).fit(votes, better)
    assert weights == pytest.approx(expected.coef_[0], rel=0.01, abs=1e-4)
    assert bias == pytest.approx(expected.intercept_[0], rel=0.01, abs=1e-3)


def test_the_fit_is_finite_if_the_votes_separate_the_captions_or_all_have_one_label() -> None:
    votes = np.array([[-4.6], [-4.0], [4.0], [4.6]])
    for better in (np.array([REJECT, REJECT, KEEP, KEEP]), np.full(4, KEEP)):
        weights, bias = fit(captions_of(votes, better), 10.0)
        assert np.isfinite([*weights, bias]).all()
        assert (np.where(votes @ weights + bias > 0, KEEP, REJECT) == better).all()
