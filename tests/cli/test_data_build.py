"""``caslie data build``."""

from pathlib import Path

import pytest

from tests.cli.conftest import Command, one_line
from tests.data.build.logs import busy_shop
from tests.doubles import write_catalogue


def test_it_builds_captions_and_tells_what(tmp_path: Path, caslie: Command) -> None:
    catalogue, logs = busy_shop(tmp_path, products=12)
    ended = caslie(
        "data", "build", catalogue, "--out", "built", "--searches", logs["searches"], "--tasks", "cc,mpc", "--json"
    )
    assert ended.code == 0
    assert set(ended.document["counts"]) == {"category_classification", "multiclass_product_classification"}
    assert ended.document["captions"]["profile"] == "light"
    assert ended.document["captions"]["missing"] == 0
    assert len((tmp_path / "built" / "dataset.jsonl").read_text().splitlines()) == ended.document["instances"]


def test_people_read_a_table_and_what_went_wrong(tmp_path: Path, caslie: Command) -> None:
    catalogue = write_catalogue(tmp_path)
    reviews = tmp_path / "reviews.csv"
    reviews.write_text("product,text,stars\nmug,[bold]Fine,5\nmug,Bad,9\n", encoding="utf-8")
    ended = caslie("data", "build", catalogue, "--out", tmp_path / "out", "--reviews", reviews, "--no-captions")
    assert ended.code == 0
    assert "sentiment_analysis" in ended.out
    assert "5 of 5 promises about the splits are kept" in ended.out
    assert "reviews.csv, line 3: stars are not 1, 2, 3, 4 or 5: 9" in ended.err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--tasks", "translation"], "there is no task 'translation'"),
        (["--tasks", "sr"], "sequential_recommendation is built from a log of events"),
        (["--proportions", "0.5,0.2,0.2"], "shares that sum to 1"),
        (["--proportions", "much,little"], "proportions: "),
        (["--hold-out-category", "Toys"], "no product is of the category 'Toys'"),
        (["--searches", "none.csv"], "none.csv: cannot be read"),
    ],
)
def test_what_cannot_be_used_takes_one_line(tmp_path: Path, caslie: Command, arguments: list[str], says: str) -> None:
    catalogue = write_catalogue(tmp_path)
    one_line(caslie("data", "build", catalogue, "--out", "out", "--no-captions", *arguments), code=2, says=[says])
