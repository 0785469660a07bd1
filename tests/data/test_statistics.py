import json
from pathlib import Path

import pytest

from caslie_tools.data.statistics import Quantiles, RecordCounter, TaskStatistics, data_statistics
from caslie_tools.exceptions import DataError
from tests.data.raw_records import raw, read, write_lines


def test_records_are_counted_per_task_and_split(tmp_path: Path) -> None:
    (tmp_path / "here.png").touch()
    rows = [
        raw(images=["here.png"], caption_info=["A kettle."]),
        raw(images=["gone.png"], caption_info=["NA"], output="A", options=["A: Pots", "B: Pans", "C: Mugs"]),
        raw(images=[None], caption_info=None, output="A"),
        raw(split="train"),
        raw("sentiment_analysis", images=[], caption_info=[]),
        raw(output="Z"),
    ]
    counted = data_statistics(write_lines(tmp_path / "a.jsonl", *rows))
    length = len(json.dumps({"title": "Kettle"}))
    same = Quantiles(least=length, median=length, p95=length, most=length)
    assert counted.tasks[0] == TaskStatistics(
        task="category_classification",
        split="test",
        records=3,
        options={2: 2, 3: 1},
        images={1: 3},
        missing_images=2,
        captions=1,
        answers={"A": 2, "B": 1},
        characters=same,
    )
    assert [(part.task, part.split, part.records) for part in counted.tasks[1:]] == [
        ("category_classification", "train", 1),
        ("sentiment_analysis", "test", 1),
    ]
    assert (counted.records, [bad.index for bad in counted.bad]) == (5, [5])


def test_open_questions_are_counted_by_whether_they_have_an_answer(tmp_path: Path) -> None:
    rows = [raw("product_qa", output=output) for output in ("Red.", "", "Blue.")]
    (part,) = data_statistics(write_lines(tmp_path / "a.jsonl", *rows)).tasks
    assert part.answers == {"answered": 2, "unanswered": 1}


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [([7], (7, 7, 7, 7)), ([1, 2], (1, 1, 2, 2)), (range(1, 101), (1, 50, 95, 100)), (range(1, 21), (1, 10, 19, 20))],
)
def test_quantiles_are_lengths_that_occur(tmp_path: Path, lengths: list[int], expected: tuple[int, ...]) -> None:
    around = len(json.dumps({"title": ""}))
    rows = [raw(input={"title": "\u00fc" * length}) for length in reversed(lengths)]
    (part,) = data_statistics(write_lines(tmp_path / "a.jsonl", *rows)).tasks
    assert tuple(length - around for length in part.characters.model_dump().values()) == expected


def test_the_filters_of_reading_apply(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", raw(), raw("sentiment_analysis"), raw(split="train"))
    (part,) = data_statistics(path, splits=["test"], tasks=["sa"]).tasks
    assert (part.task, part.split) == ("sentiment_analysis", "test")
    with pytest.raises(DataError):
        data_statistics(tmp_path / "none.json")


def test_a_record_counter_counts_records_one_by_one(tmp_path: Path) -> None:
    counter = RecordCounter()
    assert counter.statistics() == ()
    for record in read(write_lines(tmp_path / "a.jsonl", raw(), raw()))[0]:
        counter.add(record)
    assert counter.statistics()[0].records == 2
