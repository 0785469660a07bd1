"""``caslie eval``: its output, how it resumes, and its errors."""

import hashlib
import json
from datetime import datetime
from pathlib import Path

import pytest

from caslie_tools._version import __version__
from caslie_tools.evaluation.reading import read_outcomes, read_run_description
from tests.cli.commands import Command, assert_error
from tests.evaluation.cases import many, relevance, write_data

for _module in ("sklearn", "matplotlib", "jinja2", "scipy"):
    pytest.importorskip(_module, reason="reports need the extra 'evaluation'")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path, many(12))


def test_it_prints_a_table_and_the_path_of_the_report(caslie: Command, data: Path) -> None:
    result = caslie("eval", data)
    assert result.code == 0, result
    run = Path(".caslie/eval/data-light")
    assert len(read_outcomes(run)) == 12
    header, *rows = [line for line in result.out.splitlines() if line.startswith(("│", "┃"))]
    assert [cell.strip() for cell in header.strip("┃").split("┃")][-5:] == ["none", "every", "gated", "plain", "given"]
    assert [row.split("│")[1].strip() for row in rows if row.split("│")[1].strip()] == [
        "product_substitute_identification",
        "multiclass_product_classification",
        "product_qa",
    ]
    assert f"report: {run / 'report.html'} and {run / 'report.md'}" in result.out
    assert (run / "report.html").stat().st_size > 0
    assert "4 records have no captions" in result.err


def test_the_document_contains_the_run_and_the_report(caslie: Command, data: Path) -> None:
    result = caslie(
        "eval", data, "--json", "--treatments", "none,gated", "--tasks", "mpc", "--out", "out", "--limit", "3"
    )
    assert result.code == 0
    assert (result.document["run"]["instances"], result.document["run"]["unavailable"]) == (3, [])
    assert {score["treatment"] for score in result.document["report"]["scores"]} == {"none", "gated"}
    assert {score["count"] for score in result.document["report"]["scores"]} == {3}


def test_the_report_names_the_command_that_started_the_run(caslie: Command, data: Path) -> None:
    options = ("--treatments", "none", "--limit", "2", "--out", "out")
    for more in ((), ("--progress", "lines")):
        assert caslie("eval", data, *options, *more).code == 0
        description = read_run_description(Path("out"))
        assert description["command"] == f"caslie eval {data} --treatments none --limit 2 --out out"
    assert datetime.fromisoformat(description["started"]).tzinfo is not None
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert f"{description['started']}, caslie-tools {__version__}: <code>caslie eval" in page


def test_the_word_run_is_optional(caslie: Command, data: Path) -> None:
    options = ("--treatments", "none", "--limit", "2", "--json")
    named = caslie("eval", "run", data, *options)
    assert named.document["run"]["resumed"] == 0
    assert caslie("eval", *options, data).document["run"]["resumed"] == 2


def test_the_same_command_resumes_and_other_settings_are_refused(caslie: Command, data: Path) -> None:
    first = caslie("eval", data, "--treatments", "none", "--json").document
    again = caslie("eval", data, "--treatments", "none", "--progress", "lines")
    assert again.code == 0
    assert "evaluating" not in again.err
    assert_error(caslie("eval", data), code=2, contains=["with other data, models or settings", "treatments", "--out"])
    assert caslie("eval", data, "--treatments", "none", "--json").document["report"] == first["report"]


def test_invalid_records_are_skipped_with_a_warning_and_strict_refuses_them(caslie: Command, tmp_path: Path) -> None:
    good = relevance("q", "t", "A")
    data = write_data(tmp_path, [good, relevance("q2", "t", "Z"), *[good] * 25])
    assert_error(
        caslie("eval", data, "--strict"),
        code=2,
        contains=["26 bad records; the first is record 1", "not one of A, B, C, D"],
    )
    result = caslie("eval", data)
    assert result.code == 0
    assert "record 1 was skipped: multiclass_product_classification: output 'Z' is not one of" in result.err
    assert "record 2 was skipped: equal to record 0" in result.err
    assert "warning: 6 more; use --json to list all" in result.err


