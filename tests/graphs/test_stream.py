"""What a run tells while it runs, and the graph's picture."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from caslie_tools.domain import ImageRef
from caslie_tools.graphs import build_graph
from caslie_tools.store import CaptionStore
from tests.doubles import FunctionCaptioner, raising
from tests.graphs.pipelines import AT_ONCE, pipeline_with
from tests.paths import ROOT

HERE = Path(__file__).parent
QUESTION: Any = {"question": "Which mug holds 350 ml?", "products": ["mug", "jacket"]}


async def events(store: CaptionStore, request: Any, **models: Any) -> tuple[list[dict[str, Any]], list[Any]]:
    """Returns a run's own events and LangGraph's updates."""
    own: list[Any] = []
    updates: list[Any] = []
    stream = build_graph(pipeline_with(store, **models), retry=AT_ONCE).astream(
        request, stream_mode=["custom", "updates"], subgraphs=True
    )
    async for _, mode, event in stream:
        (own if mode == "custom" else updates).append(event)
    return own, updates


async def test_every_step_is_announced_once_with_its_image(store: CaptionStore) -> None:
    own, updates = await events(store, QUESTION)
    assert [event["step"] for event in own if not event["item"]] == [
        "validate",
        "retrieve",
        "review",
        "predict",
        "save_captions",
    ]
    for step in ("caption", "gate"):
        items = sorted(event["item"] for event in own if event["step"] == step)
        assert items == ["jacket-1.png", "jacket-2.png", "mug-1.png"]
    assert {event["item"]: event["kept"] for event in own if event["step"] == "gate"} == {
        "mug-1.png": True,
        "jacket-1.png": False,
        "jacket-2.png": False,
    }
    assert {event["source"] for event in own if event["step"] == "caption"} == {"generated"}
    assert all(event["milliseconds"] >= 0 for event in own)
    nodes = [node for update in updates for node in update]
    assert sorted(nodes) == sorted(
        ["validate", "retrieve", *["caption", "gate", "image"] * 3, "review", "predict", "save_captions"]
    )


async def test_the_second_time_captions_come_from_the_store(store: CaptionStore) -> None:
    await events(store, QUESTION)
    own, _ = await events(store, QUESTION)
    assert {event["source"] for event in own if event["step"] == "caption"} == {"cache"}


async def test_events_are_json_without_product_text_or_secrets(store: CaptionStore) -> None:
    lamp = store.get_product("lamp")
    signed = ImageRef(url="http://shop:hunter2@127.0.0.1/lamp.png?signature=hunter2")
    store.put_products([(lamp.model_copy(update={"images": (*lamp.images, signed)}), [None, None])])
    own, updates = await events(store, {"question": "Is the lamp white?", "products": ["lamp", "mug"]})
    told = json.dumps(own)
    assert "http://127.0.0.1/lamp.png" in told
    assert not re.search(r"Desk|Stoneware|Colour|white|350", told)
    assert "hunter2" not in told + repr(own) + repr(updates)


async def test_a_step_that_is_tried_again_is_announced_once(store: CaptionStore) -> None:
    captioner = FunctionCaptioner(raising(ConnectionError("down")))
    own, _ = await events(store, {"question": "Is it white?", "products": ["lamp"]}, captioners=[captioner])
    assert [event["step"] for event in own] == ["validate", "retrieve", "caption", "review", "predict", "save_captions"]
    assert captioner.calls == 3


def test_synchronously(store: CaptionStore) -> None:
    stream: Iterator[Any] = build_graph(pipeline_with(store)).stream(QUESTION, stream_mode="custom", subgraphs=True)
    steps = [event["step"] for _, event in stream]
    assert len(steps) == 11
    assert steps[-1] == "save_captions"


class TestPicture:
    def drawn(self, store: CaptionStore) -> str:
        return build_graph(pipeline_with(store)).get_graph(xray=True).draw_mermaid()

    def test_it_is_the_one_we_know(self, store: CaptionStore) -> None:
        assert self.drawn(store) == (HERE / "graph.mermaid").read_text("utf-8")

    def test_the_page_on_agents_shows_it(self, store: CaptionStore) -> None:
        page = (ROOT / "docs" / "agents.md").read_text("utf-8")
        assert self.drawn(store).strip() in page
