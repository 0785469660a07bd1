import random

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="tuning a gate needs the extra 'evaluation'")

from sklearn.linear_model import LogisticRegression

from caslie_tools.domain import Vote
from caslie_tools.evaluation.caption_effects import USEFULNESS, JudgedCaption, Usefulness
from caslie_tools.tuning.learned_gate import decide_unseen, fit, learn


@pytest.mark.parametrize("strength", [0.01, 0.1, 1.0])
def test_the_fit_is_the_regularised_multinomial_regression(strength: float) -> None:
    draw = np.random.default_rng(5)
    values = draw.normal(size=(200, 4))
    uses = (values[:, :2] @ np.array([[1, -1, 0, 0.5], [0, 1, -1, 0]]) + draw.gumbel(size=(200, 4))).argmax(axis=1)
    weights = fit(values, uses, strength)
    expected = LogisticRegression(C=strength, max_iter=10_000, tol=1e-10).fit(values, uses)
    assert weights[:, :-1] == pytest.approx(expected.coef_, abs=1e-4)
    # An equal shift of all biases changes nothing.
    assert weights[:, -1] - weights[:, -1].mean() == pytest.approx(
        expected.intercept_ - expected.intercept_.mean(), abs=1e-3
    )


def test_the_fit_is_finite_if_an_effect_does_not_occur_or_there_is_no_input() -> None:
    values = np.array([[-1.0], [-1.0], [1.0], [1.0]])
    assert np.isfinite(fit(values, np.array([0, 0, 2, 2]), 1.0)).all()
    shares = np.exp(fit(np.zeros((4, 0)), np.array([0, 0, 0, 2]), 1.0)[:, -1])
    assert shares[0] / shares[2] == pytest.approx(3, rel=0.01)


def made_up(count: int, *, seed: int = 0, signals: bool = True) -> list[JudgedCaption]:
    """Captions of all effects. One judge is right in eight of ten cases, one always abstains, and one guesses."""
    draw = random.Random(seed)  # noqa: S311 (made-up votes)
    captions = []
    for _ in range(count):
        use: Usefulness = draw.choice(USEFULNESS)
        helps = use == "helpful" if use in ("helpful", "misleading") else draw.random() < 0.5
        votes = (
            Vote(judge="good", verdict="yes" if helps == (draw.random() < 0.8) else "no"),
            Vote(judge="silent", verdict="abstain"),
            Vote(judge="guess", verdict=draw.choice(["yes", "no"])),
        )
        known = {"known_words": draw.gauss(0.7 if use == "redundant" else 0.2, 0.1)} if signals else {}
        captions.append(JudgedCaption(use, kept=False, votes=votes, signals=known))
    return captions


def names_of(captions: list[JudgedCaption]) -> list[frozenset[str]]:
    return [frozenset({f"p{index}"}) for index in range(len(captions))]


def test_useless_judges_are_dropped_and_the_estimate_tells_the_effects_apart() -> None:
    captions = made_up(400)
    learned = learn(captions, names_of(captions), quorum=2)
    assert learned.judges == ("good",)
    assert learned.answers_needed == 1  # two of three, of the one that is asked
    assert {(feature.judge, feature.signal) for feature in learned.features} == {("good", ""), ("", "known_words")}
    yes = (Vote(judge="good", verdict="yes"),)
    assert learned.estimate(yes, {"known_words": 0.8}).redundant > 0.8
    new, no = learned.estimate(yes, {"known_words": 0.2}), (Vote(judge="good", verdict="no"),)
    assert new.helpful > new.misleading
    assert learned.keeps(yes, {"known_words": 0.2})
    assert not learned.keeps(no, {"known_words": 0.2})


def test_the_estimate_of_unseen_captions_is_calibrated() -> None:
    captions = made_up(600)
    unseen = decide_unseen(captions, names_of(captions), quorum=2)
    assert unseen.log_likelihood.mean() > unseen.log_share.mean() + 0.2
    other = made_up(600, seed=1)
    learned = learn(captions, names_of(captions), quorum=2)
    estimates = np.array([learned.estimate(caption.votes, caption.signals).helpful for caption in other])
    helpful = np.array([caption.use == "helpful" for caption in other])
    for third in np.array_split(np.argsort(estimates), 3):
        assert helpful[third].mean() == pytest.approx(estimates[third].mean(), abs=0.08)
    assert helpful[third].mean() > 0.4


def test_numbers_that_old_outcomes_lack_are_left_out() -> None:
    old, new = made_up(300, signals=False), made_up(100, seed=1)
    mixed = [*old, *new]
    learned = learn(mixed, names_of(mixed), quorum=2)
    assert all(feature.judge for feature in learned.features)
    mostly_new = [*made_up(100, signals=False), *made_up(300, seed=1)]
    learned = learn(mostly_new, names_of(mostly_new), quorum=2)
    assert any(feature.signal == "known_words" for feature in learned.features)


def test_the_gate_is_the_same_each_time() -> None:
    captions = made_up(100)
    assert learn(captions, names_of(captions), quorum=2) == learn(captions, names_of(captions), quorum=2)
