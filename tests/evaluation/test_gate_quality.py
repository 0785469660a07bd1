"""The gate's quality by hand."""

import pytest

from caslie_tools.evaluation.gate_quality import gate_quality, usefulness
from caslie_tools.evaluation.outcomes import Outcome, TreatmentOutcome
from caslie_tools.evaluation.reading import grouped
from tests.evaluation.runs import judged, outcome

WITH_AND_WITHOUT = {
    "helpful": (True, False),
    "redundant": (True, True),
    "misleading": (False, True),
    "ineffective": (False, False),
}


def instances(**counts: tuple[int, int]) -> list[Outcome]:
    """As many as told of each usefulness: (kept, rejected)."""
    made: list[Outcome] = []
    for use, (kept, rejected) in counts.items():
        every, none = WITH_AND_WITHOUT[use]
        for place in range(kept + rejected):
            made.append(judged(len(made), none=none, every=every, kept=place < kept))
    return made


@pytest.mark.parametrize("use", WITH_AND_WITHOUT)
def test_a_caption_is_what_it_does_to_the_answer(use: str) -> None:
    every, none = WITH_AND_WITHOUT[use]
    assert usefulness(judged(0, none=none, every=every)) == use


def test_shares_by_hand() -> None:
    made = instances(helpful=(6, 2), redundant=(5, 5), misleading=(1, 3), ineffective=(4, 4))
    quality, every = gate_quality(grouped(made))
    assert quality.kept == {"helpful": 6, "redundant": 5, "misleading": 1, "ineffective": 4}
    assert quality.rejected == {"helpful": 2, "redundant": 5, "misleading": 3, "ineffective": 4}
    assert quality.count == 30
    assert quality.precision_helpful == 6 / 16
    assert quality.recall_helpful == 6 / 8
    assert quality.precision_harmless == 15 / 16
    assert quality.recall_harmless == 15 / 26
    assert quality.harm_avoided == 3 / 4
    assert quality.help_lost == 2 / 8
    # Right without: redundant 10 and misleading 4; with: redundant 10 and helpful 8; at best: all three, 22.
    assert (quality.none_accuracy, quality.every_accuracy) == (14 / 30, 18 / 30)
    assert (quality.gated_accuracy, quality.oracle_accuracy) == ((10 + 6 + 3) / 30, 22 / 30)
    assert quality.headroom_used == (19 - 18) / (22 - 18)
    assert quality.headroom == pytest.approx(4 / 30)
    assert every == quality.model_copy(update={"scope": "all"})


def test_a_gate_can_do_worse_than_none_and_every() -> None:
    (quality, _) = gate_quality(grouped(instances(helpful=(0, 4), misleading=(4, 0))))
    assert quality.gated_accuracy == 0
    assert quality.headroom_used == -1


def test_nothing_to_divide_by_is_no_share() -> None:
    (quality, _) = gate_quality(grouped(instances(redundant=(0, 3))))
    assert quality.precision_helpful is quality.recall_helpful is quality.harm_avoided is quality.headroom_used is None
    assert quality.headroom == 0


def test_instances_without_a_caption_or_with_a_failure_are_counted_apart() -> None:
    good, bare, broken = (judged(index, none=False, every=True, kept=True) for index in range(3))
    unseen = {name: one.model_copy(update={"fused": 0}) for name, one in bare.treatments.items()}
    down = broken.treatments | {"every": TreatmentOutcome(error="the model is down")}
    (quality, _) = gate_quality(
        grouped(
            [
                good,
                bare.model_copy(update={"treatments": unseen}),
                broken.model_copy(update={"treatments": down}),
                outcome(3, "A", {"none": "A", "plain": "A"}),
            ]
        )
    )
    assert (quality.count, quality.without_caption, quality.failed) == (1, 1, 1)
    assert quality.gated_accuracy == 1


def test_several_captions_are_judged_together_and_some_kept_is_kept() -> None:
    (one,) = instances(helpful=(1, 0))
    fused = {"none": 0, "every": 3, "gated": 2}
    several = {name: one.treatments[name].model_copy(update={"fused": fused[name]}) for name in one.treatments}  # type: ignore[index]
    (quality, _) = gate_quality(grouped([one.model_copy(update={"treatments": several})]))
    assert (quality.several, quality.partly, quality.kept["helpful"]) == (1, 1, 1)


def test_a_run_that_never_asked_the_gate_has_no_quality() -> None:
    assert gate_quality(grouped([outcome(0, "A", {"none": "A", "every": "A"})])) == []
