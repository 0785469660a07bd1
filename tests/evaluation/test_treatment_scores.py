"""The scores of treatments, computed by hand: of a constant, a perfect and a garbled predictor."""

import pytest

pytest.importorskip("sklearn", reason="scores need the extra 'evaluation'")

from caslie_tools.evaluation.groups import group_outcomes
from caslie_tools.evaluation.outcomes import Cost, Outcome, TreatmentOutcome
from caslie_tools.evaluation.treatment_scores import (
    CostTotals,
    TreatmentCost,
    TreatmentScore,
    average_headline,
    compare_treatments,
    score_treatments,
)
from tests.evaluation.made_up_runs import outcome


def scores_of(task: str, gold: list[str], answers: list[str | None]) -> TreatmentScore:
    outcomes = [
        outcome(index, right, {"none": answer}, task=task)
        for index, (right, answer) in enumerate(zip(gold, answers, strict=True))
    ]
    (group,) = group_outcomes(outcomes)
    (score,) = score_treatments(group)
    return score


def test_the_reference_scoring_rises_as_the_model_gets_worse() -> None:
    gold = ["A", "B", "C", "D"]
    sound, garbled = scores_of("mpc", gold, ["A", "B", "D", "C"]), scores_of("mpc", gold, ["A", "B", None, None])
    assert (sound.value, sound.reference, sound.invalid) == (0.5, 0.5, 0)
    assert (garbled.value, garbled.reference, garbled.invalid) == (0.5, 1.0, 0.5)
    worse = scores_of("mpc", gold, ["A", None, None, None])
    assert (worse.value, worse.reference, worse.invalid) == (0.25, 1.0, 0.75)
    assert scores_of("mpc", gold, [None] * 4).reference is None


def test_the_reference_scoring_reads_the_response_and_not_our_label() -> None:
    answers = {"A": "Answer: B", "B": "B: Kettles", "C": "The answer is C."}
    outcomes = [
        outcome(index, gold, {"none": gold}, task="cc").model_copy(
            update={"treatments": {"none": TreatmentOutcome(answer=gold, text=text, right=True)}}
        )
        for index, (gold, text) in enumerate(answers.items())
    ]
    (score,) = score_treatments(group_outcomes(outcomes)[0])
    assert (score.value, score.reference) == (1, 1)  # "Answer: B" is read as A, and the third is dropped
    assert score.invalid == 0


def test_an_invalid_answer_in_place_of_no_lowers_the_f1() -> None:
    # yes: 1 true positive, 1 false negative. The invalid answer counts as a wrong yes: F1 = 2 / (2 + 1 + 1).
    score = scores_of("ap", ["yes", "yes", "no", "no"], ["yes", "no", "no", None])
    assert (score.metric, score.value, score.accuracy) == ("f1", 0.5, 0.5)
    assert score.reference == pytest.approx(2 / 3)
    assert score.macro_f1 == pytest.approx((0.5 + 0.5) / 2)
    assert (score.precision, score.recall) == (0.5, 0.5)


def test_a_constant_predictor_has_the_scores_computed_by_hand() -> None:
    gold = ["A"] * 3 + ["B"] * 2 + ["C"]
    score = scores_of("sa", gold, ["A"] * 6)
    # A: precision 1/2, recall 1, F1 2/3; B and C: 0.
    assert score.value == score.macro_f1 == pytest.approx(2 / 9)
    assert score.accuracy == score.recall_at_1 == 0.5


def test_a_perfect_predictor_scores_1_with_the_exact_interval() -> None:
    score = scores_of("cc", ["A", "B", "C"], ["A", "B", "C"])
    assert (score.metric, score.value, score.macro_f1, score.invalid, score.reference) == ("recall@1", 1, 1, 0, 1)
    assert (score.interval.low, score.interval.high) == pytest.approx((0.025 ** (1 / 3), 1))


def test_open_questions_are_scored_without_labels() -> None:
    score = scores_of("product_qa", ["350 ml", "red"], ["350 ml", "blue"])
    assert (score.metric, score.value, score.accuracy) == ("accuracy", 0.5, 0.5)
    assert score.macro_f1 is score.recall_at_1 is score.precision is score.recall is None
    assert scores_of("product_qa", ["350 ml", "red"], ["350 ml", None]).reference == 1


def test_a_failed_model_counts_as_wrong_and_is_reported_separately() -> None:
    good = outcome(0, "A", {"none": "A"})
    broken = Outcome(
        index=1, key="1", task=good.task, split="test", gold="A", treatments={"none": TreatmentOutcome(error="down")}
    )
    (group,) = group_outcomes([good, broken])
    (score,) = score_treatments(group)
    assert (score.value, score.invalid, score.failed) == (0.5, 0.5, 0.5)


def test_treatments_are_scored_on_their_instances_and_pairs_on_common_instances() -> None:
    outcomes = [outcome(index, "A", {"none": "B", "gated": "A"}) for index in range(8)]
    outcomes += [outcome(8 + index, "A", {"none": "B"}) for index in range(2)]
    groups = group_outcomes(outcomes)
    assert [(score.treatment, score.count, score.value) for score in score_treatments(groups[0])] == [
        ("none", 10, 0),
        ("gated", 8, 1),
    ]
    (test,) = compare_treatments(groups)
    assert (test.first, test.second, test.count, test.only_first, test.difference) == ("gated", "none", 8, 8, 1)
    assert test.adjusted == test.p_value == pytest.approx(2 / 2**8)


def test_the_average_gives_every_task_the_same_weight() -> None:
    outcomes = [outcome(index, "A", {"gated": "A", "every": "B"}) for index in range(30)]
    outcomes += [
        outcome(30 + index, "yes", {"gated": "yes" if index < 5 else "no", "every": "yes"}, task="ap")
        for index in range(10)
    ]
    groups = group_outcomes(outcomes)
    mean, gain = average_headline(groups, "gated"), average_headline(groups, "gated", minus="every")
    assert mean is not None
    assert gain is not None
    assert mean.value == pytest.approx((1 + 2 / 3) / 2)
    assert gain.value == pytest.approx(mean.value - (0 + 1) / 2)
    assert mean.interval.low < mean.value < mean.interval.high
    assert average_headline(groups, "plain") is None


def costs_of(outcomes: list[Outcome]) -> list[TreatmentCost]:
    totals = CostTotals()
    for one in outcomes:
        totals.add(one)
    return totals.totals()


def test_costs_are_added_up_and_have_the_share_of_cached_captions() -> None:
    cost = Cost(captioner_calls=1, cached_captions=3, judge_calls=3, predictor_calls=1, prompt_tokens=10, seconds=0.5)
    outcomes = [outcome(index, "A", {"none": "A", "gated": "A"}, cost=cost) for index in range(4)]
    (none, gated) = costs_of(outcomes)
    assert (gated.captioner_calls, gated.judge_calls, gated.predictor_calls) == (4, 12, 4)
    assert (gated.prompt_tokens, gated.seconds, gated.cached) == (40, 2.0, 0.75)
    assert none.treatment == "none"
    bare = costs_of([outcome(0, "A", {"none": "A"})])
    assert bare[0].cached is None
