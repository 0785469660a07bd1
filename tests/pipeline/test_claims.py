"""Claims: how a caption is split, and what is left of it, with a real server as the judge that sees the image."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from caslie_tools.backends.endpoints.settings import EndpointClaimCheckerSettings
from caslie_tools.caslie import Caslie
from caslie_tools.domain import Caption, Evidence, GateDecision, ImageRef, QueryContext
from caslie_tools.exceptions import InputError
from caslie_tools.pipeline.claims import ClaimChecker, split_claims
from caslie_tools.pipeline.pipeline import ImageResult, Pipeline
from caslie_tools.profiles.building import build_judge
from caslie_tools.roles.interfaces import Models
from caslie_tools.settings import Settings
from caslie_tools.store import CaptionStore
from caslie_tools.tasks import PlacedImage, get_task
from caslie_tools.testing import Fault, FaultyServer
from tests.doubles import (
    FixedCaptioner,
    FunctionJudge,
    FunctionPredictor,
    HashEmbeddings,
    draw_picture,
    jury,
)

CONTEXT = QueryContext(task="product_qa", focus="Which colour is it?")
CAPTION = Caption.given('A red mug. It reads "No. 1 MUG". It has a lid.', CONTEXT).model_copy(
    update={
        "evidence": (
            Evidence(kind="text", text="No. 1 MUG", score=0.9),
            Evidence(kind="tag", text="lid", score=0.4),
        )
    }
)
WITHOUT_LID = 'A red mug. It reads "No. 1 MUG".'
IMAGE = ImageRef(data=draw_picture("MUG"))


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("A red mug", ["A red mug"]),
        ("A red mug. It has a lid.", ["A red mug.", "It has a lid."]),
        ('It reads "Fresh. Cold. Good." in red. Round!', ['It reads "Fresh. Cold. Good." in red.', "Round!"]),
        ("No. 5 perfume. It holds 0.5 l.", ["No. 5 perfume.", "It holds 0.5 l."]),
        ("A bag, approx. 30 cm wide.\nBlue handles.", ["A bag, approx.", "30 cm wide.", "Blue handles."]),
        ("A ball of 55 cm. and a net.", ["A ball of 55 cm. and a net."]),
        ("红色的杯子。它有盖子。", ["红色的杯子。", "它有盖子。"]),
        ("  ", []),
    ],
)
def test_a_claim_is_a_sentence(text: str, claims: list[str]) -> None:
    assert split_claims(text) == claims


def lid_is_false(body: Mapping[str, Any], choices: Sequence[str]) -> str:
    return "no" if "lid" in json.dumps(body) else "yes"


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer(choose=lid_is_false) as running:
        yield running


@pytest.fixture
def pipeline(server: FaultyServer) -> Callable[..., Pipeline]:
    def build(**checker: Any) -> Pipeline:
        settings = EndpointClaimCheckerSettings(urls=(server.url,), model="model", max_attempts=1, **checker)
        models = Models(
            captioners=[FixedCaptioner("A red mug.")],
            judges=jury("yes", "yes", "yes"),
            predictor=FunctionPredictor(lambda instance: "red"),
            claim_judge=build_judge(settings),
            claim_threshold=settings.threshold,
        )
        return Pipeline(CaptionStore.in_memory(HashEmbeddings()), models, Settings())

    return build


def fused(decision: GateDecision) -> Caption | None:
    image = PlacedImage(ref=IMAGE, place=0)
    return ImageResult(index=0, image=image, caption=CAPTION, decision=decision).fused_caption


async def test_a_false_claim_is_removed_and_the_jury_votes_on_the_rest(
    server: FaultyServer, pipeline: Callable[..., Pipeline]
) -> None:
    built = pipeline()
    decision = await built.gate(CAPTION, CONTEXT, image=IMAGE)
    assert [(claim.text, claim.kept) for claim in decision.claims] == [
        ("A red mug.", True),
        ('It reads "No. 1 MUG".', True),
        ("It has a lid.", False),
    ]
    lid = decision.claims[2].vote
    assert (lid.judge, lid.verdict) == ("model", "no")
    assert lid.probability is not None
    assert lid.probability < 0.5
    assert decision.kept
    (judge, *_) = built.cqe.judges
    assert isinstance(judge, FunctionJudge)
    assert [request.caption for request in judge.requests] == [WITHOUT_LID]
    kept = fused(decision)
    assert kept is not None
    assert kept.text == WITHOUT_LID
    assert [evidence.text for evidence in kept.evidence] == ["No. 1 MUG"]  # the predictor must not read the lid there
    assert len(server.requests) == 3
    assert all("image_url" in json.dumps(request.body) for request in server.requests)


async def test_the_threshold_decides_which_claims_are_kept(pipeline: Callable[..., Pipeline]) -> None:
    decision = await pipeline(threshold=0.0).gate(CAPTION, CONTEXT, image=IMAGE)
    assert fused(decision) == CAPTION


@pytest.mark.parametrize("fault", [Fault.HTTP_500, Fault.RESET, Fault.GARBAGE])
async def test_a_checker_that_fails_removes_nothing_and_says_why(
    server: FaultyServer, pipeline: Callable[..., Pipeline], fault: Fault
) -> None:
    server.default_fault = fault
    decision = await pipeline().gate(CAPTION, CONTEXT, image=IMAGE)
    assert decision.kept
    assert fused(decision) == CAPTION
    assert all(claim.kept and claim.vote.failure is not None for claim in decision.claims)


async def test_without_an_image_nothing_is_removed(server: FaultyServer, pipeline: Callable[..., Pipeline]) -> None:
    decision = await pipeline().gate(CAPTION, CONTEXT)
    assert fused(decision) == CAPTION
    assert {claim.vote.reason for claim in decision.claims} == {"there is no image"}
    assert server.requests == []


async def test_a_caption_without_a_true_claim_is_rejected_without_the_jury(pipeline: Callable[..., Pipeline]) -> None:
    built = pipeline()
    decision = await built.gate(Caption.given("It has a lid.", CONTEXT), CONTEXT, image=IMAGE)
    assert (decision.kept, decision.votes, decision.is_close) == (False, (), False)
    assert decision.reason == "no claim of the caption is true to the image"
    assert fused(decision.model_copy(update={"kept": True})) is None  # also if a person keeps it


async def test_claims_that_were_checked_are_not_checked_again(
    server: FaultyServer, pipeline: Callable[..., Pipeline]
) -> None:
    built = pipeline()
    first = await built.gate(CAPTION, CONTEXT, image=IMAGE)
    again = await built.gate(
        CAPTION, CONTEXT, image=IMAGE, ask_all=True, previous_votes=first.votes, previous_claims=first.claims
    )
    assert again.claims == first.claims
    assert len(server.requests) == 3


async def test_without_a_checker_a_caption_stays_whole() -> None:
    models = Models(
        captioners=[FixedCaptioner("A red mug.")],
        judges=jury("yes"),
        predictor=FunctionPredictor(lambda instance: "red"),
    )
    decision = await Pipeline(CaptionStore.in_memory(HashEmbeddings()), models, Settings()).gate(CAPTION, CONTEXT)
    assert decision.claims == ()
    assert fused(decision) == CAPTION


def test_a_threshold_outside_of_0_to_1_is_refused() -> None:
    with pytest.raises(InputError, match="between 0 and 1; it is 2"):
        ClaimChecker(jury("yes")[0], threshold=2)


async def test_a_profile_file_turns_it_on_and_the_whole_caption_is_stored(server: FaultyServer, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        f'[defaults]\nurls = ["{server.url}"]\nmodel = "model"\n[captioner]\n[[judges]]\n[predictor]\n'
        "[claim_checker]\nthreshold = 0.3\n[embeddings]\n",
        encoding="utf-8",
    )
    settings = Settings(check_models=False)
    with Caslie.open(tmp_path / "store", profile=str(file), settings=settings) as caslie:
        assert caslie.pipeline.claims is not None
        assert caslie.pipeline.claims.threshold == 0.3


async def test_the_answer_reads_what_is_left_of_the_caption(pipeline: Callable[..., Pipeline]) -> None:
    built = pipeline()
    task = get_task("category_classification")
    instance = task.read({"input": {"title": "SKU 1"}, "options": ["A: Cups", "B: Plates"]}, [IMAGE])
    context = task.places(instance)[0].context
    decision = await built.gate(CAPTION, context, image=IMAGE, instance=instance)
    result = ImageResult(index=0, image=instance.images[0], caption=CAPTION, decision=decision)
    prediction = await built.predict(instance, [result])
    assert WITHOUT_LID.replace('"', '\\"') in prediction.fused
    assert "lid" not in prediction.fused
    assert result.caption == CAPTION  # which is what the store keeps
