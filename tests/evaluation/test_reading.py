from pathlib import Path

import pytest

from caslie_tools.evaluation.groups import group_outcomes
from caslie_tools.evaluation.reading import read_outcomes, read_run_description
from caslie_tools.exceptions import DataError, UnknownTaskError
from tests.evaluation.made_up_runs import outcome, write_run


def test_outcomes_are_in_the_order_of_the_data(tmp_path: Path) -> None:
    run = write_run(tmp_path, [outcome(index, "A", {"none": "A"}) for index in (2, 0, 1)])
    assert [one.index for one in read_outcomes(run)] == [0, 1, 2]


def test_an_incomplete_last_line_is_skipped_and_an_incomplete_line_before_it_is_an_error(tmp_path: Path) -> None:
    whole = [outcome(index, "A", {"none": "A"}) for index in range(2)]
    run = write_run(tmp_path, whole)
    path = run / "outcomes.jsonl"
    complete = path.read_bytes()
    for length in range(1, 200, 20):
        path.write_bytes(complete + complete[:length])
        assert read_outcomes(run) == whole
    path.write_bytes(complete[:-20] + b"\n" + complete)
    with pytest.raises(DataError, match="line 2 is not an outcome"):
        read_outcomes(run)


def test_of_two_lines_with_one_key_the_first_counts(tmp_path: Path) -> None:
    first, second = outcome(0, "A", {"none": "A"}), outcome(0, "A", {"none": "B"})
    assert read_outcomes(write_run(tmp_path, [first, second])) == [first]


def test_a_folder_without_outcomes_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="pass the folder of a run"):
        read_outcomes(tmp_path / "nowhere")
    with pytest.raises(DataError, match="it has no outcomes"):
        read_outcomes(write_run(tmp_path, []))


def test_the_description_of_a_run_is_an_object_or_missing(tmp_path: Path) -> None:
    assert read_run_description(tmp_path) == {}
    (tmp_path / "run.json").write_text('{"profile": "embedded"}')
    assert read_run_description(tmp_path) == {"profile": "embedded"}
    for wrong in ("[1]", "{"):
        (tmp_path / "run.json").write_text(wrong)
        with pytest.raises(DataError, match="not"):
            read_run_description(tmp_path)


def test_groups_are_in_the_order_of_the_tasks() -> None:
    mixed = [
        outcome(0, "A", {"none": "A"}, task="sr"),
        outcome(1, "yes", {"none": "yes"}, task="ap", split="test"),
        outcome(2, "yes", {"none": "yes", "every": "no"}, task="ap", split="ood"),
    ]
    groups = group_outcomes(mixed)
    assert [group.label for group in groups] == [
        "answerability_prediction, ood",
        "answerability_prediction, test",
        "sequential_recommendation, test",
    ]
    assert [len(group.with_treatments("none", "every")) for group in groups] == [1, 0, 0]
    with pytest.raises(UnknownTaskError):
        group_outcomes([mixed[0].model_copy(update={"task": "juggling"})])
