"""The whole profile with the images of the sample catalogue."""

import dataclasses
from pathlib import Path

import pytest

from caslie_tools.caslie import Caslie
from caslie_tools.catalogue.reading import read_catalogue
from caslie_tools.domain import Product
from caslie_tools.pipeline.text_first import Guarantee, TextFirst
from caslie_tools.profiles.embedded import embedded_profile
from caslie_tools.profiles.named import load_profile
from caslie_tools.roles.interfaces import Models
from caslie_tools.sample import DEMO_QUESTIONS, DemoQuestion, catalogue_path
from caslie_tools.settings import Settings
from caslie_tools.store import CaptionStore
from tests.doubles import FixedCaptioner, draw_picture


def test_the_profile_is_loaded_by_name_and_has_notes_on_its_limits() -> None:
    profile = load_profile("embedded")

    assert profile.name == "embedded"
    assert profile.image_embeddings is not None
    assert profile.notes


def test_the_profile_provides_a_captioner_six_judges_and_a_predictor(store: CaptionStore) -> None:
    models = embedded_profile().models(store)

    assert len(models.judges) == 6
    assert models.decider == models.judges[0].get_name() == "utility"
    assert models.captioners[0].get_name().startswith("embedded-4+")
    assert models.predictor.get_name() == "embedded-predictor-3"


@pytest.fixture(scope="module")
def caslie(tmp_path_factory: pytest.TempPathFactory) -> Caslie:
    """The products of the sample catalogue that the demo questions need."""
    wanted = {question.answered_by for question in DEMO_QUESTIONS} | {"reed-bottle", "summit-flask", "pebble-bottle"}
    products = [row for row in read_catalogue(catalogue_path()) if isinstance(row, Product) and row.id in wanted]
    opened = Caslie.open(Path(tmp_path_factory.mktemp("profile")), profile=embedded_profile())
    opened.store.put_products(
        [(product, [opened.pipeline.loader.load_sync(ref) for ref in product.images]) for product in products]
    )
    return opened


@pytest.mark.parametrize("asked", DEMO_QUESTIONS, ids=lambda asked: asked.answered_by)
def test_the_demo_questions_are_answered_with_the_right_evidence(caslie: Caslie, asked: DemoQuestion) -> None:
    response = caslie.ask(asked.question, products=[asked.product] if asked.product else [], where=asked.where)
    answer = response.prediction
    quoted = "".join([answer.text, *(citation.quote for citation in answer.citations)])

    assert answer.answerable
    assert asked.expected.replace(" ", "").casefold() in quoted.replace(" ", "").casefold()
    assert answer.citations[0].product == asked.answered_by
    assert (answer.citations[0].field == "caption") is asked.from_image


@pytest.mark.parametrize(("threshold", "captions"), [(0.5, 0), (1.0, 1)])
def test_no_picture_is_looked_at_if_the_answer_from_text_is_sure_enough(
    tmp_path: Path, threshold: float, captions: int
) -> None:
    profile, captioner, path = embedded_profile(), FixedCaptioner("A blue bottle."), tmp_path / "text-first.json"

    def models(store: CaptionStore) -> Models:
        return dataclasses.replace(profile.models(store), captioners=[captioner])

    with CaptionStore.in_memory(profile.embeddings, image_embeddings=profile.image_embeddings) as empty:
        predictor = profile.models(empty).predictor.get_name()
    TextFirst(
        predictor=predictor,
        guarantee=Guarantee(max_loss=0.02, confidence=0.95),
        thresholds={"product_substitute_identification": threshold},
    ).save(path)
    settings = Settings(text_first=path)
    with Caslie.open(
        tmp_path / "store", profile=dataclasses.replace(profile, models=models), settings=settings
    ) as opened:
        record = {"input": {"query": "water bottle", "product title": "Steel water bottle"}}
        picture = draw_picture("750 ML", "blue")
        response = opened.predict("psi", record, images=[picture])
    assert captioner.calls == len(response.image_results) == captions
    assert response.text_answer is not None
    assert response.text_answer.is_enough is (captions == 0)
    assert response.answer in ("yes", "no")
