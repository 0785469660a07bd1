"""``caslie eval``: what it prints, how it goes on, and how it ends where something is wrong."""

import hashlib
import json
from pathlib import Path

import pytest

from caslie_tools.evaluation.reading import read_outcomes
from tests.cli.conftest import Command, one_line
from tests.evaluation.cases import many, relevance, write_data

for _module in ("sklearn", "matplotlib", "jinja2", "scipy"):
    pytest.importorskip(_module, reason="reports need the extra 'evaluation'")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path, many(12))


def test_it_evaluates_shows_a_table_and_says_where_the_report_is(caslie: Command, data: Path) -> None:
    ended = caslie("eval", data)
    assert ended.code == 0, ended
    run = Path(".caslie/eval/data-light")
    assert len(read_outcomes(run)) == 12
    header, *rows = [line for line in ended.out.splitlines() if line.startswith(("│", "┃"))]
    assert [cell.strip() for cell in header.strip("┃").split("┃")][-5:] == ["none", "every", "gated", "plain", "given"]
    assert [row.split("│")[1].strip() for row in rows if row.split("│")[1].strip()] == [
        "product_substitute_identification",
        "multiclass_product_classification",
        "product_qa",
    ]
    assert f"the report: {run / 'report.html'} and {run / 'report.md'}" in ended.out
    assert (run / "report.html").stat().st_size > 0
    assert "4 instances have no captions of their own" in ended.err


def test_with_json_there_is_one_document(caslie: Command, data: Path) -> None:
    ended = caslie(
        "eval", data, "--json", "--treatments", "none,gated", "--tasks", "mpc", "--out", "out", "--limit", "3"
    )
    assert ended.code == 0
    assert (ended.document["run"]["instances"], ended.document["run"]["unavailable"]) == (3, [])
    assert {score["treatment"] for score in ended.document["report"]["scores"]} == {"none", "gated"}
    assert {score["count"] for score in ended.document["report"]["scores"]} == {3}


def test_the_word_run_may_be_there_and_options_may_come_first(caslie: Command, data: Path) -> None:
    options = ("--treatments", "none", "--limit", "2", "--json")
    named = caslie("eval", "run", data, *options)
    assert named.document["run"]["resumed"] == 0
    assert caslie("eval", *options, data).document["run"]["resumed"] == 2


def test_the_same_command_goes_on_and_another_one_is_refused(caslie: Command, data: Path) -> None:
    first = caslie("eval", data, "--treatments", "none", "--json").document
    again = caslie("eval", data, "--treatments", "none", "--progress", "lines")
    assert again.code == 0
    assert "evaluating" not in again.err
    one_line(caslie("eval", data), code=2, says=["holds a run on something else", "treatments", "--out"])
    assert caslie("eval", data, "--treatments", "none", "--json").document["report"] == first["report"]


def test_bad_records_are_warned_of_and_strict_stops(caslie: Command, tmp_path: Path) -> None:
    good = relevance("q", "t", "A")
    data = write_data(tmp_path, [good, relevance("q2", "t", "Z"), *[good] * 25])
    one_line(caslie("eval", data, "--strict"), code=2, says=["record 1 is bad, one of 26", "none of A, B, C, D"])
    ended = caslie("eval", data)
    assert ended.code == 0
    assert "record 1 is left out: multiclass_product_classification: output 'Z' is none of" in ended.err
    assert "record 2 is left out: it is the same as record 0" in ended.err
    assert "6 more records are left out; see caslie data check" in ended.err


def test_a_model_that_is_down_ends_it_and_leaves_nothing_behind(caslie: Command, data: Path) -> None:
    ended = caslie("eval", data, "--profile", "tests.doubles:blind_profile", "--treatments", "every")
    one_line(ended, code=1, says=["a model cannot be reached, for", "run the same again to go on"])
    assert "key=secret" not in ended.err
    assert not Path(".caslie/eval/data-blind/outcomes.jsonl").exists()


def test_text_alone_needs_no_captioner(caslie: Command, data: Path) -> None:
    ended = caslie("eval", data, "--profile", "tests.doubles:blind_profile", "--treatments", "none", "--json")
    assert ended.code == 0


def test_compare_takes_two_runs(caslie: Command, data: Path) -> None:
    for out in ("a", "b"):
        assert caslie("eval", data, "--treatments", "none,every", "--out", out).code == 0
    ended = caslie("eval", "compare", "a", "b")
    assert ended.code == 0
    assert "product_qa" in ended.out
    document = caslie("eval", "compare", "a", "b", "--json").document
    assert (document["common"], {test["difference"] for test in document["tests"]}) == (12, {0.0})
    one_line(caslie("eval", "compare", "a", "nowhere"), code=2, says=["nowhere"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.jsonl"], ["nowhere.jsonl"]),
        (["data.jsonl", "--treatments", "some"], ["the treatments are none, every, gated, plain, given"]),
        (["data.jsonl", "--tasks", "spelling"], ["spelling"]),
        (["data.jsonl", "--split", "dev"], ["nothing to evaluate on of split dev"]),
        (["data.jsonl", "--limit", "0"], ["--limit", "caslie eval run --help"]),
        ([], ["Missing argument"]),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(
    caslie: Command, data: Path, arguments: list[str], says: list[str]
) -> None:
    one_line(caslie("eval", *arguments), code=2, says=says)


def test_help_shows_the_options_and_how_to_compare(caslie: Command) -> None:
    for arguments in (["eval", "--help"], ["eval", "run", "--help"]):
        ended = caslie(*arguments)
        assert ended.code == 0
        assert "--treatments" in ended.out
        assert "caslie eval compare A B" in ended.out
    assert "on the same data" in caslie("eval", "compare", "--help").out


def test_pictures_come_from_the_folder_they_were_fetched_to(caslie: Command, tmp_path: Path) -> None:
    urls = [f"https://shop.test/{name}.png" for name in ("mug", "gone")]
    data = write_data(tmp_path, [relevance(f"red {url[-7:]}", "Mug", "A", url) for url in urls])
    pictures = tmp_path / "pictures"
    picture = (tmp_path / "mug-1.png").read_bytes()
    digest = hashlib.sha256(picture).hexdigest()
    (pictures / digest[:2]).mkdir(parents=True)
    (pictures / digest[:2] / f"{digest}.png").write_bytes(picture)
    index = [{"url": urls[0], "file": f"{digest[:2]}/{digest}.png"}, {"url": urls[1], "error": "404", "passing": False}]
    (pictures / "index.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in index), encoding="utf-8")
    ended = caslie("eval", data, "--images", pictures, "--treatments", "every", "--json")
    assert ended.code == 0, ended
    here, gone = (outcome.treatments["every"].captions[0] for outcome in read_outcomes(Path(".caslie/eval/data-light")))
    assert here.text.startswith("Colour: red. Label: 350 ML.")
    assert (gone.text, gone.error) == ("", "there is no image")
    one_line(caslie("eval", data, "--images", tmp_path / "none"), code=2, says=["caslie data fetch-images"])
