import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caslie_tools.data.json_files import MAX_VALUE_BYTES, UnreadableValue, read_json_values
from caslie_tools.data.reading import read_records
from caslie_tools.data.records import BadRecord, Record
from caslie_tools.exceptions import DataError, UnknownTaskError
from tests.data.hub_server import hub
from tests.data.raw_records import raw, read, write_lines
from tests.paths import ROOT
from tests.time_limits import HANG_SECONDS

GOOD = json.dumps(raw())


def array(path: Path, *elements: str, end: str = "]") -> Path:
    path.write_text("[" + ", ".join(elements) + end, encoding="utf-8")
    return path


def results(records: Iterator[Record | BadRecord]) -> tuple[list[str], str]:
    """The result of each record ("good", or the reason), and the error at the end, if any."""
    found: list[str] = []
    try:
        found.extend("good" if isinstance(record, Record) else record.reason for record in records)
    except DataError as error:
        return found, str(error)
    return found, ""


class TestFiles:
    def test_an_array_json_lines_and_a_folder_give_the_same_records(self, tmp_path: Path) -> None:
        rows = [raw(id="1"), raw("sequential_recommendation"), raw(split="train")]
        expected, _ = read(write_lines(tmp_path / "a.jsonl", *rows))
        assert [(record.index, record.task, record.split) for record in expected] == [
            (0, "category_classification", "test"),
            (1, "sequential_recommendation", "test"),
            (2, "category_classification", "train"),
        ]
        (tmp_path / "folder").mkdir()
        for name in ("b.json", "folder/dataset.json"):
            (tmp_path / name).write_text(json.dumps(rows, indent=1))
            assert read(tmp_path / name) == (expected, [])
        assert read(str(tmp_path / "folder")) == (expected, [])

    def test_a_folder_is_read_by_its_usual_or_its_only_file(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"its number of \.json and \.jsonl files is not one: none"):
            read_records(tmp_path)
        write_lines(tmp_path / "shop.jsonl", raw(id="shop"))
        assert [record.id for record in read(tmp_path)[0]] == ["shop"]
        (tmp_path / "card.json").write_text("{}")
        with pytest.raises(DataError, match=r"files is not one: card\.json, shop\.jsonl; pass a file"):
            read_records(tmp_path)
        write_lines(tmp_path / "dataset.jsonl", raw(id="usual"))
        assert [record.id for record in read(tmp_path)[0]] == ["usual"]

    @pytest.mark.parametrize(
        ("name", "reason"),
        [("none.json", "there is no such file"), ("a/none.jsonl", "no such file"), ("a/b/c", "no such file"),
         ("table.csv", "a .json or .jsonl file, or a folder with one")],
    )  # fmt: skip
    def test_a_source_that_is_not_a_dataset_is_refused_at_once(self, tmp_path: Path, name: str, reason: str) -> None:
        (tmp_path / "table.csv").touch()
        with pytest.raises(DataError, match=reason):
            read_records(str(tmp_path / name))

    def test_image_paths_are_relative_to_the_file(self, tmp_path: Path) -> None:
        file = write_lines(tmp_path / "a.jsonl", raw(images=["b.png"]), raw(images=["../b.png"]))
        (record,), (bad,) = read(file)
        assert record.instance.images[0].ref is not None
        assert record.instance.images[0].ref.path == tmp_path / "b.png"
        assert (bad.index, bad.reason[:43]) == (1, "image 1 leads out of the folder of the data")
        assert len(read(file, trust_paths=True)[0]) == 2

    def test_a_byte_order_mark_and_blank_lines_are_ignored(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_text(f"\ufeff\n{GOOD}\r\n\n{GOOD}", encoding="utf-8")
        (tmp_path / "a.json").write_text(f"\ufeff \n[{GOOD},{GOOD}]\n", encoding="utf-8")
        for name in ("a.jsonl", "a.json"):
            assert [record.index for record in read(tmp_path / name)[0]] == [0, 1]

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
    @pytest.mark.parametrize("suffix", [".json", ".jsonl"])
    def test_another_encoding_is_refused(self, tmp_path: Path, encoding: str, suffix: str) -> None:
        path = tmp_path / f"a{suffix}"
        path.write_text(f"[{GOOD}]", encoding=encoding)
        assert results(read_records(path)) == ([], f"{path}: not UTF-8 text; save it in UTF-8")


class TestFilters:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        rows = [raw(split="train"), raw("sentiment_analysis"), raw(), raw(output="Z"), raw(output="Z", split="train")]
        return write_lines(tmp_path / "a.jsonl", *rows, raw() | {"task": "?"}, "{", raw(split=None))

    @pytest.mark.parametrize(
        ("options", "good", "bad"),
        [
            ({}, [0, 1, 2, 7], [3, 4, 5, 6]),
            ({"splits": ["train"]}, [0], [4, 6]),
            ({"splits": ["test"]}, [1, 2], [3, 5, 6]),
            ({"tasks": ["cc"]}, [0, 2, 7], [3, 4, 5, 6]),
            ({"tasks": ["sentiment_analysis", "psi"], "splits": ["test"]}, [1], [5, 6]),
            ({"splits": ["other"]}, [], [6]),
        ],
    )
    def test_filtered_records_keep_their_position_in_the_source(
        self, path: Path, options: dict[str, Any], good: list[int], bad: list[int]
    ) -> None:
        found = read(path, **options)
        assert [[record.index for record in records] for records in found] == [good, bad]

    def test_an_unknown_task_is_refused_at_once(self, path: Path) -> None:
        with pytest.raises(UnknownTaskError):
            read_records(path, tasks=["captioning"])


LINES = {
    "not JSON": ("{nope", "the line is not JSON: Expecting property name enclosed in double quotes (character 2)"),
    "cut off": (GOOD[:50], "the line is not JSON: Invalid control character"),
    "a number": ("5", "the record is not a JSON object"),
    "an array": (f"[{GOOD}]", "the record is not a JSON object"),
    "NaN": ('{"a": NaN}', "the record has a number that is out of range"),
    "a very long number": ('{"a": ' + "9" * 5000 + "}", "the record has a number that is out of range"),
    "infinity": ('{"task": 1e999}', "the task inf is unknown"),
    "deep": ("[" * 100_000, "the record is nested too deeply"),
    "long": ('"' + "x" * MAX_VALUE_BYTES, f"the line is longer than {MAX_VALUE_BYTES:,} bytes"),
    "very long": ('"' + "x" * (2 * MAX_VALUE_BYTES), f"the line is longer than {MAX_VALUE_BYTES:,} bytes"),
    "no task": ("{}", "the record has no task"),
    "a long name": (json.dumps(raw(input={"x" * 10_000: 1})), "category_classification: "),
    "a key twice": ('{"task": "cc", "task": "zz"}', "the task 'zz' is unknown"),
}


class TestBadLines:
    @pytest.mark.parametrize(("line", "reason"), LINES.values(), ids=LINES)
    def test_a_bad_line_is_reported_and_the_other_lines_are_read(self, tmp_path: Path, line: str, reason: str) -> None:
        good, (bad,) = read(write_lines(tmp_path / "a.jsonl", GOOD, line, GOOD))
        assert [record.index for record in good] == [0, 2]
        assert bad.index == 1
        assert bad.reason.startswith(reason)
        assert len(bad.reason) <= 300

    def test_a_line_that_is_not_utf8_is_reported(self, tmp_path: Path) -> None:
        (tmp_path / "a.ndjson").write_bytes(f'{GOOD}\n"M\u00fcg"\n'.encode("latin-1"))
        assert results(read_records(tmp_path / "a.ndjson")) == (["good", "the line is not UTF-8 text"], "")


ELEMENTS = {
    "a number": ("5", "the record is not a JSON object"),
    "null": ("null", "the record is not a JSON object"),
    "an array": (f"[{GOOD}]", "the record is not a JSON object"),
    "an empty array": ("[]", "the record is not a JSON object"),
    "an empty object": ("{}", "the record has no task"),
    "deep": ("[" * 200_000 + "]" * 200_000, "the record is nested too deeply"),
    "a key twice": ('{"task": "cc", "task": "zz"}', "the task 'zz' is unknown"),
}
BROKEN = {
    "NaN": '{"a": NaN}',
    "infinity": '{"a": 1e999}',
    "a very long number": '{"a": ' + "9" * 5000 + "}",
    "no colon": '{"a" 1}',
    "no comma": "{} {}",
    "not UTF-8": '{"a": "\udcfc"}',
    "half a character in bytes": '{"a": "\udced\udca0\udc80"}',
    "unclosed brackets": "[[{",
    "too many closing brackets": "{}]]",
}


class TestBadArrays:
    @pytest.mark.parametrize(("element", "reason"), ELEMENTS.values(), ids=ELEMENTS)
    def test_a_bad_element_is_reported_and_the_other_elements_are_read(
        self, tmp_path: Path, element: str, reason: str
    ) -> None:
        found, end = results(read_records(array(tmp_path / "a.json", GOOD, element, GOOD)))
        assert (found, end) == (["good", reason, "good"], "")

    @pytest.mark.parametrize("element", BROKEN.values(), ids=BROKEN)
    def test_the_records_before_invalid_json_are_read(self, tmp_path: Path, element: str) -> None:
        path = tmp_path / "a.json"
        path.write_bytes(f"[{GOOD}, {GOOD}, {element}, {GOOD}]".encode("utf-8", "surrogateescape"))
        found, end = results(read_records(path))
        assert found[:2] == ["good", "good"]
        assert len(found) <= 3
        assert f"a.json: stops being JSON at record {len(found)}: " in end
        assert "\n" not in end

    def test_the_records_before_the_end_of_a_cut_off_file_are_read(self, tmp_path: Path) -> None:
        found, end = results(read_records(array(tmp_path / "a.json", GOOD, GOOD, end="")))
        assert found == ["good", "good"]
        assert "a.json: stops being JSON at record 2: parse error: premature EOF" in end

    def test_an_endless_record_is_not_read_into_memory(self, tmp_path: Path) -> None:
        found, end = results(read_records(array(tmp_path / "a.json", GOOD, '"' + "x" * (2 * MAX_VALUE_BYTES) + '"')))
        assert (found, end) == (
            ["good"], f"{tmp_path / 'a.json'}: record 1 is longer than {MAX_VALUE_BYTES:,} bytes"
        )  # fmt: skip

    @pytest.mark.parametrize("text", ["{}", f'{{"item": [{GOOD}]}}', "5", '"x"', f"{GOOD}\n{GOOD}\n"])
    def test_json_that_is_not_an_array_is_refused(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "a.json").write_text(text)
        found, end = results(read_records(tmp_path / "a.json"))
        assert found == []
        assert "a.json: not an array of records; rename it to .jsonl if each line is one record" in end

    @pytest.mark.parametrize("text", ["", " ", "x", "\0"])
    def test_a_file_without_json_is_refused(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "a.json").write_text(text)
        found, end = results(read_records(tmp_path / "a.json"))
        assert found == []
        assert end


_finite = st.floats(allow_nan=False, allow_infinity=False)
_text = st.text(st.characters(codec="utf-8"), max_size=20)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(1 - 2**63, 2**63 - 1) | _finite | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=8,
)


