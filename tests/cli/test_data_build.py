"""``caslie data build``."""

import re
from pathlib import Path

import pytest

from caslie_tools.exceptions import ModelError
from caslie_tools.profiles.profile import Profile
from caslie_tools.roles.interfaces import Models
from caslie_tools.store import CaptionStore
from tests.cli.commands import Command, assert_error
from tests.data.building.sample_shop import write_sample_shop
from tests.doubles import FunctionCaptioner, HashEmbeddings, light_models, raising, write_catalogue


def failing_profile() -> Profile:
    """The light profile with a captioner that always fails."""

    def models(store: CaptionStore) -> Models:
        light = light_models(store)
        failing = FunctionCaptioner(raising(ModelError("no reply")))
        return Models(captioners=[failing], judges=light.judges, predictor=light.predictor)

    return Profile(name="failing", embeddings=HashEmbeddings(), models=models)


def test_the_document_counts_instances_and_captions(tmp_path: Path, caslie: Command) -> None:
    catalogue, logs = write_sample_shop(tmp_path, products=12)
    result = caslie(
        "data", "build", catalogue, "--out", "built", "--searches", logs["searches"], "--tasks", "cc,mpc", "--json"
    )
    assert result.code == 0
    assert set(result.document["counts"]) == {"category_classification", "multiclass_product_classification"}
    assert result.document["captions"]["profile"] == "light"
    assert result.document["captions"]["missing"] == 0
    assert len((tmp_path / "built" / "dataset.jsonl").read_text().splitlines()) == result.document["instances"]


def test_the_output_has_a_table_and_warnings(tmp_path: Path, caslie: Command) -> None:
    catalogue = write_catalogue(tmp_path)
    reviews = tmp_path / "reviews.csv"
    reviews.write_text("product,text,stars\nmug,[bold]Fine,5\nmug,Bad,9\n", encoding="utf-8")
    result = caslie("data", "build", catalogue, "--out", tmp_path / "out", "--reviews", reviews, "--no-captions")
    assert result.code == 1
    assert "error: 1 item failed; everything else is complete" in result.err
    assert "sentiment_analysis" in result.out
    assert "5 of 5 guarantees about the splits hold" in result.out
    assert "reviews.csv, line 3: stars is not 1, 2, 3, 4 or 5: 9" in result.err
    assert not (tmp_path / "store").exists()


def test_the_output_counts_missing_captions(tmp_path: Path, caslie: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = write_catalogue(tmp_path)
    result = caslie("data", "build", catalogue, "--out", "out")
    assert result.code == 0
    assert re.search(r"\d captions, \d kept; 0 images without a caption", result.out)
    assert "no caption" not in result.err
    monkeypatch.setenv("CASLIE_PROFILE", f"{__name__}:failing_profile")
    result = caslie("data", "build", catalogue, "--out", "out", "--store", "other")
    assert result.code == 1
    assert re.search(r"0 captions, 0 kept; [1-9] images without a caption", result.out)
    assert re.search(r"[1-9] images have no caption; the data card lists the reasons", result.err)


def test_an_unreachable_captioner_ends_the_build(
    tmp_path: Path, caslie: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASLIE_PROFILE", "tests.doubles:blind_profile")
    result = caslie("data", "build", write_catalogue(tmp_path), "--out", "out")
    assert result.code != 0
    assert "cannot be reached" in result.err
    assert "secret" not in result.err
    assert not (tmp_path / "out" / "dataset.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--tasks", "translation"], "there is no task 'translation'"),
        (["--tasks", "sr"], "sequential_recommendation needs a log of events"),
        (["--proportions", "0.5,0.2,0.2"], "must sum to 1"),
        (["--proportions", "much,little"], "proportions: "),
        (["--hold-out-category", "Toys"], "no product is in the category 'Toys'"),
        (["--searches", "none.csv"], "none.csv: cannot be read"),
    ],
)
def test_invalid_input_is_refused(tmp_path: Path, caslie: Command, arguments: list[str], expected: str) -> None:
    catalogue = write_catalogue(tmp_path)
    assert_error(
        caslie("data", "build", catalogue, "--out", "out", "--no-captions", *arguments), code=2, contains=[expected]
    )
