import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from caslie_tools.evaluation.metrics import (
    AnswerScores,
    is_open_answer_right,
    reference_scores,
    score_answers,
    token_f1,
)
from caslie_tools.exceptions import InputError
from caslie_tools.tasks import Task, get_task

pytest.importorskip("sklearn", reason="scores need the extra 'evaluation'")

REFERENCE: list[dict[str, Any]] = json.loads(Path(__file__).with_name("reference_scores.json").read_text())["cases"]
"""What the evaluation of the reference implementation gives for made-up responses: also where labels are missing from
the right answers, and for responses that it reads strictly."""
AP, CC, MPC, SA = (get_task(name) for name in ("ap", "cc", "mpc", "sa"))


def test_f1_is_that_of_the_positive_class_and_an_invalid_answer_is_wrong() -> None:
    gold = ["yes", "yes", "yes", "no", "no"]
    result = score_answers(AP, ["yes", None, "no", "yes", "no"], gold)
    # yes: 1 true positive, 1 false positive, 2 false negatives (one of them invalid). no: 1, 2 and 1, respectively.
    assert result.metric == "f1"
    assert result.value == pytest.approx(2 * 1 / (2 * 1 + 1 + 2))
    assert (result.precision, result.recall) == pytest.approx((1 / 2, 1 / 3))
    assert result.macro_f1 == pytest.approx((0.4 + 2 / 5) / 2)
    assert result.accuracy == pytest.approx(2 / 5)
    assert result.invalid == pytest.approx(1 / 5)
    assert result.count == 5


def test_f1_without_positives_is_zero() -> None:
    assert score_answers(AP, ["no", "no"], ["no", "no"]).value == 0
    assert score_answers(AP, ["yes", "no"], ["no", "no"]).value == 0
    assert score_answers(AP, [None, None], ["yes", "no"]).value == 0


def test_an_invalid_answer_in_place_of_no_counts_as_a_wrong_yes() -> None:
    gold = ["yes", "no", "no"]
    assert (
        score_answers(AP, ["yes", None, None], gold).value
        == score_answers(AP, ["yes", "yes", "yes"], gold).value
        == 0.5
    )
    assert score_answers(AP, ["yes", "no", "no"], gold).value == 1


def test_macro_f1_is_the_mean_over_the_right_labels() -> None:
    # A: 1 tp, 0 fp, 1 fn = 2/3. B: 1 tp, 1 fp, 0 fn = 2/3. C: 0. D is answered but never right, so it is not a class.
    result = score_answers(SA, ["A", "B", "B", "D"], ["A", "A", "B", "C"])
    assert result.metric == "macro_f1"
    assert result.value == result.macro_f1 == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert (result.precision, result.recall) == pytest.approx(((1 + 1 / 2 + 0) / 3, (1 / 2 + 1 + 0) / 3))


@pytest.mark.parametrize(("task", "name"), [(MPC, "accuracy"), (CC, "recall@1")])
def test_accuracy_and_recall_at_1_are_the_share_of_right_answers(task: Task, name: str) -> None:
    result = score_answers(task, ["A", "B", None, "C"], ["A", "B", "C", "D"])
    assert (result.metric, result.value) == (name, 0.5)


def test_every_metric_is_perfect_for_perfect_answers() -> None:
    assert score_answers(SA, ["A", "E"], ["A", "E"]) == AnswerScores(
        metric="macro_f1", value=1, accuracy=1, precision=1, recall=1, macro_f1=1, invalid=0, count=2
    )


@pytest.mark.parametrize("task", [AP, CC, MPC, SA], ids=lambda task: task.abbreviation)
def test_a_right_answer_that_becomes_invalid_lowers_the_score(task: Task) -> None:
    gold = ["yes", "no", "yes", "no"] if task is AP else ["A", "B", "C", "A"]
    answers: list[str | None] = ["yes", "yes", "yes", "no"] if task is AP else ["A", "C", "C", "B"]
    for index, answer in enumerate(answers):
        worse = [*answers[:index], None, *answers[index + 1 :]]
        before, after = score_answers(task, answers, gold), score_answers(task, worse, gold)
        assert after.accuracy <= before.accuracy
        if answer == gold[index]:
            assert after.value < before.value
            assert after.accuracy < before.accuracy


