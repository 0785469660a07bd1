"""``caslie data``: the output of each command, and a download that is killed."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from tests.cli.commands import Command, assert_error, finish, start
from tests.data.raw_records import raw, write_lines
from tests.doubles import draw_picture
from tests.paths import ROOT
from tests.shop import PictureServer, picture_server
from tests.time_limits import HANG_SECONDS

FAULTS = ROOT / "tests" / "data" / "faults.jsonl"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    rows = [raw(), raw("sentiment_analysis"), raw(split="train", input={"title": "Pot"}), raw(output="Z")]
    return write_lines(tmp_path / "dataset.jsonl", *rows)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PictureServer]:
    monkeypatch.setenv("CASLIE_IMAGES__ALLOW_PRIVATE_ADDRESSES", "true")
    with picture_server() as server:
        yield server


class TestStats:
    def test_the_document_counts_records_by_task_and_split(self, caslie: Command, dataset: Path) -> None:
        result = caslie("data", "stats", dataset, "--json")
        assert result.code == 0
        assert [(part["task"], part["split"], part["records"]) for part in result.document["tasks"]] == [
            ("category_classification", "test", 1),
            ("category_classification", "train", 1),
            ("sentiment_analysis", "test", 1),
        ]
        assert result.document["bad"] == [
            {"index": 3, "reason": "category_classification: output 'Z' is not one of A, B"}
        ]

    def test_the_table_can_be_limited_to_a_split_and_a_task(self, caslie: Command, dataset: Path) -> None:
        result = caslie("data", "stats", dataset, "--split", "test", "--tasks", "sa")
        assert "sentiment_analysis" in result.out
        assert "category_classification" not in result.out
        result = caslie("data", "stats", dataset, "--tasks", "sa, cc", "--split", "test", "--split", "train", "--json")
        assert {part["task"] for part in result.document["tasks"]} == {"sentiment_analysis", "category_classification"}
        result = caslie("data", "stats", dataset)
        assert "warning: record 3 was skipped: category_classification: output 'Z'" in result.err


class TestCheck:
    def test_every_problem_is_listed_and_the_exit_code_is_1(self, caslie: Command) -> None:
        result = caslie("data", "check", FAULTS, "--tasks", "cc", "--split", "test,validation", "--json")
        assert result.code == 1
        assert result.document["passed"] is False
        assert len(result.document["findings"]) == 29
        assert result.document["findings"][-1] == {
            "kind": "empty split", "index": None, "reason": "the split 'validation' has no usable record",
        }  # fmt: skip

    def test_the_output_lists_the_first_problems(self, caslie: Command) -> None:
        result = caslie("data", "check", FAULTS)
        assert result.code == 1
        assert "record 14, duplicate record: equal to record 0" in result.out
        assert "  7 more; use --json to list all" in result.out

    def test_strict_stops_at_the_first_problem(self, caslie: Command) -> None:
        result = caslie("data", "check", FAULTS, "--strict", "--json")
        assert result.code == 1
        assert [finding["index"] for finding in result.document["findings"]] == [1]

    def test_a_valid_dataset_passes(self, caslie: Command, tmp_path: Path) -> None:
        result = caslie("data", "check", write_lines(tmp_path / "valid.jsonl", raw()))
        assert result.code == 0
        assert "1 records, 1 valid; 0 problems" in result.out


class TestConvert:
    def test_valid_records_are_written_and_the_others_are_listed(
        self, caslie: Command, dataset: Path, tmp_path: Path
    ) -> None:
        result = caslie("data", "convert", dataset, tmp_path / "all.json", "--json")
        assert (result.code, result.document["written"]) == (0, 3)
        assert [record["index"] for record in result.document["bad"]] == [3]
        result = caslie(
            "data", "convert", tmp_path / "all.json", tmp_path / "part.jsonl", "--split", "test", "--tasks", "cc"
        )
        assert "1 records written to" in result.out
        (line,) = (tmp_path / "part.jsonl").read_text().splitlines()
        assert json.loads(line)["task"] == "category_classification"

    def test_strict_writes_nothing(self, caslie: Command, dataset: Path, tmp_path: Path) -> None:
        result = caslie("data", "convert", dataset, tmp_path / "all.json", "--strict")
        assert_error(result, code=2, contains=["record 3: category_classification: output 'Z'", "nothing was written"])
        assert not (tmp_path / "all.json").exists()

    def test_images_outside_the_folder_are_a_warning(self, caslie: Command, tmp_path: Path) -> None:
        source = write_lines(tmp_path / "a.jsonl", raw(images=["a.png"]), raw(images=["x/b.png"]))
        (tmp_path / "x").mkdir()
        result = caslie("data", "convert", source, tmp_path / "x" / "b.jsonl")
        assert "warning: 1 records have images outside" in result.err
        assert caslie("data", "convert", source, tmp_path / "c.jsonl").err == ""


INVALID_INPUT = {
    "no such file": (("check", "none.json"), "none.json: there is no such file or folder"),
    "another kind": (("stats", "table.csv"), "instruction data is a .json or .jsonl file"),
    "no array": (("stats", "object.json"), "object.json: not an array of records"),
    "an unknown task": (("stats", "dataset.jsonl", "--tasks", "x"), "there is no task 'x'"),
    "a target of another kind": (("convert", "dataset.jsonl", "a.csv"), "a .json or .jsonl file; change the suffix"),
    "nothing to write": (("convert", "dataset.jsonl", "a.json", "--split", "none"), "there is no record to write"),
    "no folder to fetch to": (("fetch-images", "dataset.jsonl"), "see caslie data fetch-images --help"),
    "a file to fetch to": (("fetch-images", "dataset.jsonl", "--to", "table.csv"), "table.csv: cannot be read"),
}


@pytest.mark.parametrize(("arguments", "expected"), INVALID_INPUT.values(), ids=INVALID_INPUT)
def test_invalid_input_is_refused(
    caslie: Command, dataset: Path, tmp_path: Path, arguments: tuple[str, ...], expected: str
) -> None:
    (tmp_path / "table.csv").touch()
    (tmp_path / "object.json").write_text("{}")
    assert_error(caslie("data", *arguments), code=2, contains=[expected])
    assert expected in caslie("data", *arguments, "--json").document["error"]["message"]


class TestFetchImages:
    def fetch(self, caslie: Command, source: Path, folder: Path, *options: str) -> Any:
        result = caslie("data", "fetch-images", source, "--to", folder, *options, "--json")
        assert result.code == 0
        return result.document

    def test_each_url_is_downloaded_once_and_failures_are_remembered(
        self, caslie: Command, server: PictureServer, tmp_path: Path
    ) -> None:
        server.pictures["/a.png"] = draw_picture("A")
        images = [server.url("/a.png"), server.url("/dead.png")]
        source = write_lines(tmp_path / "a.jsonl", raw("product_relation_prediction", images=images), "{")
        folder = tmp_path / "images"
        document = self.fetch(caslie, source, folder)
        assert (document["urls"], document["fetched"], len(document["failed"])) == (2, 1, 1)
        assert self.fetch(caslie, source, folder)["known"] == 2
        assert len(server.requests) == 2
        server.pictures["/dead.png"] = draw_picture("ALIVE")
        assert self.fetch(caslie, source, folder, "--retry-dead")["fetched"] == 1
        result = caslie("data", "fetch-images", source, "--to", folder)
        assert "2 different URLs: 0 downloaded, 2 finished in earlier runs, 0 failed" in result.out

    def test_private_addresses_are_refused_by_default(
        self, caslie: Command, server: PictureServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("CASLIE_IMAGES__ALLOW_PRIVATE_ADDRESSES")
        source = write_lines(tmp_path / "a.jsonl", raw(images=[server.url("/a.png")]))
        (failure,) = self.fetch(caslie, source, tmp_path / "images")["failed"]
        assert "not on the public internet" in failure["error"]
        assert server.requests == []

    def test_a_killed_run_resumes_without_losing_reported_images(self, server: PictureServer, tmp_path: Path) -> None:
        count = 150
        server.pictures |= {f"/{number}.png": draw_picture(f"LABEL {number}") for number in range(count)}
        rows = [raw(images=[server.url(path)], input={"title": path}) for path in server.pictures]
        arguments = (
            "data", "fetch-images", write_lines(tmp_path / "a.jsonl", *rows), "--to", tmp_path / "images",
            "--parallel", "2", "--json", "--progress", "lines",
        )  # fmt: skip
        reported: set[str] = set()
        for lines in (1, 20, 45):
            requested = len(server.requests)
            newly_reported = self.kill_after(start(*arguments), lines)
            assert reported.isdisjoint(server.requests[requested:])
            reported |= newly_reported
        requested = len(server.requests)
        result = finish(start(*arguments))
        assert result.code == 0
        assert reported.isdisjoint(server.requests[requested:])
        assert result.document["known"] >= len(reported) >= 66
        assert result.document["known"] + result.document["fetched"] == count
        assert set(server.requests) == set(server.pictures)
        assert len(server.requests) - count <= 3 * 2  # at most the downloads that were in progress at each kill
        assert len(list((tmp_path / "images").glob("??/*.png"))) == count

    def kill_after(self, process: "subprocess.Popen[str]", lines: int) -> set[str]:
        """Kills a run after a number of lines; returns the paths of all images that it reported."""
        assert process.stderr is not None
        first = [process.stderr.readline() for _ in range(lines)]
        process.send_signal(SIGKILL)
        _, rest = process.communicate(timeout=HANG_SECONDS)
        assert process.returncode == -SIGKILL
        whole = first + [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
        return {"/" + line.strip().rpartition("/")[2] for line in whole}
