"""What a run does when something around it fails."""

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from caslie_tools.domain import ImageRef, Product
from caslie_tools.exceptions import EndpointTimeoutError, EndpointUnavailableError, MissingExtraError, ModelError
from caslie_tools.graphs import build_graph
from caslie_tools.roles.utility import UtilityJudge
from caslie_tools.store import CaptionStore
from tests.doubles import (
    FunctionCaptioner,
    FunctionJudge,
    FunctionPredictor,
    HashEmbeddings,
    HashPictures,
    draw_picture,
    jury,
    light_captioner,
    raising,
)
from tests.graphs.pipelines import AT_ONCE, pipeline_with, put

SECRET = "http://10.0.0.7/v1?key=hunter2"
WHITE = "Is the lamp white?"
CATEGORIES = {"input": {"title": "Mug"}, "options": ["A: Mugs", "B: Lamps"]}


def down(name: str = "down") -> FunctionCaptioner:
    return FunctionCaptioner(raising(ConnectionError(f"no answer from {SECRET}")), name=name)


class TestCaptioners:
    @pytest.mark.parametrize("asynchronous", [True, False])
    async def test_without_any_caption_text_alone_answers_and_it_is_said(
        self, store: CaptionStore, asynchronous: bool
    ) -> None:
        captioner, second = down("first"), down("second")
        graph = build_graph(pipeline_with(store, captioners=[captioner, second]), retry=AT_ONCE)
        request: Any = {"question": "What is the price of the bottle?", "products": ["bottle", "mug"]}
        state = await graph.ainvoke(request) if asynchronous else await asyncio.to_thread(graph.invoke, request)
        # Two images, each tried as often as the policy says, by both captioners.
        assert (captioner.calls, second.calls) == (6, 6)
        assert state["prediction"].answerable
        assert state["prediction"].text == "24"
        assert state["prediction"].captions == ()
        *each, last = state["warnings"]
        assert last == "no image could be captioned; the answer is based on text only"
        assert [warning.partition(":")[0] for warning in each] == ["bottle-1.png", "mug-1.png"]
        assert all("every captioner failed (first: ConnectionError; second: ConnectionError)" in told for told in each)
        assert "hunter2" not in repr(state)

    async def test_an_endpoint_that_has_tried_all_it_could_is_not_asked_again(self, store: CaptionStore) -> None:
        captioner = FunctionCaptioner(raising(EndpointUnavailableError("model 'v' at a:1 cannot be used")))
        graph = build_graph(pipeline_with(store, captioners=[captioner]), retry=AT_ONCE)
        state = await graph.ainvoke({"question": WHITE, "products": ["lamp"]})
        assert captioner.calls == 1
        assert state["warnings"][-1] == "no image could be captioned; the answer is based on text only"

    async def test_one_that_comes_back_is_not_a_failure(self, store: CaptionStore) -> None:
        answers: Iterator[str | Exception] = iter(
            [ConnectionError("down"), ConnectionError("still down"), "Colour: white."]
        )

        def flaky(request: object) -> str:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        captioner = FunctionCaptioner(flaky)
        graph = build_graph(pipeline_with(store, captioners=[captioner]), retry=AT_ONCE)
        state = await graph.ainvoke({"question": WHITE, "products": ["lamp"]})
        assert captioner.calls == 3
        assert state["warnings"] == []
        assert state["image_results"][0].kept

    async def test_the_next_one_is_asked_before_anything_is_tried_again(self, store: CaptionStore) -> None:
        captioner, spare = down(), light_captioner()
        graph = build_graph(pipeline_with(store, captioners=[captioner, spare]), retry=AT_ONCE)
        state = await graph.ainvoke({"question": WHITE, "products": ["lamp"]})
        assert (captioner.calls, spare.calls) == (1, 1)
        assert state["image_results"][0].caption.captioner == spare.name

    @pytest.mark.virtual_time
    async def test_one_that_hangs_runs_out_of_time(self, store: CaptionStore) -> None:
        async def hang(request: object) -> str:
            await asyncio.Event().wait()
            raise AssertionError("unreachable")

        captioner = FunctionCaptioner(hang)
        pipeline = pipeline_with(store, captioners=[captioner], captioner_timeout_seconds=0.01)
        state = await build_graph(pipeline, retry=AT_ONCE).ainvoke({"question": WHITE, "products": ["lamp"]})
        assert captioner.calls == 3
        assert "TimeoutError" in state["warnings"][0]

    async def test_nothing_to_say_is_no_caption(self, store: CaptionStore) -> None:
        judge = FunctionJudge(lambda request: "yes")
        pipeline = pipeline_with(store, captioners=[FunctionCaptioner(lambda request: " \n")], judges=[judge])
        state = await build_graph(pipeline, retry=AT_ONCE).ainvoke({"question": WHITE, "products": ["lamp"]})
        assert judge.calls == 0
        assert state["warnings"][0] == "lamp-1.png: the captioner found nothing to describe"


