"""The whole main job on live vLLM servers.

What these tiny models say means nothing: this proves the wire, not the pipeline.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from pydantic import SecretStr

from caslie_tools.backends.endpoints.settings import (
    EndpointCaptionerSettings,
    EndpointEmbeddingsSettings,
    EndpointJudgeSettings,
    EndpointPredictorSettings,
)
from caslie_tools.caslie import Caslie
from caslie_tools.catalogue.reading import read_catalogue
from caslie_tools.domain import Product
from caslie_tools.exceptions import ModelError
from caslie_tools.profiles.building import build_predictor, build_profile
from caslie_tools.profiles.checking import check_profile
from caslie_tools.profiles.settings import ProfileSettings
from caslie_tools.sample import catalogue_path
from caslie_tools.settings import Settings
from caslie_tools.tasks import FusedInstance
from tests.vllm import fleet
from tests.vllm.servers import API_KEY, VllmServer

INSTANCES = sorted((Path(__file__).parents[2] / "examples" / "instances").glob("*.json"))
QUESTION = "Is the Trail headlamp waterproof?"


def at(server: VllmServer, model: str, **fields: Any) -> dict[str, Any]:
    return {"urls": (f"{server.url}/v1",), "model": model, "api_key": SecretStr(API_KEY)} | fields


def profile_settings(text: VllmServer, vision: VllmServer, embedding: VllmServer, **fields: Any) -> ProfileSettings:
    return ProfileSettings(
        name="tiny",
        captioners=(
            EndpointCaptionerSettings(**at(vision, fleet.CAPTIONER, context_length=2048, max_tokens=24, **fields)),
        ),
        judges=tuple(EndpointJudgeSettings(**at(text, name, **fields)) for name in fleet.JUDGES),
        predictor=EndpointPredictorSettings(**at(text, fleet.PREDICTOR, max_tokens=32, **fields)),
        embeddings=EndpointEmbeddingsSettings(**at(embedding, fleet.EMBEDDINGS)),
    )


@pytest.fixture(scope="module")
def settings(text_server: VllmServer, vision_server: VllmServer, embedding_server: VllmServer) -> ProfileSettings:
    # A server that comes back is asked again at once, not half a minute later.
    return profile_settings(text_server, vision_server, embedding_server, breaker_seconds=0.1)


@pytest.fixture(scope="module")
def products() -> list[Product]:
    """Three products with real pictures: three images in all."""
    rows = [row for row in read_catalogue(catalogue_path()) if isinstance(row, Product)]
    chosen = [row for row in rows if row.id in ("trail-headlamp", "kelp-bottle", "brook-raincoat")]
    return [product.model_copy(update={"images": product.images[:1]}) for product in chosen]


@pytest.fixture(scope="module")
def caslie(
    settings: ProfileSettings, products: list[Product], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Caslie]:
    folder = tmp_path_factory.mktemp("store")
    # A tiny model's embeddings make all questions alike: nothing is reused unless it is the same.
    opened = Caslie.open(folder, profile=build_profile(settings), settings=Settings(reuse_threshold=1.0))
    with opened as caslie:
        report = caslie.index(products)
        assert (report.products, report.images, report.captions_made, report.failed) == (3, 3, 3, ())
        yield caslie


async def test_the_check_is_all_green(settings: ProfileSettings, vision_server: VllmServer) -> None:
    sighted = EndpointJudgeSettings(**at(vision_server, fleet.SIGHTED_JUDGE, sees_image=True))
    reports = await check_profile(settings.model_copy(update={"judges": (*settings.judges, sighted)}))
    assert len(reports) == 9
    found = {(report.role, finding.probe): finding for report in reports for finding in report.findings}
    assert {place: finding.detail for place, finding in found.items() if not finding.passed} == {}
    assert found["predictor", "BOS"].detail == "one"
    assert found["captioner", "image seen"].detail == "two images, two responses"
    assert found["embeddings", "vectors"].detail == f"{fleet.EMBEDDING_DIMENSIONS} numbers"


def test_a_second_run_captions_nothing(caslie: Caslie, products: list[Product]) -> None:
    report = caslie.index(products)
    assert (report.captions_made, report.captions_reused, report.skipped) == (0, 3, 3)


def test_a_question_goes_all_the_way(caslie: Caslie, text_server: VllmServer) -> None:
    before = text_server.metrics()["vllm:prefix_cache_hits_total"]
    response = caslie.ask(QUESTION, products=["trail-headlamp"])
    (result,) = response.image_results
    assert result.error == ""
    assert result.decision is not None
    assert [vote.judge for vote in result.decision.votes] == list(fleet.JUDGES[: len(result.decision.votes)])
    assert all(vote.verdict != "abstain" and vote.probability is not None for vote in result.decision.votes)
    # Five names of one model agree, and later ones find the prompt in the first one's prefix cache.
    assert len(result.decision.votes) == 3
    assert text_server.metrics()["vllm:prefix_cache_hits_total"] > before
    again = caslie.ask(QUESTION, products=["trail-headlamp"])
    assert again.image_results[0].caption is not None
    assert again.image_results[0].caption.source == "cache"


@pytest.mark.parametrize("path", INSTANCES, ids=lambda path: path.stem)
def test_every_task_answers_one_of_its_labels(caslie: Caslie, path: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    record["images"] = [str(path.parent / image) for image in record["images"]]
    response = caslie.predict(path.stem, record)
    assert response.prediction.label is not None
    assert response.prediction.probabilities is not None
    assert sum(response.prediction.probabilities.values()) == pytest.approx(1, abs=1e-6)
    assert [result.error for result in response.image_results] == [""] * len(record["images"])


def test_without_a_captioner_the_answer_is_from_text(
    settings: ProfileSettings, products: list[Product], tmp_path: Path
) -> None:
    gone = settings.captioners[0].model_copy(update={"urls": ("http://127.0.0.1:9/v1",), "max_attempts": 1})
    profile = build_profile(settings.model_copy(update={"captioners": (gone,)}))
    with pytest.raises(ModelError, match=r"captioner: .* check that the server runs"):
        Caslie.open(tmp_path / "store", profile=profile)
    with Caslie.open(tmp_path / "store", profile=profile, settings=Settings(check_models=False)) as caslie:
        report = caslie.index(products)
        assert len(report.failed) == 3
        response = caslie.ask(QUESTION, products=["trail-headlamp"])
    assert response.answer
    assert "the answer is based on text only" in " ".join(response.warnings)


async def test_a_slow_server_ends_at_the_deadline(settings: ProfileSettings, text_server: VllmServer) -> None:
    predictor = build_predictor(settings.predictor.model_copy(update={"timeout_seconds": 1.0}))
    with text_server.paused():
        started = time.monotonic()
        with pytest.raises(ModelError, match="did not finish within 1 s"):
            await predictor.ainvoke(_instance())
        assert time.monotonic() - started < 5
    assert (await build_predictor(settings.predictor).ainvoke(_instance())).text in {"A", "B"}


async def test_cancelling_stops_the_work_on_the_server(settings: ProfileSettings, text_server: VllmServer) -> None:
    endless = build_predictor(settings.predictor.model_copy(update={"max_tokens": 2000, "prompt": "chat"}))
    question = FusedInstance(
        task="product_qa", instruction="Write a long story.", input={"question": "Go on", "products": []}
    )
    task = asyncio.create_task(endless.ainvoke(question, RunnableConfig()))
    await _until(text_server, running=True)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _until(text_server, running=False)


def test_a_server_that_is_killed_and_comes_back(caslie: Caslie, text_server: VllmServer) -> None:
    text_server.kill()
    try:
        with pytest.raises(ModelError, match="predictor"):
            caslie.ask("Which bottle holds 750 ml?", products=["kelp-bottle"])
    finally:
        text_server.restart()
    response = caslie.ask("Which bottle holds 750 ml?", products=["kelp-bottle"])
    assert response.answer
    assert response.image_results[0].decision is not None
    assert response.image_results[0].decision.abstentions == 0


def _instance() -> FusedInstance:
    return FusedInstance(
        task="category_classification",
        instruction="Choose.",
        input={"title": "Kelp bottle"},
        options=("A: Jackets", "B: Bottles"),
    )


async def _until(server: VllmServer, *, running: bool) -> None:
    """Waits until the server works on something, or on nothing."""
    async with asyncio.timeout(60):
        while bool((await asyncio.to_thread(server.metrics))["vllm:num_requests_running"]) != running:
            pass
