"""Whole runs, from the question to the answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from caslie_tools.domain import ImageRef, Product
from caslie_tools.exceptions import CaslieError, FilterError, InputError, UnknownProductError
from caslie_tools.graphs import Context, build_graph
from caslie_tools.store import CaptionStore
from caslie_tools.tasks import MMECINSTRUCT
from caslie_tools.tasks.product_qa import SHOPPERS_IMAGE
from tests.doubles import FunctionCaptioner, FunctionJudge, draw_picture, jury, light_captioner
from tests.graphs.pipelines import pipeline_with
from tests.paths import INSTANCES

VOLUME = "Which mug holds 350 ml?"


class TestOpenQuestions:
    async def test_a_fact_of_a_picture_answers_and_is_cited(self, store: CaptionStore) -> None:
        graph = build_graph(pipeline_with(store))
        state = await graph.ainvoke({"question": VOLUME, "products": ["mug", "jacket"]})
        answer = state["prediction"]
        assert "350 ML" in answer.text
        assert answer.answerable
        assert [(cited.product, cited.field) for cited in answer.citations] == [("mug", "caption")]
        assert [(result.image.product, result.kept) for result in state["image_results"]] == [
            ("mug", True),
            ("jacket", False),
            ("jacket", False),
        ]
        assert state["warnings"] == []

    async def test_nothing_of_a_rejected_caption_is_fused(self, store: CaptionStore) -> None:
        graph = build_graph(pipeline_with(store))
        state = await graph.ainvoke({"question": VOLUME, "products": ["mug", "jacket"]})
        rejected = [result.caption for result in state["image_results"] if result.caption and not result.kept]
        assert [caption.text[:31] for caption in rejected] == [
            "Colour: blue. Label: WATERPROOF",
            "Colour: blue. Label: HOOD. (for",
        ]
        prediction = state["prediction"]
        assert not {"blue", "waterproof", "hood"} & set(prediction.fused.lower().replace(".", " ").split())
        assert "null" not in prediction.fused
        assert [caption.image for caption in prediction.captions] == [state["image_results"][0].caption.image]
        jacket = json.loads(prediction.fused)["products"][1]
        assert set(jacket) == {"id", "title", "brand", "category", "price"}

    async def test_the_store_is_searched_where_no_product_is_named(self, store: CaptionStore) -> None:
        graph = build_graph(pipeline_with(store))
        state = await graph.ainvoke({"question": "Which steel bottle?", "max_products": 2})
        records = state["instance"].input["products"]
        assert len(records) == 2
        assert records[0]["id"] == "bottle"

    async def test_a_filter_limits_what_is_searched(self, store: CaptionStore) -> None:
        graph = build_graph(pipeline_with(store))
        state = await graph.ainvoke({"question": "Which jacket?", "where": "price<30 and category like 'Kitchen%'"})
        assert {record["id"] for record in state["instance"].input["products"]} == {"mug", "bottle"}

    async def test_a_filter_that_nothing_passes_is_said(self, store: CaptionStore) -> None:
        graph = build_graph(pipeline_with(store))
        state = await graph.ainvoke({"question": "Which jacket?", "where": "price<1"})
        assert state["warnings"] == ["no product in the store matches; index a catalogue or widen the filter"]
        assert state["prediction"].answerable is False

    async def test_a_shopper_s_own_picture_finds_the_product_and_is_looked_at(self, store: CaptionStore) -> None:
        graph = build_graph(pipeline_with(store))
        photo = ImageRef(data=draw_picture("FOUND ON THE SHELF", "green"))
        state = await graph.ainvoke({"question": "What is this?", "images": [photo], "max_products": 1})
        assert [record["id"] for record in state["instance"].input["products"]] == ["bottle", SHOPPERS_IMAGE]
        own = state["image_results"][-1]
        assert own.image.product is None
        assert "FOUND ON THE SHELF" in own.caption.text

    async def test_pictures_are_named_by_path_too(self, store: CaptionStore, tmp_path: Path) -> None:
        graph = build_graph(pipeline_with(store))
        state = await graph.ainvoke(
            {"question": "Is it red?", "products": ["lamp"], "images": [str(tmp_path / "mug-1.png")]}
        )
        assert "red" in state["prediction"].text

    async def test_text_alone_on_request(self, store: CaptionStore) -> None:
        captioner = light_captioner()
        graph = build_graph(pipeline_with(store, captioners=[captioner]))
        state = await graph.ainvoke({"question": VOLUME, "products": ["mug"]}, context=Context(use_images=False))
        assert state["image_results"] == []
        assert captioner.calls == 0
        assert "350 ML" not in state["prediction"].fused

    async def test_pictures_beyond_the_most_are_left_out_and_it_is_said(self, store: CaptionStore) -> None:
        graph = build_graph(pipeline_with(store, max_images=2))
        state = await graph.ainvoke({"question": VOLUME, "products": ["mug", "jacket", "bottle"]})
        assert len(state["image_results"]) == 2
        assert state["warnings"] == ["2 of 4 images were left out (CASLIE_MAX_IMAGES)"]

    async def test_an_instance_with_a_single_option_is_answered_with_a_warning(self, store: CaptionStore) -> None:
        graph = build_graph(pipeline_with(store))
        record = {"input": {"title": "Mug"}, "options": ["A: Kitchen"]}
        state = await graph.ainvoke({"task": "cc", "record": record})
        assert state["prediction"].label == "A"
        assert state["warnings"] == ["there is only one option, so the answer says nothing about the product"]

    async def test_an_instance_with_more_images_than_the_most_is_refused(self, store: CaptionStore) -> None:
        graph = build_graph(pipeline_with(store, max_images=2))
        record = {"input": ["1st: Mug", "2nd: Lamp"], "options": ["A: Jug", "B: Hose"]}
        photos: list[Any] = [ImageRef(data=draw_picture(str(number))) for number in range(4)]
        with pytest.raises(InputError, match=r"the instance has 4 images, more than 2; raise CASLIE_MAX_IMAGES"):
            await graph.ainvoke({"task": "sr", "record": record, "images": photos})
        state = await graph.ainvoke({"task": "sr", "record": record, "images": [photos[0], None, None, photos[3]]})
        assert [result.index for result in state["image_results"]] == [0, 3]

    @pytest.mark.parametrize(
        ("request_", "error", "says"),
        [
            ({}, InputError, "the question is empty"),
            ({"question": " \n"}, InputError, "the question is empty"),
            ({"question": "x" * 4001}, InputError, "shorten it to at most 4000"),
            ({"question": 7}, InputError, "question: Input should be a valid string"),
            ({"question": "?", "products": ["gone"]}, UnknownProductError, "gone"),
            ({"question": "?", "where": "price <"}, FilterError, "price"),
            ({"question": "?", "max_products": 0}, InputError, "max_products: "),
            ({"question": "?", "images": [7]}, InputError, "images > 0"),
            ({"question": "?", "images": 7}, InputError, "not iterable"),
            ({"question": "?", "images": ["https:no-slashes"]}, InputError, "starts with http"),
            ({"task": "nonsense", "record": {}}, InputError, "no task 'nonsense'"),
            ({"task": "sa"}, InputError, "needs an instance"),
            ({"task": "cc", "record": {"title": "Mug"}}, InputError, "options are missing"),
        ],
    )
    async def test_a_bad_request_is_a_clear_error(
        self, store: CaptionStore, request_: dict[str, Any], error: type[CaslieError], says: str
    ) -> None:
        graph = build_graph(pipeline_with(store))
        with pytest.raises(error) as caught:
            await graph.ainvoke(request_)  # type: ignore[call-overload] # on purpose not what Input says
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)


class TestTasks:
    @pytest.mark.parametrize("name", [task.name for task in MMECINSTRUCT])
    async def test_each_of_the_seven_runs_in_the_dataset_s_form(self, store: CaptionStore, name: str) -> None:
        record = json.loads((INSTANCES / f"{name}.json").read_text("utf-8"))
        images = [str((INSTANCES / image).resolve()) for image in record["images"]]
        captioner = FunctionCaptioner(lambda request: f"Seen: {request.image.sha256[:8]}.")
        # Every other picture's caption is rejected, by what it says.
        judges = [FunctionJudge(lambda request: "yes" if int(request.caption[6:14], 16) % 2 else "no", name="odd")]
        graph = build_graph(pipeline_with(store, captioners=[captioner], judges=judges))
        state = await graph.ainvoke({"task": name, "record": record, "images": images})
        prediction = state["prediction"]
        assert prediction.task == name
        assert prediction.label is not None
        assert len(state["image_results"]) == len(images)
        for result in state["image_results"]:
            assert result.caption is not None
            assert not result.error
            # In sequential_recommendation a candidate's caption goes to its option.
            shown = prediction.fused + json.dumps([caption.text for caption in prediction.captions])
            assert (result.caption.text in shown) is result.kept
        assert "null" not in prediction.fused
        assert state["warnings"] == []

    async def test_both_products_of_a_relation_are_looked_at_for_each_other(self, store: CaptionStore) -> None:
        captioner = light_captioner()
        graph = build_graph(pipeline_with(store, captioners=[captioner], judges=jury("yes")))
        pictures = [ImageRef(data=draw_picture("ONE", "red")), ImageRef(data=draw_picture("TWO", "blue"))]
        record = {"product 1": "Kettle", "product 2": "Teapot"}
        state = await graph.ainvoke({"task": "prp", "record": record, "images": pictures})
        focuses = [request.context.known + request.context.compared_with for request in captioner.requests]
        assert all("Kettle" in focus and "Teapot" in focus for focus in focuses)
        fused = json.loads(state["prediction"].fused)
        assert "ONE" in fused["product 1 information extracted from image"]
        assert "TWO" in fused["product 2 information extracted from image"]

    async def test_a_missing_image_is_normal_input(self, store: CaptionStore) -> None:
        graph = build_graph(pipeline_with(store, judges=jury("yes")))
        record = {"product 1": "Kettle", "product 2": "Teapot"}
        images = [None, ImageRef(data=draw_picture("TWO", "blue"))]
        state = await graph.ainvoke({"task": "prp", "record": record, "images": images})
        assert [result.index for result in state["image_results"]] == [1]
        assert set(json.loads(state["prediction"].fused)) == {*record, "product 2 information extracted from image"}

    async def test_a_text_too_long_for_the_models_is_cut_for_them_alone_and_it_is_said(
        self, store: CaptionStore
    ) -> None:
        review = "The seam came apart after a week. " * 600
        captioner, judges = FunctionCaptioner(lambda request: "A torn seam."), jury("yes")
        graph = build_graph(pipeline_with(store, captioners=[captioner], judges=judges, text_tokens=2048))
        images = [ImageRef(data=draw_picture("ONE")), ImageRef(data=draw_picture("TWO"))]
        state = await graph.ainvoke({"task": "sa", "record": {"review": review}, "images": images})
        contexts = [request.context for request in captioner.requests]
        contexts += [request.context for request in judges[0].requests]
        assert len(contexts) == 4
        assert max(len(context.focus) for context in contexts) < 2 * 2048
        assert [warning for warning in state["warnings"] if "of 20400 characters of text" in warning] == [
            state["warnings"][0]
        ]
        assert review in json.loads(state["prediction"].fused)["review"]


class TestReuse:
    async def test_the_same_question_makes_no_caption_again(self, store: CaptionStore) -> None:
        captioner = light_captioner()
        graph = build_graph(pipeline_with(store, captioners=[captioner]))
        first = await graph.ainvoke({"question": VOLUME, "products": ["mug", "jacket"]})
        second = await graph.ainvoke({"question": VOLUME, "products": ["mug", "jacket"]})
        assert captioner.calls == 3
        assert [result.caption.source for result in first["image_results"]] == ["generated"] * 3
        assert [result.caption.source for result in second["image_results"]] == ["cache"] * 3
        assert second["prediction"].text == first["prediction"].text

    async def test_a_cached_caption_needs_no_picture(self, store: CaptionStore, products: list[Product]) -> None:
        graph = build_graph(pipeline_with(store))
        first = await graph.ainvoke({"question": VOLUME, "products": ["mug"]})
        assert products[0].images[0].path is not None
        products[0].images[0].path.unlink()
        second = await graph.ainvoke({"question": VOLUME, "products": ["mug"]})
        assert second["prediction"].text == first["prediction"].text
        assert second["warnings"] == []

    async def test_a_near_question_s_caption_is_reused_and_judged_for_the_new_one(self, store: CaptionStore) -> None:
        captioner = light_captioner()
        judge = FunctionJudge(lambda request: "no" if "today" in request.context.focus else "yes", name="judge")
        graph = build_graph(pipeline_with(store, captioners=[captioner], judges=[judge]))
        first = await graph.ainvoke({"question": VOLUME, "products": ["mug"]})
        second = await graph.ainvoke({"question": "Which mug holds 350 ml today?", "products": ["mug"]})
        assert captioner.calls == 1
        (result,) = second["image_results"]
        assert result.caption.source == "cache"
        assert result.caption.context.focus == VOLUME
        assert [request.context.focus for request in judge.requests] == [VOLUME, "Which mug holds 350 ml today?"]
        assert first["image_results"][0].kept
        assert not result.kept
        assert "350" not in second["prediction"].fused.partition("products")[2]

    @pytest.mark.parametrize(("threshold", "calls"), [(0.8, 1), (0.95, 2)])
    async def test_how_near_is_near_enough_is_a_setting(
        self, store: CaptionStore, threshold: float, calls: int
    ) -> None:
        captioner = light_captioner()
        graph = build_graph(pipeline_with(store, captioners=[captioner], reuse_threshold=threshold))
        await graph.ainvoke({"question": VOLUME, "products": ["mug"]})
        await graph.ainvoke({"question": "Which mug holds 350 ml today?", "products": ["mug"]})  # cosine about 0.9
        assert captioner.calls == calls

    async def test_a_far_question_gets_a_caption_of_its_own(self, store: CaptionStore) -> None:
        captioner = light_captioner()
        graph = build_graph(pipeline_with(store, captioners=[captioner]))
        await graph.ainvoke({"question": VOLUME, "products": ["mug"]})
        await graph.ainvoke({"question": "What colour is it?", "products": ["mug"]})
        assert [request.context.focus for request in captioner.requests] == [VOLUME, "What colour is it?"]
        assert len(store.captions("mug")) == 2


class TestPaperSettings:
    async def test_a_rejected_caption_is_a_null_as_the_published_models_were_tuned(self, store: CaptionStore) -> None:
        graph = build_graph(pipeline_with(store, judges=jury("no"), wire_format="paper"))
        record = {"title": "Mug"}
        photo = ImageRef(data=draw_picture("350 ML", "red"))
        complete = {"instruction": "Choose.", "input": record, "options": ["A: Mugs", "B: Hats"]}
        state = await graph.ainvoke({"task": "cc", "record": complete, "images": [photo]})
        assert json.loads(state["prediction"].fused) == record | {"product information extracted from image": None}

    async def test_only_the_first_image_of_a_text_is_captioned_and_it_is_said(self, store: CaptionStore) -> None:
        captioner = light_captioner()
        graph = build_graph(pipeline_with(store, captioners=[captioner], judges=jury("yes"), wire_format="paper"))
        record = {"instruction": "Choose.", "input": {"review": "Torn."}, "options": ["A: good", "B: bad"]}
        photos = [ImageRef(data=draw_picture(text)) for text in ("SEAM", "SLEEVE", "HOOD")]
        state = await graph.ainvoke({"task": "sa", "record": record, "images": photos})
        assert [result.index for result in state["image_results"]] == [0]
        assert captioner.calls == 1
        assert state["warnings"] == [
            "2 of 3 images were left out: the wire format 'paper' uses only the first image of a text"
        ]

    @pytest.mark.parametrize(("quorum", "kept"), [(1, True), (None, False)])
    async def test_one_valid_vote_is_enough_for_a_quorum_of_one(
        self, store: CaptionStore, quorum: int | None, kept: bool
    ) -> None:
        judges = jury("abstain", "abstain", "yes", "abstain", "abstain")
        graph = build_graph(pipeline_with(store, judges=judges, quorum=quorum))
        state = await graph.ainvoke({"question": VOLUME, "products": ["mug"]})
        assert [result.kept for result in state["image_results"]] == [kept]

    @pytest.mark.parametrize(("reuse_threshold", "calls"), [(1.0, 2), (0.86, 1)])
    async def test_at_a_threshold_of_one_a_context_with_an_equal_text_gets_its_own_caption(
        self, store: CaptionStore, reuse_threshold: float, calls: int
    ) -> None:
        captioner = light_captioner()
        graph = build_graph(pipeline_with(store, captioners=[captioner], reuse_threshold=reuse_threshold))
        photo = [ImageRef(data=draw_picture("TEA", "green"))]
        record = {"query": "green tea", "product title": "Sencha"}
        for task in ("psi", "mpc", "mpc"):  # both have the query as their text, and each has its own aim
            await graph.ainvoke({"task": task, "record": record, "images": photo})
        assert captioner.calls == calls