class TestImages:
    async def test_a_missing_file_costs_its_own_caption_only(
        self, store: CaptionStore, products: list[Product]
    ) -> None:
        captioner = light_captioner()
        hood = products[1].images[1].path
        assert hood is not None
        hood.unlink()
        graph = build_graph(pipeline_with(store, captioners=[captioner]), retry=AT_ONCE)
        state = await graph.ainvoke({"question": "Is the jacket waterproof?", "products": ["jacket"]})
        assert captioner.calls == 1
        assert "WATERPROOF" in state["prediction"].text
        assert state["warnings"] == ["jacket-2.png: image 'jacket-2.png' does not exist; check its path"]

    async def test_a_dead_url_costs_its_own_caption_only(self, store: CaptionStore, unused_tcp_port: int) -> None:
        secret = f"http://shop:hunter2@127.0.0.1:{unused_tcp_port}/lamp.png?signature=hunter2"
        lamp = store.get_product("lamp")
        store.put_products([(lamp.model_copy(update={"images": (*lamp.images, ImageRef(url=secret))}), [None, None])])
        pipeline = pipeline_with(store, images={"allow_private_addresses": True})
        state = await build_graph(pipeline, retry=AT_ONCE).ainvoke({"question": WHITE, "products": ["lamp"]})
        assert "white" in state["prediction"].text
        (warning,) = state["warnings"]
        assert warning.startswith("http://127.0.0.1/lamp.png: ")
        assert "hunter2" not in repr(state)

    async def test_an_inner_address_is_not_asked(self, store: CaptionStore, unused_tcp_port: int) -> None:
        url = f"http://127.0.0.1:{unused_tcp_port}/lamp.png"
        state = await build_graph(pipeline_with(store)).ainvoke(
            {"task": "cc", "record": {"input": {"title": "Lamp"}, "options": ["A: Lamps", "B: Mugs"]}, "images": [url]}
        )
        assert state["prediction"].label == "A"
        assert "not a public address" in state["warnings"][0] or "private" in state["warnings"][0]

    async def test_what_is_not_an_image_costs_its_own_caption_only(
        self, store: CaptionStore, products: list[Product]
    ) -> None:
        picture = products[3].images[0].path
        assert picture is not None
        picture.write_bytes(b"GIF89a, not really")
        captioner = light_captioner()
        graph = build_graph(pipeline_with(store, captioners=[captioner]), retry=AT_ONCE)
        state = await graph.ainvoke({"question": "What is its price?", "products": ["lamp"]})
        assert captioner.calls == 0
        assert state["prediction"].text == "49"
        assert len(state["warnings"]) == 2