def test_an_unreachable_model_ends_the_run_without_outcomes(caslie: Command, data: Path) -> None:
    result = caslie("eval", data, "--profile", "tests.doubles:blind_profile", "--treatments", "every")
    assert_error(result, code=1, contains=["a model cannot be reached, for", "run the same command again to resume"])
    assert "key=secret" not in result.err
    assert not Path(".caslie/eval/data-blind/outcomes.jsonl").exists()


def test_no_captioner_is_needed_without_captions(caslie: Command, data: Path) -> None:
    result = caslie("eval", data, "--profile", "tests.doubles:blind_profile", "--treatments", "none", "--json")
    assert result.code == 0


def test_compare_prints_the_difference_between_two_runs(caslie: Command, data: Path) -> None:
    for out in ("a", "b"):
        assert caslie("eval", data, "--treatments", "none,every", "--out", out).code == 0
    result = caslie("eval", "compare", "a", "b")
    assert result.code == 0
    assert "product_qa" in result.out
    document = caslie("eval", "compare", "a", "b", "--json").document
    assert (document["common"], {test["difference"] for test in document["tests"]}) == (12, {0.0})
    assert_error(caslie("eval", "compare", "a", "nowhere"), code=2, contains=["nowhere"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere.jsonl"], ["nowhere.jsonl"]),
        (
            ["data.jsonl", "--treatments", "some"],
            ["the treatments are none, every, gated, text_first, plain, general, given, given_gated, given_voted"],
        ),
        (["data.jsonl", "--tasks", "spelling"], ["spelling"]),
        (["data.jsonl", "--split", "dev"], ["there are no records of split dev"]),
        (["data.jsonl", "--limit", "0"], ["--limit", "caslie eval run --help"]),
        ([], ["Missing argument"]),
    ],
)
def test_invalid_input_is_refused(caslie: Command, data: Path, arguments: list[str], expected: list[str]) -> None:
    assert_error(caslie("eval", *arguments), code=2, contains=expected)


def test_help_lists_the_options_and_the_compare_command(caslie: Command) -> None:
    for arguments in (["eval", "--help"], ["eval", "run", "--help"]):
        result = caslie(*arguments)
        assert result.code == 0
        assert "--treatments" in result.out
        assert "caslie eval compare A B" in result.out
    assert "on the same data" in caslie("eval", "compare", "--help").out


def test_images_are_read_from_the_folder_of_fetched_images(caslie: Command, tmp_path: Path) -> None:
    urls = [f"https://shop.test/{name}.png" for name in ("mug", "missing")]
    data = write_data(tmp_path, [relevance(f"red {url[-7:]}", "Mug", "A", url) for url in urls])
    pictures = tmp_path / "pictures"
    picture = (tmp_path / "mug-1.png").read_bytes()
    digest = hashlib.sha256(picture).hexdigest()
    (pictures / digest[:2]).mkdir(parents=True)
    (pictures / digest[:2] / f"{digest}.png").write_bytes(picture)
    index = [{"url": urls[0], "file": f"{digest[:2]}/{digest}.png"}, {"url": urls[1], "error": "404", "passing": False}]
    (pictures / "index.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in index), encoding="utf-8")
    result = caslie("eval", data, "--images", pictures, "--treatments", "every", "--json")
    assert result.code == 0, result
    found, missing = (
        outcome.treatments["every"].captions[0] for outcome in read_outcomes(Path(".caslie/eval/data-light"))
    )
    assert found.text.startswith("Colour: red. Label: 350 ML.")
    assert (missing.text, missing.error) == ("", "there is no image")
    assert_error(caslie("eval", data, "--images", tmp_path / "none"), code=2, contains=["caslie data fetch-images"])