class TestAnyFile:
    @given(values=st.lists(_json, max_size=5))
    def test_values_are_those_of_the_json(self, values: list[Any]) -> None:
        with TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "a.json").write_text(json.dumps(values))
            write_lines(folder / "a.jsonl", *map(json.dumps, values))
            assert list(read_json_values(folder / "a.json")) == values
            assert list(read_json_values(folder / "a.jsonl")) == values

    @given(data=st.binary(max_size=40), cut=st.integers(0, 400))
    def test_arbitrary_bytes_are_read_or_refused(self, data: bytes, cut: int) -> None:
        with TemporaryDirectory() as folder:
            for suffix in (".json", ".jsonl"):
                path = Path(folder) / f"a{suffix}"
                path.write_bytes((f"[{GOOD}, ".encode() if suffix == ".json" else b"")[:cut] + data)
                results(read_records(path))


def test_an_unreadable_value_differs_from_a_string(tmp_path: Path) -> None:
    values = list(read_json_values(write_lines(tmp_path / "a.jsonl", '"the line is not JSON"', "x")))
    assert values[0] == "the line is not JSON"
    assert isinstance(values[1], UnreadableValue)


def test_a_large_file_is_read_as_a_stream(tmp_path: Path) -> None:
    """60 MB are read with less than 30 MB of additional memory."""
    record = json.dumps(raw("answerability_prediction", input={"question": "Why?", "document": ["x" * 20_000]}))
    array(tmp_path / "a.json", *[record] * 3_000)
    measure = (
        "import resource, sys; from caslie_tools.data.reading import read_records;"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; before = peak();"
        "print(sum(1 for _ in read_records(sys.argv[1])), peak() - before)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", measure, str(tmp_path / "a.json")],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True, timeout=HANG_SECONDS,
    )  # fmt: skip
    count, kilobytes = map(int, ended.stdout.split())
    assert count == 3_000
    assert kilobytes < 30_000