class TestJudgesAndPredictor:
    async def test_a_jury_that_is_down_keeps_nothing(self, store: CaptionStore) -> None:
        judges = [FunctionJudge(raising(ConnectionError(SECRET)), name=f"judge-{number}") for number in range(3)]
        state = await build_graph(pipeline_with(store, judges=judges), retry=AT_ONCE).ainvoke(
            {"question": WHITE, "products": ["lamp"]}
        )
        (result,) = state["image_results"]
        assert not result.kept
        assert result.decision.abstentions == 2  # the third could not make the quorum any more
        assert "hunter2" not in repr(state)

    async def test_a_jury_that_cannot_run_is_a_warning_with_the_judges_and_what_to_do(
        self, store: CaptionStore
    ) -> None:
        judges = [
            FunctionJudge(raising(EndpointUnavailableError("down")), name="near"),
            FunctionJudge(raising(MissingExtraError("transformers", "Judging")), name="far"),
            FunctionJudge(lambda request: "yes", name="not asked any more"),
        ]
        graph = build_graph(pipeline_with(store, judges=judges), retry=AT_ONCE)
        state = await graph.ainvoke({"question": WHITE, "products": ["jacket"]})
        assert all(result.decision.jury_failed and not result.kept for result in state["image_results"])
        (warning,) = state["warnings"]
        assert warning == (
            "no judge could run, so 2 of 2 captions were not used: near (unavailable), far (missing dependency); "
            "check that their servers run; Judging needs an optional dependency: "
            "pip install 'caslie-tools[transformers]'"
        )

    async def test_a_judge_that_cannot_run_at_all_is_a_warning_though_others_decide(self, store: CaptionStore) -> None:
        predictor = FunctionPredictor(lambda instance: "A", name="plain")
        judges = [UtilityJudge(predictor), *jury("yes", "yes")]
        graph = build_graph(pipeline_with(store, judges=judges, predictor=predictor), retry=AT_ONCE)
        request: Any = {"task": "cc", "record": CATEGORIES, "images": [ImageRef(data=draw_picture("MUG"))]}
        state = await graph.ainvoke(request)
        assert [result.kept for result in state["image_results"]] == [True]
        assert state["warnings"] == [
            "captions were judged without the judge utility: the predictor plain reports no probabilities, which the "
            "judge utility needs: use a predictor that reports them, or leave this judge out"
        ]

    async def test_a_predictor_that_is_down_is_tried_again_and_then_an_error(self, store: CaptionStore) -> None:
        predictor = FunctionPredictor(raising(ConnectionError(SECRET)), name="oracle")
        captioner = light_captioner()
        graph = build_graph(pipeline_with(store, captioners=[captioner], predictor=predictor), retry=AT_ONCE)
        with pytest.raises(ModelError, match=r"the predictor oracle failed \(ConnectionError\)") as caught:
            await graph.ainvoke({"question": WHITE, "products": ["lamp"]})
        assert "hunter2" not in str(caught.value)
        assert predictor.calls == 3
        assert captioner.calls == 1

    async def test_an_endpoint_that_has_tried_all_it_could_is_not_asked_again(self, store: CaptionStore) -> None:
        predictor = FunctionPredictor(raising(EndpointTimeoutError("model 'p' at a:1 was not done after 60 s")))
        graph = build_graph(pipeline_with(store, predictor=predictor), retry=AT_ONCE)
        with pytest.raises(EndpointTimeoutError, match="not done after 60 s"):
            await graph.ainvoke({"question": WHITE, "products": ["lamp"]})
        assert predictor.calls == 1

    async def test_an_answer_of_no_option_is_kept_as_a_wrong_one(self, store: CaptionStore) -> None:
        predictor = FunctionPredictor(lambda instance: "I would rather not say")
        graph = build_graph(pipeline_with(store, predictor=predictor), retry=AT_ONCE)
        state = await graph.ainvoke({"task": "sa", "record": {"review": "Lovely."}})
        assert state["prediction"].label is None
        assert state["prediction"].text == "I would rather not say"


class TestStore:
    @pytest.fixture
    def impatient(self, tmp_path: Path, products: list[Product]) -> Iterator[CaptionStore]:
        embeddings, pictures = HashEmbeddings(), HashPictures()
        with CaptionStore.open(
            tmp_path / "store", embeddings, image_embeddings=pictures, busy_timeout_seconds=0.01
        ) as store:
            put(store, products)
            yield store

    async def test_an_answer_is_not_lost_because_the_store_is_busy(self, impatient: CaptionStore) -> None:
        writer = sqlite3.connect(next(impatient.path.glob("*.sqlite")), isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        try:
            state = await build_graph(pipeline_with(impatient), retry=AT_ONCE).ainvoke(
                {"question": WHITE, "products": ["lamp"]}
            )
        finally:
            writer.close()
        assert "white" in state["prediction"].text
        (warning,) = state["warnings"]
        assert warning.startswith("the new captions were not stored: ")
        assert "in use by another writer" in warning
        assert impatient.captions() == []

    async def test_an_answer_is_not_lost_because_the_embeddings_are_down(
        self, tmp_path: Path, products: list[Product]
    ) -> None:
        class Embeddings(HashEmbeddings):
            is_down = False

            def embed_query(self, text: str) -> list[float]:
                if self.is_down:
                    raise EndpointUnavailableError("model 'e' at a:1 cannot be used")
                return super().embed_query(text)

        embeddings = Embeddings()
        with CaptionStore.open(tmp_path / "store", embeddings) as store:
            put(store, products)
            embeddings.is_down = True
            state = await build_graph(pipeline_with(store), retry=AT_ONCE).ainvoke(
                {"question": WHITE, "products": ["lamp"]}
            )
        assert "white" in state["prediction"].text
        assert state["warnings"] == ["the new captions were not stored: model 'e' at a:1 cannot be used"]

    async def test_what_was_not_kept_is_remembered_too(self, store: CaptionStore) -> None:
        await build_graph(pipeline_with(store, judges=jury("no"))).ainvoke({"question": WHITE, "products": ["lamp"]})
        assert [caption.context.focus for caption in store.captions("lamp")] == [WHITE]
