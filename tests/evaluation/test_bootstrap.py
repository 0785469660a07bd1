from collections.abc import Sequence

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scores need the extra 'evaluation'")

from caslie_tools.evaluation.bootstrap import TaskAnswers, resampled_headlines, resampled_kinds
from caslie_tools.evaluation.metrics import score_answers
from caslie_tools.exceptions import InputError
from caslie_tools.tasks import get_task


def answered(task: str, gold: Sequence[str], answers: Sequence[str | None]) -> TaskAnswers:
    right = tuple(answer == true for answer, true in zip(answers, gold, strict=True))
    names = (frozenset[str](),) * len(gold)
    return TaskAnswers(task=get_task(task), gold=tuple(gold), answers=tuple(answers), right=right, names=names)


@pytest.mark.parametrize("task", ["ap", "sa"])
def test_a_resampled_headline_is_the_metric_of_the_drawn_instances(task: str) -> None:
    labels = ["yes", "no"] if task == "ap" else ["A", "B", "C"]
    draw = np.random.default_rng(3)
    gold, answers = (draw.choice(labels, 12).tolist() for _ in range(2))
    values = resampled_headlines([answered(task, gold, answers)], seed=5, resamples=50)[0]
    pairs = list(zip(gold, answers, strict=True))
    kinds, rows = resampled_kinds(pairs, np.arange(len(pairs)), seed=5, resamples=50)
    for row, value in zip(rows, values, strict=True):
        drawn = [kind for kind, times in zip(kinds, row, strict=True) for _ in range(int(times))]
        expected = score_answers(get_task(task), [answer for _, answer in drawn], [true for true, _ in drawn]).value
        assert value == pytest.approx(expected)


@pytest.mark.parametrize(("task", "gold", "wrong"), [("ap", "no", "yes"), ("ap", "yes", "no"), ("sa", "A", "Z")])
def test_an_invalid_answer_is_resampled_as_a_wrong_answer(task: str, gold: str, wrong: str) -> None:
    others = ["yes", "no"] * 3 if task == "ap" else ["A", "B"] * 3
    invalid, valid_but_wrong = (answered(task, [*others, gold], [*others, answer]) for answer in (None, wrong))
    both = resampled_headlines([invalid, valid_but_wrong], seed=0, resamples=100)
    assert (both[0] == both[1]).all()
    assert both[0].mean() < 1


def test_every_resample_has_the_size_of_the_sample() -> None:
    kinds, counts = resampled_kinds([2.0] * 3 + [1.0] * 7, np.arange(10), seed=0, resamples=100)
    assert kinds == [1, 2]
    assert counts.shape == (100, 2)
    assert (counts.sum(axis=1) == 10).all()
    assert counts[:, 0].mean() == pytest.approx(7, abs=0.5)


def test_whole_clusters_are_drawn() -> None:
    # One product has a right and a wrong answer, the other three right answers. Two products are drawn.
    clusters = np.array([0, 1, 1, 1, 0])
    kinds, counts = resampled_kinds([1.0, 1.0, 1.0, 1.0, 0.0], clusters, seed=0, resamples=400)
    assert kinds == [0, 1]
    assert {tuple(row) for row in counts.astype(int).tolist()} == {(2, 2), (1, 4), (0, 6)}
    assert (counts[:, 0] == 1).mean() == pytest.approx(0.5, abs=0.1)


def test_many_different_clusters_are_drawn_in_parts() -> None:
    sizes = range(1, 421)
    clusters = np.repeat(sizes, sizes)
    kinds, counts = resampled_kinds([1.0] * len(clusters), clusters, seed=0)
    assert (kinds, counts.shape) == ([1], (10_000, 1))
    assert counts.mean() == pytest.approx(len(clusters), rel=0.01)
    assert counts.std() == pytest.approx(np.std(sizes) * 420**0.5, rel=0.05)


def test_treatments_share_resamples_which_depend_on_the_seed() -> None:
    good = answered("mpc", ["A"] * 10, ["A"] * 6 + ["B"] * 4)
    same = resampled_headlines([good, good], seed=1)
    assert (same[0] == same[1]).all()
    assert (resampled_headlines([good], seed=1) == resampled_headlines([good], seed=1)).all()
    assert (resampled_headlines([good], seed=1) != resampled_headlines([good], seed=2)).any()


def test_open_questions_are_scored_by_right_and_wrong() -> None:
    task = get_task("product_qa")
    one = TaskAnswers(
        task=task,
        gold=("350 ml", "red"),
        answers=('It reads "350 ML".', "blue"),
        right=(True, False),
        names=(frozenset(), frozenset()),
    )
    assert (one.metric, one.headline) == ("accuracy", 0.5)
    assert resampled_headlines([one], seed=0).mean() == pytest.approx(0.5, abs=0.02)


def test_treatments_with_different_instances_are_refused() -> None:
    first, second = answered("mpc", ["A"], ["A"]), answered("mpc", ["B"], ["A"])
    with pytest.raises(InputError, match="same instances"):
        resampled_headlines([first, second], seed=0)
    with pytest.raises(InputError, match="at least one"):
        resampled_headlines([answered("mpc", [], [])], seed=0)
