"""Calibrating text-first thresholds on made-up answers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scipy", reason="calibrating needs the extra 'evaluation'")

from caslie_tools.evaluation.outcomes import Outcome
from caslie_tools.exceptions import DataError, InputError, UnsupportedModelError
from caslie_tools.pipeline.text_first import Guarantee, TextFirst
from caslie_tools.tuning.text_first import TextFirstCalibration, tune_text_first
from tests.evaluation.made_up_runs import write_run
from tests.tuning.text_first_runs import TASK, answered, text_first_run

GUARANTEE: dict[str, Any] = {"max_loss": 0.05, "confidence": 0.95}
"""Needs 59 products without a loss."""


def calibrate(folder: Path, outcomes: Sequence[Outcome], **guarantee: Any) -> TextFirstCalibration:
    return tune_text_first(text_first_run(folder, outcomes), **GUARANTEE | guarantee)


def test_the_threshold_is_the_last_before_the_loss_is_too_large(tmp_path: Path) -> None:
    # Of 100 products, those with a confidence under 0.5 are all lost. One of 100 may be lost, but not two.
    outcomes = [answered(index, confidence=1 - index / 100, lost=index > 50) for index in range(100)]
    calibration = calibrate(tmp_path, outcomes)
    (found,) = calibration.tasks
    # 1 - 0.51 is lost too, and still within the guarantee: P(at most 1 of 100 | 0.05) = 0.037, of 2: 0.118.
    assert found.threshold == 1 - 51 / 100
    assert (found.count, found.clusters, found.answered, found.lost, found.gained) == (100, 100, 52, 1, 0)
    assert (found.captions, found.captions_saved, found.votes, found.votes_saved) == (100, 52, 300, 156)
    assert found.loss == 0.01
    assert found.bound is not None
    assert 0.04 < found.bound <= 0.05
    first = calibration.text_first
    assert first is not None
    assert (first.predictor, first.thresholds) == ("made-up", {TASK: found.threshold})
    assert first.guarantee == Guarantee(max_loss=0.05, confidence=0.95)
    assert first.provenance["data"] == "made-up.json"
    assert first.provenance["splits"] == ["validation"]
    assert calibration.notes == ("calibrated on the split validation: evaluate the thresholds on another split",)


def test_answers_with_equal_confidence_stand_and_fall_together(tmp_path: Path) -> None:
    sure = [answered(index, confidence=0.9, lost=False) for index in range(80)]
    unsure = [answered(index, confidence=0.6, lost=index >= 90) for index in range(80, 100)]
    (found,) = calibrate(tmp_path, [*unsure, *sure]).tasks
    assert (found.threshold, found.answered, found.lost) == (0.9, 80, 0)


def test_gained_answers_do_not_make_up_for_lost_ones(tmp_path: Path) -> None:
    outcomes = [answered(index, confidence=0.9, lost=index < 10, gained=10 <= index < 40) for index in range(100)]
    (found,) = (calibration := calibrate(tmp_path, outcomes)).tasks
    assert (found.threshold, found.answered, found.lost, found.bound) == (None, 0, 0, None)
    assert found.reason == "the answers that the predictor is surest of from text alone are already lost too often"
    assert calibration.text_first is None


def test_repeated_instances_of_a_product_prove_nothing_more(tmp_path: Path) -> None:
    few = [answered(index, confidence=0.9, lost=False, products=[f"p{index % 20}"]) for index in range(400)]
    with pytest.raises(
        DataError,
        match=f"a loss of at most 0.05 with confidence 0.95: 59 independent products are needed, {TASK} has 20; "
        "evaluate more products, or allow a larger loss",
    ):
        calibrate(tmp_path, few)
    # Instances without names are independent of each other.
    nameless = [answered(index, confidence=0.9, lost=False, products=[]) for index in range(400)]
    calibration = calibrate(tmp_path / "nameless", nameless)
    assert calibration.tasks[0].clusters == 400
    assert calibration.notes[1].startswith("some instances do not name their products")


def test_pairs_that_are_connected_by_shared_products_are_one_cluster(tmp_path: Path) -> None:
    chain = [
        answered(index, confidence=0.9, lost=False, products=[f"p{index}", f"p{index + 1}"]) for index in range(99)
    ]
    with pytest.raises(DataError, match=f"{TASK} has 1;"):
        calibrate(tmp_path, chain)


def test_each_product_counts_the_same(tmp_path: Path) -> None:
    # 100 products with one instance each, and one with 100 instances that are all lost.
    outcomes = [
        answered(index, confidence=0.9, lost=index >= 100, products=[f"p{min(index, 100)}"]) for index in range(200)
    ]
    (found,) = calibrate(tmp_path, outcomes, max_loss=0.1).tasks
    assert (found.threshold, found.lost, found.clusters) == (0.9, 100, 101)
    assert found.loss == pytest.approx(1 / 101)


def test_a_task_with_too_few_products_has_no_threshold_and_others_have_one(tmp_path: Path) -> None:
    outcomes = [answered(index, confidence=0.9, lost=False) for index in range(100)]
    outcomes += [
        answered(index, confidence=0.9, lost=False, task="product_substitute_identification")
        for index in range(100, 110)
    ]
    calibration = calibrate(tmp_path, outcomes)
    reasons = {task.task: task.reason for task in calibration.tasks}
    assert reasons == {
        "product_substitute_identification": "59 independent products are needed, there are 10",
        TASK: "the loss is within the guarantee",
    }
    assert calibration.text_first is not None
    assert list(calibration.text_first.thresholds) == [TASK]


def test_instances_without_a_caption_or_with_a_failed_model_do_not_count(tmp_path: Path) -> None:
    outcomes = [answered(index, confidence=0.9, lost=False) for index in range(100)]
    outcomes += [answered(100, confidence=0.9, lost=True, caption="")]
    outcomes += [answered(101, confidence=0.9, lost=True, error="busy")]
    outcomes += [answered(102, confidence=0.9, lost=True, task="product_qa")]
    (found,) = calibrate(tmp_path, outcomes).tasks
    assert (found.count, found.lost) == (100, 0)


def test_the_file_can_be_used_as_it_is_written(tmp_path: Path) -> None:
    calibration = calibrate(tmp_path, [answered(index, confidence=1 / (index + 1), lost=False) for index in range(100)])
    assert calibration.text_first is not None
    calibration.text_first.save(tmp_path / "text-first.json")
    assert TextFirst.load(tmp_path / "text-first.json") == calibration.text_first
    assert calibration.text_first.thresholds[TASK] == 1 / 100  # exactly, so that the same answer is enough again


class TestBadInput:
    @pytest.mark.parametrize(
        "guarantee", [{"max_loss": 0.0}, {"max_loss": 1.0}, {"confidence": 1.0}, {"confidence": -1}]
    )
    def test_a_guarantee_outside_of_0_and_1(self, tmp_path: Path, guarantee: dict[str, float]) -> None:
        with pytest.raises(InputError, match="must be between 0 and 1"):
            tune_text_first(tmp_path, **guarantee)

    def test_a_predictor_without_probabilities(self, tmp_path: Path) -> None:
        outcomes = [answered(index, confidence=None, lost=False) for index in range(3)]
        with pytest.raises(UnsupportedModelError, match=f"the predictor made-up reports no probabilities for {TASK}"):
            calibrate(tmp_path, outcomes)

    def test_a_run_without_the_treatments(self, tmp_path: Path) -> None:
        outcome = answered(0, confidence=0.9, lost=False)
        del outcome.treatments["gated"]
        with pytest.raises(DataError, match="run caslie eval with the treatments none and gated"):
            calibrate(tmp_path, [outcome])

    def test_a_run_that_does_not_name_its_predictor(self, tmp_path: Path) -> None:
        run = write_run(tmp_path, [answered(0, confidence=0.9, lost=False)])
        with pytest.raises(DataError, match=r"its run\.json does not name the predictor"):
            tune_text_first(run)
        (run / "run.json").write_text(json.dumps({"predictor": "made-up"}), encoding="utf-8")
        with pytest.raises(DataError, match="149 independent products are needed"):
            tune_text_first(run)

    def test_a_folder_without_a_run(self, tmp_path: Path) -> None:
        (tmp_path / "run.json").write_text(json.dumps({"predictor": "made-up"}), encoding="utf-8")
        with pytest.raises(DataError, match="pass the folder of a run of caslie eval"):
            tune_text_first(tmp_path)
