"""How many independent judges a jury is worth, from made-up votes."""

import random
from collections.abc import Sequence

import pytest

from caslie_tools.domain import Verdict, Vote
from caslie_tools.evaluation.groups import group_outcomes
from caslie_tools.evaluation.jury_quality import JuryQuality, jury_quality
from caslie_tools.evaluation.outcomes import Outcome
from tests.evaluation.made_up_runs import judged


def quality(outcomes: Sequence[Outcome]) -> JuryQuality:
    (found,) = jury_quality(group_outcomes(outcomes))
    return found


def voted(errors: Sequence[Sequence[bool | None]], *, products: int | None = None) -> list[Outcome]:
    """Outcomes whose caption helps in every other one. ``errors``: whether each judge errs; ``None``: it abstains."""
    outcomes = []
    for index, row in enumerate(errors):
        helps = index % 2 == 0
        votes = []
        for number, error in enumerate(row, start=1):
            verdict: Verdict = "abstain" if error is None else "yes" if helps != error else "no"
            votes.append(Vote(judge=f"judge-{number}", verdict=verdict))
        yes = sum(vote.verdict == "yes" for vote in votes)
        made = judged(index, none=not helps, every=helps, votes=votes, kept=yes > len(votes) / 2)
        outcomes.append(made.model_copy(update={"products": (f"p{index % (products or len(errors))}",)}))
    return outcomes


def test_judges_that_err_together_are_worth_one_vote() -> None:
    found = quality(voted([[index % 5 == 0] * 3 for index in range(100)]))
    assert found.captions == 100
    assert found.correlation == pytest.approx(1)
    assert found.effective_votes == pytest.approx(1)
    assert [judge.right for judge in found.judges] == [0.8] * 3
    assert found.right == 0.8


def test_judges_that_err_independently_are_worth_all_of_their_votes() -> None:
    draw = random.Random(1)  # noqa: S311 (made-up votes)
    found = quality(voted([[draw.random() < 0.3 for _ in range(5)] for _ in range(4000)]))
    assert found.correlation == pytest.approx(0, abs=0.02)
    assert found.effective_votes == pytest.approx(5, abs=0.5)
    assert found.right is not None
    assert found.right > max(judge.right for judge in found.judges)


def test_the_correlation_is_that_computed_by_hand() -> None:
    # Errors of the first: 8 of 20. Of the second: 8 of 20, 5 of them in common.
    errors = [[True, True]] * 5 + [[True, False]] * 3 + [[False, True]] * 3 + [[False, False]] * 9
    found = quality(voted(errors))
    expected = (5 / 20 - 0.4 * 0.4) / (0.4 * 0.6)
    assert found.correlation == pytest.approx(expected)
    assert found.judges[0].correlations == {"judge-2": pytest.approx(expected)}
    assert found.effective_votes == pytest.approx(2 / (1 + expected))


def test_an_abstention_is_no_error_but_rejects_the_caption() -> None:
    found = quality(voted([[None, index < 10] for index in range(40)]))
    first, second = found.judges
    assert (first.right, first.abstained) == (0.5, 1)  # right for the captions that mislead
    assert first.correlations == {"judge-2": None}
    assert (second.right, second.abstained) == (0.75, 0)
    assert found.correlation is None
    assert found.votes == found.effective_votes == 1


def test_a_judge_that_always_abstains_adds_no_vote() -> None:
    draw = random.Random(3)  # noqa: S311 (made-up votes)
    errors = [[draw.random() < 0.3 for _ in range(3)] for _ in range(400)]
    three, four = quality(voted(errors)), quality(voted([[*row, None] for row in errors]))
    assert four.votes == three.votes == 3
    assert four.effective_votes == three.effective_votes


def test_the_best_judge_is_chosen_by_other_products() -> None:
    draw = random.Random(2)  # noqa: S311 (made-up votes)
    shares = []
    for _ in range(20):
        per_product = [[draw.random() < 0.5 for _ in range(100)] for _ in range(4)]
        found = quality(voted([per_product[index % 4] for index in range(40)], products=4))
        # 100 judges guess, once for each of four products. Some of them are always right by chance.
        assert max(judge.right for judge in found.judges) == 1
        shares.append(found.best_right or 0)
    assert sum(shares) / len(shares) < 0.7
    good = quality(voted([[False, draw.random() < 0.5, draw.random() < 0.5] for _ in range(80)]))
    assert (good.best_judge, good.best_right) == ("judge-1", 1)


def test_captions_that_change_nothing_are_not_counted_and_too_few_give_no_figures() -> None:
    votes = [Vote(judge="first", verdict="yes")]
    idle = [judged(index, none=index % 2 == 0, every=index % 2 == 0, votes=votes) for index in range(100)]
    found = quality(idle + [one.model_copy(update={"key": f"d{one.key}"}) for one in voted([[False]] * 19)])
    assert (found.captions, found.judges) == (19, ())
    assert found.sentence == (
        "The jury: only 19 captions change whether the answer is right, too few for figures (fewer than 20)."
    )
    alone = quality(voted([[index % 4 == 0] for index in range(40)]))
    assert alone.effective_votes == 1


def test_the_sentence_has_the_figures() -> None:
    found = quality(voted([[index % 5 == 0] * 3 for index in range(100)]))
    assert found.sentence == (
        "The jury: 3 judges cast 3.0 votes on a caption, which are worth 1.0 independent votes (their errors correlate "
        "by 1.00 on average). Of the 100 captions that change whether the answer is right, the gate decides 0.80 "
        "rightly, and the best single judge 0.80 (judge-1 over all; chosen by the captions of other products)."
    )