FromHub = Callable[..., list[str]]


class TestHub:
    @pytest.fixture
    def from_hub(self, tmp_path: Path) -> FromHub:
        """Reads a dataset from a hub in a new process, because the hub's client reads its settings at import."""
        pytest.importorskip("datasets")
        program = (
            "import sys; from caslie_tools.data.reading import read_records\n"
            "from caslie_tools.exceptions import DataError\n"
            "try:\n for one in read_records(sys.argv[1]):\n  print(getattr(one, 'reason', None) or one.split)\n"
            "except DataError as error:\n print(error)"
        )

        def run(dataset: str, **environment: str) -> list[str]:
            own = {"HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": str(ROOT), "NO_PROXY": "*"}
            ended = subprocess.run(
                [sys.executable, "-c", program, dataset],
                env=os.environ | own | environment, capture_output=True, text=True, check=False, timeout=HANG_SECONDS,
            )  # fmt: skip
            assert ended.returncode == 0, ended.stderr
            return ended.stdout.splitlines()

        return run

    def test_the_json_file_of_a_dataset_is_read(self, from_hub: FromHub) -> None:
        rows = [raw(), raw(images=["b.png"]), raw(split="train")]
        with hub({"README.md": b"# Data\n", "dataset.json": json.dumps(rows).encode()}) as address:
            found = from_hub("shop/data", HF_ENDPOINT=address)
        assert found == ["test", "image 1 is not a URL; use --trust-paths if the data is your own", "train"]

    def test_a_dataset_without_the_json_file_is_streamed(self, from_hub: FromHub) -> None:
        lines = "".join(json.dumps(row) + "\n" for row in (raw(split=None), raw(output="Z")))
        with hub({"train.jsonl": lines.encode(), "test.jsonl": lines.encode()}) as address:
            found = from_hub("shop/data", HF_ENDPOINT=address)
        bad = "category_classification: output 'Z' is not one of A, B"
        assert found == ["train", bad, "test", bad]

    def test_the_error_for_a_missing_or_unreachable_dataset_says_what_to_do(self, from_hub: FromHub) -> None:
        with hub({}) as address:
            (missing,) = from_hub("shop/other", HF_ENDPOINT=address)
        (offline,) = from_hub("shop/data", HF_HUB_OFFLINE="1")
        for message in (missing, offline):
            assert "the hub has no dataset of that name that can be read" in message
            assert "check the name and the connection, or download the dataset's dataset.json" in message
