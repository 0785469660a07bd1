import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caslie_tools.data.records import Record
from caslie_tools.data.writing import record_fields, write_records
from caslie_tools.exceptions import DataError
from tests.data.raw_records import TASKS, URL, raw, read, write_lines


def some(tmp_path: Path) -> list[Record]:
    (tmp_path / "images").mkdir()
    rows = [raw(task, split=split) for task in TASKS for split in ("train", "test")]
    ours = raw("product_relation_prediction", id="ours", images=["./images/a.png", None], caption_info=[None, "NA"],
               products=["p1", None], votes=[True, None])  # fmt: skip
    text = raw("category_classification", images=None, caption_info=None, products=["p2"], users=["ann"],
               time="2026-01-31T12:00:00+00:00")  # fmt: skip
    odd = raw(input={"title": '\u2028 "\\ \U0001f353 \x00'}, images=[" " + URL], caption_info=None, split=None)
    good, bad = read(write_lines(tmp_path / "source.jsonl", *rows, ours, text, odd))
    assert bad == []
    return good


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.NDJSON"])
def test_written_records_are_read_back_unchanged(tmp_path: Path, name: str) -> None:
    records = some(tmp_path)
    assert write_records(iter(records), tmp_path / name) == len(records)
    assert read(tmp_path / name) == (records, [])
    again = tmp_path / f"again-{name}"
    write_records(records, again)
    assert again.read_bytes() == (tmp_path / name).read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_texts_that_a_record_lacks_stay_missing(tmp_path: Path) -> None:
    bare = raw("sentiment_analysis", instruction="")
    (record,), _ = read(write_lines(tmp_path / "a.jsonl", bare))
    assert (record.instance.instruction, len(record.instance.options)) != ("", 0)  # those of the task
    written = record_fields(record, tmp_path)
    assert (written["instruction"], written["options"]) == ("", "[]")


def test_all_fields_are_strings_as_in_mmecinstruct(tmp_path: Path) -> None:
    (record,), _ = read(write_lines(tmp_path / "a.jsonl", raw("category_classification", caption_info=None)))
    assert record_fields(record, tmp_path) == raw("category_classification", caption_info="[]")


def test_an_array_is_plain_json(tmp_path: Path) -> None:
    records = some(tmp_path)
    write_records(records, tmp_path / "a.json")
    rows = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert rows == [record_fields(record, tmp_path) for record in records]


@pytest.mark.parametrize(("name", "text"), [("a.json", "[]\n"), ("a.jsonl", "")])
def test_no_records_give_an_empty_file(tmp_path: Path, name: str, text: str) -> None:
    assert write_records([], tmp_path / name) == 0
    assert (tmp_path / name).read_text() == text
    assert read(tmp_path / name) == ([], [])


def test_image_paths_are_written_relative_to_the_new_file(tmp_path: Path) -> None:
    records = some(tmp_path)
    (tmp_path / "images" / "deeper").mkdir()
    write_records(records, tmp_path / "images" / "deeper" / "b.jsonl")
    good, bad = read(tmp_path / "images" / "deeper" / "b.jsonl", trust_paths=True)
    assert bad == []
    ours = next(record for record in good if record.id == "ours")
    image = ours.instance.images[0].ref
    assert image is not None
    assert image.path is not None
    assert image.path.resolve() == tmp_path / "images" / "a.png"


@pytest.mark.parametrize("name", ["a.csv", "a", "a.json.gz"])
def test_another_kind_of_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"written to a \.json or \.jsonl file"):
        write_records([], tmp_path / name)


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.json: cannot be written: No such file"):
        write_records([], tmp_path / "none" / "a.json")
    (tmp_path / "b.json").mkdir()
    with pytest.raises(DataError, match=r"b\.json: cannot be written: Is a directory"):
        write_records([], tmp_path / "b.json")
    assert [path.name for path in tmp_path.iterdir()] == ["b.json"]


def test_the_old_file_stays_until_all_records_are_written(tmp_path: Path) -> None:
    records = some(tmp_path)
    path = tmp_path / "a.jsonl"
    path.write_text("before\n")

    def breaks() -> Iterator[Record]:
        yield records[0]
        assert path.read_text() == "before\n"
        raise DataError("no more")

    with pytest.raises(DataError, match="no more"):
        write_records(breaks(), path)
    assert path.read_text() == "before\n"
    assert not list(tmp_path.glob(".*"))


_text = st.text(st.characters(codec="utf-8"), max_size=20)
_price = st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.lists(_text, max_size=2)


@given(
    text=_text.filter(bool), price=_price, output=_text, split=_text, caption=st.none() | _text,
    image=st.none() | st.sampled_from([URL, "a.png", "./b/../c.png", "data:,x", ""]), product=st.none() | _text,
    suffix=st.sampled_from([".json", ".jsonl"]),
)  # fmt: skip
def test_any_record_is_read_back_unchanged(
    text: str, price: Any, output: str, split: str, caption: Any, image: Any, product: Any, suffix: str
) -> None:
    asked = {"question": text, "products": [{"id": text, "price": price}]}
    fields = {"images": [image], "caption_info": [caption], "products": [product]}
    row = raw("product_qa", input=asked, output=output, split=split, id=text, **fields)
    with TemporaryDirectory() as name:
        folder = Path(name)
        records, bad = read(write_lines(folder / "source.jsonl", row))
        assert bad == []
        write_records(records, folder / f"a{suffix}")
        assert read(folder / f"a{suffix}") == (records, [])
