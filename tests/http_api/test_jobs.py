import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from caslie_tools import Caslie, Profile
from caslie_tools.domain import CaptionDraft
from caslie_tools.roles.interfaces import CaptionRequest, Models
from caslie_tools.settings import Settings
from tests.doubles import FunctionCaptioner, light_models, light_profile
from tests.http_api.serving import serving
from tests.shop import Shop
from tests.time_limits import HANG_SECONDS


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path / "catalogues")
    for name, colour in (("a", "red"), ("b", "green"), ("c", "blue")):
        shop.put(name, shop.draw(f"{name}.png", f"LABEL {name}", colour))
    return shop


class Gate:
    """A captioner that captions when it is let."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, request: CaptionRequest) -> CaptionDraft:
        self.asked.set()
        await self.open.wait()
        return CaptionDraft(text="A thing.")


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def empty(tmp_path: Path, gate: Gate) -> Iterator[Caslie]:
    light = light_profile()

    def models(store: object) -> Models:
        usual = light_models()
        captioner = FunctionCaptioner(gate, name="gate")
        return Models(captioners=[captioner], judges=usual.judges, predictor=usual.predictor)

    profile = Profile(name="gate", embeddings=light.embeddings, image_embeddings=light.image_embeddings, models=models)
    settings = Settings(captioner_timeout_seconds=HANG_SECONDS)
    with Caslie.open(tmp_path / "store", profile=profile, settings=settings) as caslie:
        yield caslie


async def finished(client: httpx.AsyncClient, job: str) -> Any:
    while True:  # each request takes its turn beside the job
        state = (await client.get(f"/jobs/{job}")).raise_for_status().json()
        if state["state"] != "running":
            return state


async def test_a_file_is_indexed_with_progress_and_a_report(empty: Caslie, shop: Shop, gate: Gate) -> None:
    shop.put("d", "gone.png")
    gate.open.clear()
    async with serving(empty, catalogues=shop.folder) as client:
        response = await client.post("/index", json={"file": "products.csv"})
        assert response.status_code == 202
        job = response.json()["id"]
        await gate.asked.wait()
        running = (await client.get(f"/jobs/{job}")).json()
        assert (running["state"], running["step"], running["done"], running["total"]) == ("running", "captioning", 1, 4)
        assert (await client.post("/search", json={"text": "LABEL a"})).status_code == 200  # others go on
        second = await client.post("/index", json={"file": "products.csv"})
        assert (second.status_code, second.json()["error"]["type"]) == (409, "JobRunning")
        gate.open.set()
        done = await finished(client, job)
    assert done["state"] == "done"
    report = done["report"]
    assert (report["products"], report["captions_made"], len(report["failed"])) == (4, 3, 1)
    assert str(shop.folder) not in str(done)


async def test_products_in_the_request_are_indexed_and_others_pruned(empty: Caslie, shop: Shop) -> None:
    await empty.aindex(shop.path)
    products = [{"id": "a/b [x]", "title": "Mug", "price": 3, "attributes": {"colour": "red"}}]
    async with serving(empty) as client:
        job = (await client.post("/index", json={"products": products, "prune": True})).json()["id"]
        report = (await finished(client, job))["report"]
    assert report["removed"] == ["a", "b", "c"]
    assert empty.store.get_product("a/b [x]").attributes == {"colour": "red"}


async def test_a_cancelled_job_keeps_what_is_stored_and_can_go_on(empty: Caslie, shop: Shop, gate: Gate) -> None:
    gate.open.clear()
    async with serving(empty, catalogues=shop.folder) as client:
        job = (await client.post("/index", json={"file": "products.csv"})).json()["id"]
        await gate.asked.wait()
        assert (await client.delete(f"/jobs/{job}")).json()["state"] == "cancelled"
        assert empty.store.product_ids() == ["a", "b", "c"]
        gate.open.set()
        again = (await client.post("/index", json={"file": "products.csv"})).json()["id"]
        assert (await finished(client, again))["report"]["captions_made"] == 3
        assert (await client.delete(f"/jobs/{again}")).json()["state"] == "done"


async def test_a_file_that_is_no_catalogue_fails_with_the_reason(empty: Caslie, shop: Shop) -> None:
    (shop.folder / "empty.csv").write_text("title\n")
    async with serving(empty, catalogues=shop.folder) as client:
        job = (await client.post("/index", json={"file": "empty.csv"})).json()["id"]
        state = await finished(client, job)
    assert state["state"] == "failed"
    assert "id" in state["error"]


@pytest.mark.parametrize(
    "name", ["../secret.csv", "/etc/passwd", "nothing.csv", "", ".", "a\0b", "x" * 5000, "link.csv"]
)
async def test_only_files_in_the_folder_are_indexed(empty: Caslie, shop: Shop, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.csv").write_text("id\na\n")
    (shop.folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    async with serving(empty, catalogues=shop.folder) as client:
        response = await client.post("/index", json={"file": name})
    assert (response.status_code, response.json()["error"]["type"]) == (404, "UnknownCatalogue")


async def test_a_server_that_stops_cancels_its_job(empty: Caslie, shop: Shop, gate: Gate) -> None:
    gate.open.clear()
    async with serving(empty, catalogues=shop.folder) as client:
        await client.post("/index", json={"file": "products.csv"})
        await gate.asked.wait()
    assert empty.store.stats().captions == 0
    gate.open.set()
    assert (await empty.aindex(shop.path)).captions_made == 3


async def test_an_unknown_job(client: httpx.AsyncClient) -> None:
    for method in ("GET", "DELETE"):
        response = await client.request(method, "/jobs/none")
        assert (response.status_code, response.json()["error"]["type"]) == (404, "UnknownJob")
