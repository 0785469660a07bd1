"""The whole pipeline on tiny models in this process.

The weights are random, so the responses have no meaning. The tests only check that all parts work together.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from caslie_tools.caslie import Caslie
from caslie_tools.catalogue.reading import read_catalogue
from caslie_tools.domain import Product
from caslie_tools.sample import catalogue_path
from caslie_tools.settings import Settings
from tests.backends.transformers.tiny_profile import PROFILE
from tests.paths import INSTANCES

QUESTION = "Is the Trail headlamp waterproof?"


@pytest.fixture(scope="module")
def products() -> list[Product]:
    """Three products with real pictures: three images in all."""
    rows = [row for row in read_catalogue(catalogue_path()) if isinstance(row, Product)]
    chosen = [row for row in rows if row.id in ("trail-headlamp", "kelp-bottle", "brook-raincoat")]
    return [product.model_copy(update={"images": product.images[:1]}) for product in chosen]


@pytest.fixture(scope="module")
def caslie(tiny: Path, products: list[Product], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caslie]:
    folder = tmp_path_factory.mktemp("pipeline")
    profile = folder / "tiny.toml"
    profile.write_text(PROFILE.format(folder=tiny), encoding="utf-8")
    # With a tiny model's embeddings all questions are similar, so captions are reused for the same question only.
    with Caslie.open(folder / "store", profile=str(profile), settings=Settings(reuse_threshold=1.0)) as caslie:
        report = caslie.index(products)
        assert (report.products, report.images, report.captions_made, report.failed) == (3, 3, 3, ())
        yield caslie


def test_indexing_again_makes_no_captions(caslie: Caslie, products: list[Product]) -> None:
    report = caslie.index(products)
    assert (report.captions_made, report.captions_reused, report.skipped) == (0, 3, 3)


def test_a_question_is_answered_by_all_roles(caslie: Caslie) -> None:
    first, again = caslie.ask(QUESTION, products=["trail-headlamp"]), caslie.ask(QUESTION, products=["trail-headlamp"])
    assert first.answer
    assert first.image_results[0].error == ""
    decisions = [response.image_results[0].decision for response in (first, again)]
    assert decisions[0] is not None
    assert decisions[0].abstentions == 0
    assert all(vote.probability is not None and 0 < vote.probability < 1 for vote in decisions[0].votes)
    assert decisions[0] == decisions[1]
    assert again.image_results[0].caption is not None
    assert again.image_results[0].caption.source == "cache"


@pytest.mark.parametrize(("mode", "decided_by"), [("decides", "judge"), ("votes", "jury")])
def test_a_profile_file_puts_the_utility_judge_into_the_jury(
    profile: Path, tmp_path: Path, mode: str, decided_by: str
) -> None:
    profile.write_text(f'utility = "{mode}"\n' + profile.read_text(encoding="utf-8"), encoding="utf-8")
    path = INSTANCES / "category_classification.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["images"] = [str(path.parent / image) for image in record["images"]]
    with Caslie.open(tmp_path / "store", profile=str(profile), settings=Settings(early_stop=False)) as caslie:
        response = caslie.predict(path.stem, record)
    (result,) = response.image_results
    assert result.decision is not None
    assert result.decision.decided_by == decided_by
    utility = result.decision.votes[0]
    assert (utility.judge, utility.failure) == ("utility", None)
    assert "without the caption" in utility.reason
    assert response.warnings == ()


@pytest.mark.parametrize("path", sorted(INSTANCES.glob("*.json")), ids=lambda path: path.stem)
def test_every_task_answers_one_of_its_labels(caslie: Caslie, path: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    record["images"] = [str(path.parent / image) for image in record["images"]]
    response = caslie.predict(path.stem, record)
    assert response.prediction.label is not None
    assert response.prediction.probabilities is not None
    assert sum(response.prediction.probabilities.values()) == pytest.approx(1, abs=1e-6)
    assert [result.error for result in response.image_results] == [""] * len(record["images"])


def test_without_the_captioners_model_the_answer_is_from_text_only(
    profile: Path, products: list[Product], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASLIE_CAPTIONER__MODEL", "/no/such/folder")
    with Caslie.open(tmp_path / "store", profile=str(profile), settings=Settings()) as caslie:
        assert len(caslie.index(products).failed) == 3
        response = caslie.ask(QUESTION, products=["trail-headlamp"])
    assert response.answer
    assert "the answer is based on text only" in " ".join(response.warnings)
