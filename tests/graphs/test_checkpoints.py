"""Runs that are saved as they go: crashes, restarts and threads."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from caslie_tools.domain import Answer, ImageRef, Product
from caslie_tools.exceptions import InputError, ModelError
from caslie_tools.graphs import Output, build_graph
from caslie_tools.store import CaptionStore
from caslie_tools.tasks import FusedInstance
from tests.doubles import FunctionPredictor, draw_picture, light_captioner
from tests.graphs.pipelines import AT_ONCE, THREAD, pipeline_with
from tests.paths import ROOT
from tests.time_limits import HANG_SECONDS

QUESTION: Any = {"question": "Which mug holds 350 ml?", "products": ["mug", "jacket"]}


def failing_once() -> FunctionPredictor:
    def answer(instance: FusedInstance) -> Answer:
        if predictor.calls == 1:
            raise ConnectionError("down")
        return Answer(text=f"{len(instance.captions)} captions", answerable=True)

    predictor = FunctionPredictor(answer)
    return predictor


class TestSavers:
    async def test_in_memory(self, store: CaptionStore) -> None:
        await self.goes_on_where_it_failed(store, InMemorySaver())

    async def test_async_sqlite(self, store: CaptionStore, tmp_path: Path) -> None:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "checkpoints.sqlite")) as saver:
            await self.goes_on_where_it_failed(store, saver)

    async def goes_on_where_it_failed(self, store: CaptionStore, saver: BaseCheckpointSaver[Any]) -> None:
        captioner = light_captioner()
        pipeline = pipeline_with(store, captioners=[captioner], predictor=failing_once())
        graph = build_graph(pipeline, checkpointer=saver, retry=AT_ONCE._replace(max_attempts=1))
        with pytest.raises(ModelError):
            await graph.ainvoke(QUESTION, THREAD)
        assert (await graph.aget_state(THREAD)).next == ("predict",)
        state = await graph.ainvoke(None, THREAD)
        assert state["prediction"].text == "1 captions"
        assert captioner.calls == 3
        saved = await graph.aget_state(THREAD)
        assert saved.next == ()
        assert {name: saved.values[name] for name in state} == state
        assert [result.image.ref for result in state["image_results"]] == [
            result.image.ref for result in saved.values["image_results"]
        ]

    def test_sqlite(self, store: CaptionStore, tmp_path: Path) -> None:
        captioner = light_captioner()
        pipeline = pipeline_with(store, captioners=[captioner], predictor=failing_once())
        with SqliteSaver.from_conn_string(str(tmp_path / "checkpoints.sqlite")) as saver:
            graph = build_graph(pipeline, checkpointer=saver, retry=AT_ONCE._replace(max_attempts=1))
            with pytest.raises(ModelError):
                graph.invoke(QUESTION, THREAD)
            state = graph.invoke(None, THREAD)
        assert state["prediction"].text == "1 captions"
        assert captioner.calls == 3

    async def test_pictures_of_every_kind_come_back_as_they_were(
        self, store: CaptionStore, products: list[Product]
    ) -> None:
        graph = build_graph(pipeline_with(store), checkpointer=InMemorySaver())
        encoded = draw_picture("350 ML")
        refs = [ImageRef(data=encoded), products[0].images[0], ImageRef(url="data:image/png;base64,AAAA"), None]
        record = {"input": ["1st: mug", "2nd: cup"], "options": ["A: pot", "B: pan"]}
        await graph.ainvoke({"task": "sr", "record": record, "images": refs}, THREAD)
        saved = (await graph.aget_state(THREAD)).values
        assert [image.ref for image in saved["instance"].images] == refs
        assert saved["request"].images == tuple(refs)
        assert saved["request"].images[0].data == encoded


class TestThreads:
    async def test_the_next_question_starts_afresh(self, store: CaptionStore, products: list[Product]) -> None:
        graph = build_graph(pipeline_with(store), checkpointer=InMemorySaver())
        first: Any = {
            "question": "Which jacket?",
            "products": ["jacket"],
            "images": [products[0].images[0]],
            "where": "price<1000",
            "max_products": 1,
        }
        assert products[1].images[1].path is not None
        products[1].images[1].path.unlink()
        before = await graph.ainvoke(first, THREAD)
        assert len(before["warnings"]) == 1
        after = await graph.ainvoke({"question": "Is the lamp white?"}, THREAD)
        # All of the catalogue is searched again: neither products nor filter nor picture were inherited.
        assert {record["id"] for record in after["instance"].input["products"]} == {"mug", "jacket", "bottle", "lamp"}
        assert len(after["image_results"]) == 5
        assert after["warnings"] == [
            "jacket-2.png: image 'jacket-2.png' does not exist; check its path",
        ]
        steps = [timing.step for timing in after["timings"]]
        assert (steps.count("validate"), steps.count("caption"), steps.count("predict")) == (1, 5, 1)

    async def test_a_task_does_not_stay_for_the_next_question(self, store: CaptionStore) -> None:
        graph = build_graph(pipeline_with(store), checkpointer=InMemorySaver())
        await graph.ainvoke({"task": "sa", "record": {"review": "Lovely."}}, THREAD)
        after = await graph.ainvoke({"question": "Is the lamp white?"}, THREAD)
        assert after["prediction"].task == "product_qa"
        with pytest.raises(InputError, match="needs an instance"):
            await graph.ainvoke({"task": "sa"}, THREAD)

    async def test_what_came_in_is_not_kept_twice(self, store: CaptionStore) -> None:
        graph = build_graph(pipeline_with(store), checkpointer=InMemorySaver())
        secret = "https://shop:hunter2@192.0.2.1/mug.png?signature=hunter2"
        await graph.ainvoke({"question": "Which mug?", "products": ["mug"], "use": 1}, THREAD)  # type: ignore[call-overload]
        state = await graph.ainvoke({"question": "Which mug?", "products": ["mug"], "images": [secret]}, THREAD)
        assert "192.0.2.1" in state["image_results"][-1].error
        saved = await graph.aget_state(THREAD)
        assert "hunter2" not in repr(saved.values)
        assert saved.values["request"].images[0].url == secret

    async def test_two_threads_do_not_mix(self, store: CaptionStore) -> None:
        graph = build_graph(pipeline_with(store), checkpointer=InMemorySaver())
        await graph.ainvoke(QUESTION, THREAD)
        await graph.ainvoke({"question": "Is it white?", "products": ["lamp"]}, {"configurable": {"thread_id": "2"}})
        assert len((await graph.aget_state(THREAD)).values["image_results"]) == 3


class TestProcesses:
    """Two processes after each other. LangGraph's serializer warns about unknown types or, if strict, blocks them."""

    @pytest.fixture(params=["true", "false"], ids=["strict", "permissive"])
    def shopper(self, tmp_path: Path, request: pytest.FixtureRequest) -> "Shopper":
        return Shopper(tmp_path, strict=request.param)

    def test_a_killed_run_goes_on_without_a_caption_made_twice(self, shopper: "Shopper") -> None:
        assert shopper.run("die").returncode == -signal.SIGKILL
        assert len(shopper.captions) == 4
        state = shopper.finish("go-on")
        assert len(shopper.captions) == 4
        assert state["answer"] == "4 pictures"
        assert state["kept"] == [0, 1, 2, 3]
        assert state["equal"]
        assert sorted(state["steps"]) == sorted(
            ["validate", "retrieve", *["caption", "gate"] * 4, "review", "predict", "save_captions"]
        )
        assert state["types"].items() >= {"request": "Request", "instance": "Instance", "image_results": "list"}.items()

    def test_captions_survive_although_their_votes_were_killed(self, shopper: "Shopper") -> None:
        assert shopper.run("die-judging").returncode == -signal.SIGKILL
        assert len(shopper.captions) == 4
        state = shopper.finish("go-on")
        assert state["answer"] == "4 pictures"
        assert len(shopper.captions) == 4

    def test_a_person_may_answer_after_a_restart(self, shopper: "Shopper") -> None:
        stopped = shopper.finish("ask")
        assert stopped["answer"] is None
        assert stopped["asked"] == [0, 1, 2, 3]
        state = shopper.finish("decide")
        assert state["answer"] == "3 pictures"
        assert state["kept"] == [0, 2, 3]
        assert len(shopper.captions) == 4


class Shopper:
    """Runs :mod:`tests.graphs.shopper` on one folder."""

    def __init__(self, folder: Path, strict: str) -> None:
        self.folder = folder
        self.strict = strict

    def run(self, step: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "tests.graphs.shopper", str(self.folder), step],
            cwd=ROOT,
            env=os.environ | {"LANGGRAPH_STRICT_MSGPACK": self.strict},
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
            check=False,
        )

    def finish(self, step: str) -> dict[str, Any]:
        done = self.run(step)
        assert done.stderr == ""  # nothing unregistered, nothing blocked
        state: dict[str, Any] = json.loads(done.stdout)
        return state

    @property
    def captions(self) -> list[str]:
        return (self.folder / "captions").read_text("utf-8").splitlines()


def test_what_a_run_puts_out_is_declared(store: CaptionStore) -> None:
    assert set(build_graph(pipeline_with(store)).invoke(QUESTION)) <= set(Output.__annotations__)