def test_the_reference_scoring_drops_invalid_answers_and_reports_their_share() -> None:
    gold = ["A", "B", "C", "D"]
    result = reference_scores(MPC, ["A", None, "D", None], gold)
    assert (result.value, result.count, result.invalid) == (0.5, 2, 0.5)
    assert score_answers(MPC, ["A", None, "D", None], gold).value == 0.25


@pytest.mark.parametrize("case", REFERENCE, ids=lambda case: f"{case['task']}-{len(set(case['gold']))}-labels")
def test_the_reference_scoring_equals_the_reference_implementation(case: dict[str, Any]) -> None:
    task, expected = get_task(case["task"]), case["scores"]
    result = reference_scores(task, case["answers"], case["gold"])
    assert result.accuracy == pytest.approx(expected["accuracy"])
    assert result.count == len(case["gold"]) - expected["skipped"]
    assert result.invalid == pytest.approx(expected["skipped"] / len(case["gold"]))
    if "f1" in expected:
        f1 = result.value if result.metric == "f1" else result.macro_f1
        assert (f1, result.precision, result.recall) == pytest.approx(
            (expected["f1"], expected["precision"], expected["recall"])
        )
    else:  # the reference computes the accuracy only
        assert result.metric == "recall@1"
        assert result.value == pytest.approx(expected["accuracy"])


def test_answers_that_cannot_be_scored_are_refused() -> None:
    with pytest.raises(InputError, match="1 answers for 2"):
        score_answers(MPC, ["A"], ["A", "B"])
    with pytest.raises(InputError, match="there are no answers to score"):
        score_answers(MPC, [], [])
    with pytest.raises(InputError, match="there are no answers to score"):
        reference_scores(MPC, [None], ["A"])
    with pytest.raises(InputError, match="no metric"):
        score_answers(get_task("product_qa"), ["A"], ["A"])


def test_without_scikit_learn_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"  # as if it were not installed
        "from caslie_tools.evaluation.metrics import score_answers\n"
        "from caslie_tools.tasks import get_task\n"
        "score_answers(get_task('mpc'), ['A'], ['A'])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "MissingExtraError: Scoring needs" in run.stderr
    assert "caslie-tools[evaluation]" in run.stderr


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ('It reads "350 ML".', "350 ml"),
        ("The Mug is an\tIP-67 one.", "a mug is IP67"),  # SQuAD removes punctuation and does not split words there
        ("“Waterproof”, says the label", "waterproof"),
        ("A.", "a"),
        ("C++ and so on", "C++"),
    ],
)
def test_an_open_answer_is_right_if_it_contains_the_right_words(answer: str, gold: str) -> None:
    assert is_open_answer_right(answer, gold)
    assert not is_open_answer_right(answer, gold, answerable=False)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("1350 ml", "350 ml"),
        ("ml 350", "350 ml"),
        ("350 or 400 ml", "350 ml"),
        ("", "red"),
        ("Option B", "A"),
        ("b", "!"),
    ],
)
def test_a_part_of_a_word_another_order_or_a_gap_is_wrong(answer: str, gold: str) -> None:
    assert not is_open_answer_right(answer, gold)


def test_a_question_that_cannot_be_answered_must_be_called_unanswerable() -> None:
    assert is_open_answer_right("The texts do not say.", "", answerable=False)
    assert not is_open_answer_right("", "", answerable=None)
    assert not is_open_answer_right("red", "  ", answerable=True)


@pytest.mark.parametrize(
    ("answer", "gold", "f1"),
    [
        ("the red mug", "A red mug!", 1.0),
        ("red red mug", "red mug mug", 2 * 2 / (3 + 3)),  # a repeated word counts as often as it is in both texts
        ("a blue mug", "red mug", 0.5),
        ("blue", "red", 0.0),
        ("", "", 1.0),
        ("red", "", 0.0),
        ("", "red", 0.0),
    ],
)
def test_token_f1_is_that_of_squad(answer: str, gold: str, f1: float) -> None:
    assert token_f1(answer, gold) == pytest.approx(f1)
