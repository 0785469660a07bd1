from pathlib import Path
from typing import Any

import pytest

from caslie_tools.data.checking import DataReport, check_data
from caslie_tools.exceptions import DataError, UnknownTaskError
from tests.data.raw_records import TASKS, URL, raw, write_lines

FAULTS = Path(__file__).parent / "faults.jsonl"
"""30 records. Each has another fault, except the first and the last, which are valid."""

EXPECTED = [
    ("bad record", 1, "options is not JSON"),
    ("bad record", 2, "output 'C' is not one of A, B"),
    ("bad record", 3, "1 images for 2 products"),
    ("bad record", 4, "2 captions for 1 images"),
    ("duplicate id", 5, "record 0 has the same id 'r0'"),
    ("other task", 6, "its task is sentiment_analysis, but category_classification is expected"),
    ("bad record", 7, "the task 'captioning' is unknown"),
    ("bad record", 8, "the record has no output"),
    ("bad record", 9, "the record is not a JSON object"),
    ("bad record", 10, "the line is not JSON"),
    ("bad record", 11, "the record has no input"),
    ("bad record", 12, "title: Field required"),
    ("unknown split", 13, "the split 'tset'"),
    ("duplicate record", 14, "equal to record 0"),
    ("leak", 15, "the same question as record 0, which is in the split 'test'"),
    ("missing image", 16, "image 1 ('spoon.png') does not exist"),
    ("bad record", 17, "image 1 leads out of the folder of the data"),
    ("bad record", 18, "image 1 leads out of the folder of the data"),
    ("bad record", 19, "image 3 belongs to no text"),
    ("unknown split", 20, "the record has no split"),
    ("bad record", 21, "options are missing"),
    ("bad record", 22, "2 votes for 1 images"),
    ("bad record", 23, "votes has the element 'perhaps'"),
    ("bad record", 24, "2 products for 1 images"),
    ("bad record", 25, "its own letter"),
    ("bad record", 26, "half a character"),
    ("bad record", 27, "a number that is out of range"),
    ("bad record", 28, "images is not JSON"),
    ("empty split", None, "the split 'validation'"),
]


def checked(tmp_path: Path, *rows: Any, **options: Any) -> list[tuple[str, int | None]]:
    report = check_data(write_lines(tmp_path / "a.jsonl", *rows), **options)
    return [(finding.kind, finding.index) for finding in report.findings]


class TestEveryFault:
    def report(self) -> DataReport:
        return check_data(FAULTS, splits=("test", "validation"), tasks=["cc"])

    def test_every_fault_is_listed_and_nothing_else(self) -> None:
        report = self.report()
        found = [(finding.kind, finding.index) for finding in report.findings]
        assert found == [(kind, index) for kind, index, _ in EXPECTED]
        for finding, (_, _, reason) in zip(report.findings, EXPECTED, strict=True):
            assert reason in finding.reason

    def test_the_records_are_counted(self) -> None:
        report = self.report()
        bad = sum(kind == "bad record" for kind, _, _ in EXPECTED)
        assert (report.records, report.usable, report.passed, report.stopped) == (30, 30 - bad, False, False)
        assert sum(part.records for part in report.tasks) == report.usable

    def test_strict_stops_at_the_first_fault(self) -> None:
        report = check_data(FAULTS, strict=True)
        assert [(finding.kind, finding.index) for finding in report.findings] == [("bad record", 1)]
        assert (report.records, report.usable, report.stopped) == (2, 1, True)


class TestValidData:
    def test_a_dataset_of_every_task_passes(self, tmp_path: Path) -> None:
        report = check_data(write_lines(tmp_path / "a.jsonl", *map(raw, TASKS)))
        assert (report.findings, report.passed, report.records) == ((), True, len(TASKS))

    def test_null_images_and_urls_are_not_findings(self, tmp_path: Path) -> None:
        assert checked(tmp_path, raw(images=[None]), raw("sentiment_analysis", images=[URL])) == []

    @pytest.mark.parametrize(
        "split", ["train", "val", "Validation", "dev", "test", "ood", "test_ood", "OOD-test", "ind_test"]
    )
    def test_usual_split_names_are_accepted(self, tmp_path: Path, split: str) -> None:
        assert checked(tmp_path, raw(split=split), splits=[]) == []

    def test_a_split_given_by_the_user_is_accepted(self, tmp_path: Path) -> None:
        assert checked(tmp_path, raw(split="holiday"), splits=["holiday"]) == []
        assert checked(tmp_path, raw(split="holiday"), splits=[]) == [("unknown split", 0)]


class TestSeveralRecords:
    def test_an_unknown_split_is_reported_once(self, tmp_path: Path) -> None:
        rows = [raw(split=split, input={"title": str(number)}) for number, split in enumerate(["a", "test", "b", "a"])]
        assert checked(tmp_path, *rows) == [("unknown split", 0), ("unknown split", 2)]

    def test_a_split_with_only_bad_records_counts_as_empty(self, tmp_path: Path) -> None:
        assert checked(tmp_path, raw(output="Z")) == [("bad record", 0), ("empty split", None)]
        assert checked(tmp_path, raw(split="train")) == [("empty split", None)]

    def test_an_equal_record_is_a_duplicate_in_one_split_and_a_leak_in_another(self, tmp_path: Path) -> None:
        rows = [raw(), raw(split="train"), raw(), raw(split="train")]
        assert checked(tmp_path, *rows) == [("leak", 1), ("duplicate record", 2), ("duplicate record", 3)]

    @pytest.mark.parametrize(
        ("change", "leaks"),
        [
            ({"instruction": "Say which."}, True),
            ({"output": "A"}, True),
            ({"options": ["A: Kettles", "B: Toasters"]}, True),
            ({"caption_info": ["Other."]}, True),
            ({"options": ["A: Kettles", "B: Pots"]}, False),
            ({"input": {"title": "Pot"}}, False),
            ({"images": [None]}, False),
        ],
    )
    def test_the_same_question_in_two_splits_is_a_leak_even_if_other_fields_differ(
        self, tmp_path: Path, change: dict[str, Any], leaks: bool
    ) -> None:
        found = checked(tmp_path, raw(), raw(split="train", **change))
        assert found == ([("leak", 1)] if leaks else [])

    def test_a_record_with_one_option_is_a_finding(self, tmp_path: Path) -> None:
        assert checked(tmp_path, raw(options=["A: Kettles"], output="A")) == [("one option", 0)]

    def test_local_images_must_exist(self, tmp_path: Path) -> None:
        (tmp_path / "here.png").touch()
        (tmp_path / "folder.png").mkdir()
        rows = [raw(input={"title": name}, images=[name]) for name in ("here.png", "gone.png", "folder.png")]
        assert checked(tmp_path, *rows) == [("missing image", 1), ("missing image", 2)]

    def test_a_file_that_breaks_off_is_reported_with_the_records_before(self, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        path.write_text(f"[{FAULTS.read_text().splitlines()[0]}, {{")
        report = check_data(path)
        assert [(finding.kind, finding.index) for finding in report.findings] == [("broken off", 1)]
        assert report.usable == 1


def test_a_source_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    for path in (tmp_path / "a.json", tmp_path / "none.json"):
        with pytest.raises(DataError):
            check_data(path)
    with pytest.raises(UnknownTaskError):
        check_data(FAULTS, tasks=["captioning"])
