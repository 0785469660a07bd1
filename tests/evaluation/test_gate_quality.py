"""The quality of the gate, computed by hand."""

import pytest

from caslie_tools.evaluation.caption_effects import joint_use, judged_captions
from caslie_tools.evaluation.gate_quality import gate_quality, total_gate_quality
from caslie_tools.evaluation.groups import group_outcomes
from caslie_tools.evaluation.outcomes import CaptionOutcome, Outcome, Treatment, TreatmentOutcome
from tests.evaluation.made_up_runs import judged, outcome

WITH_AND_WITHOUT = {
    "helpful": (True, False),
    "redundant": (True, True),
    "misleading": (False, True),
    "ineffective": (False, False),
}


def instances(**counts: tuple[int, int]) -> list[Outcome]:
    """Instances of each usefulness, with their number: (kept, rejected)."""
    made: list[Outcome] = []
    for use, (kept, rejected) in counts.items():
        every, none = WITH_AND_WITHOUT[use]
        for place in range(kept + rejected):
            made.append(judged(len(made), none=none, every=every, kept=place < kept))
    return made


@pytest.mark.parametrize("use", WITH_AND_WITHOUT)
def test_the_usefulness_is_the_effect_on_the_answer(use: str) -> None:
    every, none = WITH_AND_WITHOUT[use]
    one = judged(0, none=none, every=every)
    assert joint_use(one) == use
    assert [caption.use for caption in judged_captions(one)] == [use]


def test_the_shares_are_those_computed_by_hand() -> None:
    made = instances(helpful=(6, 2), redundant=(5, 5), misleading=(1, 3), ineffective=(4, 4))
    (quality,) = gate_quality(group_outcomes(made))
    assert quality.kept == {"helpful": 6, "redundant": 5, "misleading": 1, "ineffective": 4}
    assert quality.rejected == {"helpful": 2, "redundant": 5, "misleading": 3, "ineffective": 4}
    assert quality.count == 30
    assert quality.precision_helpful == 6 / 16
    assert quality.recall_helpful == 6 / 8
    assert quality.precision_harmless == 15 / 16
    assert quality.recall_harmless == 15 / 26
    assert quality.harm_avoided == 3 / 4
    assert quality.help_lost == 2 / 8
    # Right without captions: 10 redundant and 4 misleading. With: 10 redundant and 8 helpful. Oracle: all of them, 22.
    assert (quality.none_accuracy, quality.every_accuracy) == (14 / 30, 18 / 30)
    assert (quality.gated_accuracy, quality.oracle_accuracy) == ((10 + 6 + 3) / 30, 22 / 30)
    assert quality.headroom_used == (19 - 18) / (22 - 18)
    assert quality.headroom == pytest.approx(4 / 30)
    assert total_gate_quality(group_outcomes(made)) == [quality.model_copy(update={"scope": "all"})]


def test_a_gate_can_be_worse_than_none_and_every() -> None:
    (quality,) = gate_quality(group_outcomes(instances(helpful=(0, 4), misleading=(4, 0))))
    assert quality.gated_accuracy == 0
    assert quality.headroom_used == -1


def test_a_share_with_denominator_0_is_none() -> None:
    (quality,) = gate_quality(group_outcomes(instances(redundant=(0, 3))))
    assert quality.precision_helpful is quality.recall_helpful is quality.harm_avoided is quality.headroom_used is None
    assert quality.headroom == 0


def test_instances_without_a_caption_or_with_a_failure_are_counted_separately() -> None:
    good, uncaptioned, failed = (judged(index, none=False, every=True, kept=True) for index in range(3))
    without = {name: one.model_copy(update={"fused": 0}) for name, one in uncaptioned.treatments.items()}
    with_error = failed.treatments | {"every": TreatmentOutcome(error="the model is down")}
    (quality,) = gate_quality(
        group_outcomes(
            [
                good,
                uncaptioned.model_copy(update={"treatments": without}),
                failed.model_copy(update={"treatments": with_error}),
                outcome(3, "A", {"none": "A", "plain": "A"}),
            ]
        )
    )
    assert (quality.count, quality.without_caption, quality.failed) == (1, 1, 1)
    assert quality.gated_accuracy == 1


def of_several(*captions: tuple[bool | None, bool], none: bool, every: bool, gated: bool) -> Outcome:
    """An instance with several captions, each with: whether the answer is right without it, and whether it is kept."""
    right: dict[Treatment, bool] = {"none": none, "every": every, "gated": gated}
    fused = {"none": 0, "every": len(captions), "gated": sum(kept for _, kept in captions)}
    made = {
        name: TreatmentOutcome(
            answer="A",
            right=is_right,
            fused=fused[name],
            captions=tuple(
                CaptionOutcome(
                    image=index, text="A mug.", kept=kept, right_without=without if name == "every" else None
                )
                for index, (without, kept) in enumerate(captions)
            ),
        )
        for name, is_right in right.items()
    }
    return outcome(0, "A", {}).model_copy(update={"treatments": made})


def test_each_of_several_captions_has_the_effect_of_leaving_it_out() -> None:
    one = of_several((False, True), (True, False), (True, True), none=False, every=True, gated=True)
    assert [(caption.use, caption.kept) for caption in judged_captions(one)] == [
        ("helpful", True),
        ("redundant", False),
        ("redundant", True),
    ]
    (quality,) = gate_quality(group_outcomes([one]))
    assert (quality.count, quality.several, quality.partly, quality.captions) == (1, 1, 1, 3)
    assert (quality.kept["helpful"], quality.kept["redundant"], quality.rejected["redundant"]) == (1, 1, 1)
    other = of_several((True, True), (False, True), none=False, every=False, gated=False)
    assert [caption.use for caption in judged_captions(other)] == ["misleading", "ineffective"]


def test_the_oracle_is_never_worse_than_the_gate() -> None:
    # The gate finds a selection that neither none nor every nor leaving out a single caption has.
    found = of_several((False, True), (False, False), (False, False), none=False, every=False, gated=True)
    single = of_several((True, True), (False, True), none=False, every=False, gated=False)
    (quality,) = gate_quality(group_outcomes([found, single.model_copy(update={"index": 1, "key": "1"})]))
    assert (quality.none_accuracy, quality.every_accuracy, quality.gated_accuracy) == (0, 0, 0.5)
    assert quality.oracle_accuracy == 1
    assert quality.headroom_used == 0.5


def test_a_caption_whose_effect_is_unknown_is_not_counted() -> None:
    one = of_several((None, True), (True, True), none=True, every=True, gated=True)
    (quality,) = gate_quality(group_outcomes([one]))
    assert (quality.count, quality.captions) == (1, 1)


def test_a_run_without_gated_has_no_gate_quality() -> None:
    assert gate_quality(group_outcomes([outcome(0, "A", {"none": "A", "every": "A"})])) == []
