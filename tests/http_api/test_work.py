"""Limits on time and parallelism, and clients that leave."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from caslie_tools import Caslie, Profile
from caslie_tools.domain import Answer
from caslie_tools.http_api import ServerLimits
from caslie_tools.roles.interfaces import Models
from caslie_tools.settings import Settings
from caslie_tools.tasks import FusedInstance
from tests.doubles import FunctionPredictor, light_models, light_products, light_profile
from tests.http_api.serving import serving
from tests.time_limits import HANG_SECONDS

QUESTION = {"question": "Which mug is it?", "use_images": False}


class Gate:
    """A predictor that answers when it is let."""

    def __init__(self) -> None:
        self.asked = asyncio.Semaphore(0)
        self.answers = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, _: FusedInstance) -> Answer:
        self.asked.release()
        try:
            await self.answers.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return Answer(text="This one.", answerable=True)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def gated(tmp_path: Path, gate: Gate) -> Iterator[Caslie]:
    light = light_profile()

    def models(store: object) -> Models:
        usual = light_models()
        predictor = FunctionPredictor(gate, name="gate")
        return Models(captioners=usual.captioners, judges=usual.judges, predictor=predictor)

    profile = Profile(name="gate", embeddings=light.embeddings, image_embeddings=light.image_embeddings, models=models)
    settings = Settings(predictor_timeout_seconds=HANG_SECONDS)
    with Caslie.open(tmp_path / "store", profile=profile, settings=settings) as caslie:
        caslie.store.put_products([(product, [None] * len(product.images)) for product in light_products(tmp_path)])
        yield caslie


async def test_a_request_that_takes_too_long_ends(gated: Caslie, gate: Gate) -> None:
    async with serving(gated, limits=ServerLimits(seconds=0.2)) as client:
        response = await client.post("/ask", json=QUESTION)
        assert (response.status_code, response.json()["error"]["type"]) == (504, "Timeout")
        await gate.cancelled.wait()


async def test_more_than_may_wait_are_told_to_come_back(gated: Caslie, gate: Gate) -> None:
    async with serving(gated, limits=ServerLimits(parallel=1, waiting=1)) as client:
        working = asyncio.create_task(client.post("/ask", json=QUESTION))
        await gate.asked.acquire()
        others = [asyncio.create_task(client.post("/ask", json=QUESTION)) for _ in range(2)]
        done, _ = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        (refused,) = done
        assert refused.result().status_code == 503
        assert refused.result().headers["Retry-After"] == "5"
        gate.answers.set()
        (waiting,) = set(others) - done
        assert [(await task).status_code for task in (working, waiting)] == [200, 200]


async def test_a_client_that_leaves_stops_its_work(gated: Caslie, gate: Gate) -> None:
    async with serving(gated, limits=ServerLimits(parallel=1)) as client:
        async with httpx.AsyncClient(base_url=client.base_url, trust_env=False, timeout=HANG_SECONDS) as other:
            leaving = asyncio.create_task(other.post("/ask", json=QUESTION))
            await gate.asked.acquire()
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
        await gate.cancelled.wait()
        gate.answers.set()
        assert (await client.post("/ask", json=QUESTION)).status_code == 200  # its place is free again


async def test_a_waiting_client_that_leaves_gives_up_its_place(gated: Caslie, gate: Gate) -> None:
    async with serving(gated, limits=ServerLimits(parallel=1, waiting=1, seconds=0.2)) as client:
        responses = await asyncio.gather(*(client.post("/ask", json=QUESTION) for _ in range(2)))
        assert [response.status_code for response in responses] == [504, 504]
        gate.answers.set()
        assert (await client.post("/ask", json=QUESTION)).status_code == 200
