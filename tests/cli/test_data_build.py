"""``caslie data build``."""

import re
from pathlib import Path

import pytest

from caslie_tools.exceptions import ModelError
from caslie_tools.profiles.profile import Profile
from caslie_tools.roles.interfaces import Models
from caslie_tools.store import CaptionStore
from tests.cli.conftest import Command, one_line
from tests.data.building.sample_shop import write_sample_shop
from tests.doubles import FunctionCaptioner, HashEmbeddings, light_models, raising, write_catalogue


def failing_profile() -> Profile:
    """The light profile, but its captioner never has a reply."""

    def models(store: CaptionStore) -> Models:
        light = light_models(store)
        failing = FunctionCaptioner(raising(ModelError("no reply")))
        return Models(captioners=[failing], judges=light.judges, predictor=light.predictor)

    return Profile(name="failing", embeddings=HashEmbeddings(), models=models)


def test_it_builds_captions_and_tells_what(tmp_path: Path, caslie: Command) -> None:
    catalogue, logs = write_sample_shop(tmp_path, products=12)
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
    assert "reviews.csv, line 3: stars is not 1, 2, 3, 4 or 5: 9" in ended.err
    assert not (tmp_path / "store").exists()


def test_people_read_how_many_captions_are_missing(
    tmp_path: Path, caslie: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = write_catalogue(tmp_path)
    ended = caslie("data", "build", catalogue, "--out", "out")
    assert ended.code == 0
    assert re.search(r"\d captions, \d kept, 0 pictures without one", ended.out)
    assert "no caption" not in ended.err
    monkeypatch.setenv("CASLIE_PROFILE", f"{__name__}:failing_profile")
    ended = caslie("data", "build", catalogue, "--out", "out", "--store", "other")
    assert ended.code == 0
    assert re.search(r"0 captions, 0 kept, [1-9] pictures without one", ended.out)
    assert re.search(r"[1-9] pictures have no caption; the data card says why", ended.err)


def test_a_captioner_that_is_not_there_ends_the_build(
    tmp_path: Path, caslie: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASLIE_PROFILE", "tests.doubles:blind_profile")
    ended = caslie("data", "build", write_catalogue(tmp_path), "--out", "out")
    assert ended.code != 0
    assert "cannot be reached" in ended.err
    assert "secret" not in ended.err
    assert not (tmp_path / "out" / "dataset.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--tasks", "translation"], "there is no task 'translation'"),
        (["--tasks", "sr"], "sequential_recommendation needs a log of events"),
        (["--proportions", "0.5,0.2,0.2"], "must sum to 1"),
        (["--proportions", "much,little"], "proportions: "),
        (["--hold-out-category", "Toys"], "no product is in the category 'Toys'"),
        (["--searches", "none.csv"], "none.csv: cannot be read"),
    ],
)
def test_what_cannot_be_used_takes_one_line(tmp_path: Path, caslie: Command, arguments: list[str], says: str) -> None:
    catalogue = write_catalogue(tmp_path)
    one_line(caslie("data", "build", catalogue, "--out", "out", "--no-captions", *arguments), code=2, says=[says])
