from pathlib import Path

import pytest

pytest.importorskip("jinja2", reason="comparisons need the extra 'evaluation'")
pytest.importorskip("sklearn", reason="comparisons need the extra 'evaluation'")

from caslie_tools.evaluation.compare import compare_runs
from caslie_tools.exceptions import DataError
from tests.evaluation.made_up_runs import outcome, write_run


def test_runs_are_compared_on_the_instances_that_both_have(tmp_path: Path) -> None:
    before = write_run(
        tmp_path / "before",
        [outcome(index, "A", {"none": "A", "gated": "A" if index < 6 else "B"}) for index in range(12)],
    )
    after = write_run(
        tmp_path / "after",
        [outcome(index, "A", {"gated": "A" if index < 9 else "B", "plain": "A"}) for index in range(2, 15)],
    )
    compared = compare_runs(before, after)
    assert (compared.first, compared.second) == ("before", "after")
    assert (compared.common, compared.only_first, compared.only_second) == (10, 2, 3)
    (test,) = compared.tests  # the only treatment that both have
    assert (test.treatment, test.count) == ("gated", 10)
    # Of records 2 to 11: right before 2 to 5, right after 2 to 8.
    assert (test.first_value, test.second_value) == (0.4, 0.7)
    assert test.difference == pytest.approx(-0.3)
    assert (test.only_first, test.only_second, test.p_value) == (0, 3, 0.25)
    assert test.interval.low < -0.3 < test.interval.high
    assert compared.columns == ("task", "treatment", "instances", "before", "after", "difference", "p, adjusted")
    (row,) = compared.rows
    assert row[:5] == ("multiclass_product_classification", "gated", "10", "0.40", "0.70")
    assert row[6] == "0.250"
    assert "10 instances are in both runs" in compared.markdown
    assert "| multiclass_product_classification | gated | 10 | 0.40 | 0.70 | -0.30 (" in compared.markdown


def test_a_run_does_not_differ_from_itself(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [outcome(index, "A", {"none": "AB"[index % 2]}) for index in range(10)])
    (test,) = compare_runs(run, run).tests
    assert (test.difference, test.p_value) == (0, 1)
    assert test.interval.low == -test.interval.high


def test_runs_with_nothing_in_common_are_refused(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", [outcome(0, "A", {"none": "A"})])
    second = write_run(tmp_path / "second", [outcome(0, "A", {"every": "A"})])
    third = write_run(tmp_path / "third", [outcome(1, "A", {"none": "A"})])
    for other in (second, third):
        with pytest.raises(DataError, match="cannot be compared: they have no instance and treatment in common"):
            compare_runs(first, other)


def test_several_tests_are_adjusted_together_and_splits_are_compared_separately(tmp_path: Path) -> None:
    before, after = (
        write_run(
            tmp_path / name,
            [
                outcome(index, "A", {"none": answer, "every": "A"}, split="ood" if index % 2 else "test")
                for index in range(20)
            ],
        )
        for name, answer in (("before", "A"), ("after", "B"))
    )
    compared = compare_runs(before, after)
    assert [(test.split, test.treatment) for test in compared.tests] == [
        ("ood", "none"),
        ("ood", "every"),
        ("test", "none"),
        ("test", "every"),
    ]
    assert [test.adjusted for test in compared.tests] == pytest.approx([4 * 2 / 2**10, 1, 4 * 2 / 2**10, 1])
    assert compared.columns[1] == "split"
    assert [row[1] for row in compared.rows] == ["ood", "ood", "test", "test"]
