"""``caslie data``: what each command answers, and a fetch that is killed."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from tests.cli.conftest import Command, finish, one_line, start
from tests.data.raw_records import raw, write_lines
from tests.doubles import draw_picture
from tests.paths import ROOT
from tests.shop import PictureServer, picture_server

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
    def test_as_a_document(self, caslie: Command, dataset: Path) -> None:
        ended = caslie("data", "stats", dataset, "--json")
        assert ended.code == 0
        assert [(part["task"], part["split"], part["records"]) for part in ended.document["tasks"]] == [
            ("category_classification", "test", 1),
            ("category_classification", "train", 1),
            ("sentiment_analysis", "test", 1),
        ]
        assert ended.document["bad"] == [{"index": 3, "reason": "category_classification: output 'Z' is none of A, B"}]

    def test_for_people_and_a_part_of_it(self, caslie: Command, dataset: Path) -> None:
        ended = caslie("data", "stats", dataset, "--split", "test", "--task", "sa")
        assert "sentiment_analysis" in ended.out
        assert "category_classification" not in ended.out
        ended = caslie("data", "stats", dataset)
        assert "warning: record 3 is left out: category_classification: output 'Z'" in ended.err


class TestCheck:
    def test_every_fault_is_listed_and_the_code_is_1(self, caslie: Command) -> None:
        ended = caslie("data", "check", FAULTS, "--task", "cc", "--split", "test", "--split", "validation", "--json")
        assert ended.code == 1
        assert ended.document["passed"] is False
        assert len(ended.document["findings"]) == 29
        assert ended.document["findings"][-1] == {
            "kind": "empty split", "index": None, "reason": "no usable record is in the split 'validation'",
        }  # fmt: skip

    def test_for_people(self, caslie: Command) -> None:
        ended = caslie("data", "check", FAULTS)
        assert ended.code == 1
        assert "record 14, duplicate record: the same as record 0" in ended.out
        assert "and 7 more; --json lists all" in ended.out

    def test_strict_stops_at_the_first(self, caslie: Command) -> None:
        ended = caslie("data", "check", FAULTS, "--strict", "--json")
        assert ended.code == 1
        assert [finding["index"] for finding in ended.document["findings"]] == [1]

    def test_a_sound_one_passes(self, caslie: Command, tmp_path: Path) -> None:
        ended = caslie("data", "check", write_lines(tmp_path / "sound.jsonl", raw()))
        assert ended.code == 0
        assert "1 records, 1 of them usable; 0 findings" in ended.out


class TestConvert:
    def test_it_writes_what_is_good_and_lists_the_rest(self, caslie: Command, dataset: Path, tmp_path: Path) -> None:
        ended = caslie("data", "convert", dataset, tmp_path / "all.json", "--json")
        assert (ended.code, ended.document["written"]) == (0, 3)
        assert [record["index"] for record in ended.document["bad"]] == [3]
        ended = caslie(
            "data", "convert", tmp_path / "all.json", tmp_path / "part.jsonl", "--split", "test", "--task", "cc"
        )
        assert "1 records written to" in ended.out
        (line,) = (tmp_path / "part.jsonl").read_text().splitlines()
        assert json.loads(line)["task"] == "category_classification"

    def test_strict_writes_nothing(self, caslie: Command, dataset: Path, tmp_path: Path) -> None:
        ended = caslie("data", "convert", dataset, tmp_path / "all.json", "--strict")
        one_line(ended, code=2, says=["record 3: category_classification: output 'Z'", "nothing was written"])
        assert not (tmp_path / "all.json").exists()

    def test_images_that_lie_elsewhere_are_told_of(self, caslie: Command, tmp_path: Path) -> None:
        source = write_lines(tmp_path / "a.jsonl", raw(images=["a.png"]), raw(images=["x/b.png"]))
        (tmp_path / "x").mkdir()
        ended = caslie("data", "convert", source, tmp_path / "x" / "b.jsonl")
        assert "warning: images of 1 records lie outside of" in ended.err
        assert caslie("data", "convert", source, tmp_path / "c.jsonl").err == ""


MISUSE = {
    "no such file": (("check", "none.json"), "none.json: there is no such file or folder"),
    "another kind": (("stats", "table.csv"), "instruction data is a .json or .jsonl file"),
    "no array": (("stats", "object.json"), "object.json: not an array of records"),
    "an unknown task": (("stats", "dataset.jsonl", "--task", "x"), "there is no task 'x'"),
    "a target of another kind": (("convert", "dataset.jsonl", "a.csv"), "a .json or .jsonl file; name it so"),
    "nothing to write": (("convert", "dataset.jsonl", "a.json", "--split", "none"), "there is no record to write"),
    "no folder to fetch to": (("fetch-images", "dataset.jsonl"), "see caslie data fetch-images --help"),
    "a file to fetch to": (("fetch-images", "dataset.jsonl", "--to", "table.csv"), "table.csv: cannot be read"),
}


@pytest.mark.parametrize(("arguments", "says"), MISUSE.values(), ids=MISUSE)
def test_misuse_takes_one_line(
    caslie: Command, dataset: Path, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    (tmp_path / "table.csv").touch()
    (tmp_path / "object.json").write_text("{}")
    one_line(caslie("data", *arguments), code=2, says=[says])
    assert says in caslie("data", *arguments, "--json").document["error"]["message"]


class TestFetchImages:
    def fetch(self, caslie: Command, source: Path, folder: Path, *options: str) -> Any:
        ended = caslie("data", "fetch-images", source, "--to", folder, *options, "--json")
        assert ended.code == 0
        return ended.document

    def test_it_fetches_once_and_remembers_the_dead(
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
        ended = caslie("data", "fetch-images", source, "--to", folder)
        assert "2 different URLs: 0 fetched, 2 known before, 0 failed" in ended.out

    def test_inner_hosts_are_refused_by_default(
        self, caslie: Command, server: PictureServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("CASLIE_IMAGES__ALLOW_PRIVATE_ADDRESSES")
        source = write_lines(tmp_path / "a.jsonl", raw(images=[server.url("/a.png")]))
        (failure,) = self.fetch(caslie, source, tmp_path / "images")["failed"]
        assert "not on the public internet" in failure["error"]
        assert server.requests == []

    def test_killed_and_run_again_nothing_that_was_told_is_lost(self, server: PictureServer, tmp_path: Path) -> None:
        count = 150
        server.pictures |= {f"/{number}.png": draw_picture(f"LABEL {number}") for number in range(count)}
        rows = [raw(images=[server.url(path)], input={"title": path}) for path in server.pictures]
        arguments = (
            "data", "fetch-images", write_lines(tmp_path / "a.jsonl", *rows), "--to", tmp_path / "images",
            "--parallel", "2", "--json", "--progress", "lines",
        )  # fmt: skip
        told: set[str] = set()
        for lines in (1, 20, 45):
            asked = len(server.requests)
            told_now = self.kill_after(start(*arguments), lines)
            assert told.isdisjoint(server.requests[asked:])
            told |= told_now
        asked = len(server.requests)
        ended = finish(start(*arguments))
        assert ended.code == 0
        assert told.isdisjoint(server.requests[asked:])
        assert ended.document["known"] >= len(told) >= 66
        assert ended.document["known"] + ended.document["fetched"] == count
        assert set(server.requests) == set(server.pictures)
        assert len(server.requests) - count <= 3 * 2  # no more than was under way when it was killed
        assert len(list((tmp_path / "images").glob("??/*.png"))) == count

    def kill_after(self, process: "subprocess.Popen[str]", lines: int) -> set[str]:
        """Kills a fetch when it has told of so many pictures; returns the paths of all it told of."""
        assert process.stderr is not None
        seen = [process.stderr.readline() for _ in range(lines)]
        process.send_signal(SIGKILL)
        _, rest = process.communicate(timeout=60)
        assert process.returncode == -SIGKILL
        whole = seen + [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
        return {"/" + line.strip().rpartition("/")[2] for line in whole}
