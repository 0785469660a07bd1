"""The front door."""

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from caslie_tools.caslie import Caslie, ImageLike
from caslie_tools.domain import ImageRef, Vote
from caslie_tools.exceptions import (
    CaslieError,
    ImageError,
    InputError,
    ModelError,
    SettingsError,
    StoreError,
    StoreModelError,
    StoreNotFoundError,
    UnknownProductError,
)
from caslie_tools.graphs import Context
from caslie_tools.images.loading import ImageLimits
from caslie_tools.profiles.named import load_profile
from caslie_tools.profiles.profile import Profile
from caslie_tools.roles.interfaces import Models
from caslie_tools.roles.judge import ModelJudge
from caslie_tools.settings import PipelineDefaults, Settings
from caslie_tools.store import CaptionStore
from tests.doubles import (
    HashEmbeddings,
    RecordingChatModel,
    blind_profile,
    draw_picture,
    light_models,
    light_products,
    light_profile,
    write_catalogue,
)

VOLUME = "Which mug holds 350 ml?"


@pytest.fixture
def caslie(tmp_path: Path) -> Iterator[Caslie]:
    with Caslie.open(tmp_path / "store", profile=light_profile(), settings=Settings()) as caslie:
        caslie.index(light_products(tmp_path))
        yield caslie


class TestAsk:
    def test_an_answer_with_everything_that_led_to_it(self, caslie: Caslie) -> None:
        response = caslie.ask(VOLUME, products=["mug", "jacket"])
        assert "350 ML" in response.answer
        assert [product.id for product in response.products] == ["mug", "jacket"]
        assert [result.kept for result in response.image_results] == [True, False, False]
        assert response.warnings == ()
        assert {timing.step for timing in response.timings} == {
            "validate",
            "retrieve",
            "caption",
            "gate",
            "review",
            "predict",
            "save_captions",
        }
        assert response.total_milliseconds > 0

    def test_as_json(self, caslie: Caslie) -> None:
        told = json.loads(json.dumps(caslie.ask(VOLUME, products=["mug", "jacket"]).to_json()))
        assert set(told) >= {"answer", "answerable", "products", "captions", "citations", "timings_ms", "warnings"}
        assert told["products"] == [
            {"id": "mug", "title": "Stoneware mug"},
            {"id": "jacket", "title": "Hiking jacket"},
        ]
        mug, waterproof, hood = told["captions"]
        assert (mug["product"], mug["image"], mug["source"], mug["kept"]) == ("mug", "mug-1.png", "generated", True)
        assert mug["margin"] > 0 > waterproof["margin"]
        assert mug["votes"][0]["verdict"] == "yes"
        assert len(mug["votes"]) + mug["skipped_judges"] == 5
        assert (waterproof["kept"], hood["kept"], hood["error"]) == (False, False, None)
        steps = {key: value for key, value in told["timings_ms"].items() if key != "total"}
        assert set(steps) == {"validate", "retrieve", "caption", "gate", "review", "predict", "save_captions"}

    @pytest.mark.parametrize("kind", ["bytes", "path", "text", "reference"])
    def test_a_shopper_s_picture_in_any_form(self, caslie: Caslie, tmp_path: Path, kind: str) -> None:
        path = tmp_path / "mine.png"
        path.write_bytes(draw_picture("MINE", "green"))
        forms: dict[str, ImageLike] = {
            "bytes": path.read_bytes(),
            "path": path,
            "text": str(path),
            "reference": ImageRef(path=path),
        }
        response = caslie.ask("Is it green?", products=["lamp"], images=[forms[kind]])
        assert "MINE" in response.answer
        # The picture is not a product of the shop.
        assert [product.id for product in response.products] == ["lamp"]
        assert [result.image.product for result in response.image_results] == ["lamp", None]

    def test_a_filter_as_text_or_as_a_mapping(self, caslie: Caslie) -> None:
        for where in ("price<10", {"price": {"$lt": 10}}):
            assert [product.id for product in caslie.ask("Which one?", where=where).products] == ["mug"]

    def test_from_text_alone(self, caslie: Caslie) -> None:
        response = caslie.ask(VOLUME, products=["mug"], use_images=False)
        assert response.image_results == ()
        assert "350 ML" not in response.prediction.fused

    @pytest.mark.parametrize(
        ("question", "options", "error"),
        [
            ("", {}, InputError),
            ("What?", {"products": ["gone"]}, UnknownProductError),
            ("What?", {"images": ["gone.png"]}, ImageError),
            ("What?", {"images": [b"not an image"]}, ImageError),
            ("What?", {"where": "price <"}, InputError),
        ],
    )
    def test_errors_are_ours(
        self, caslie: Caslie, question: str, options: dict[str, Any], error: type[CaslieError]
    ) -> None:
        with pytest.raises(error):
            caslie.ask(question, **options)

    def test_captioners_that_are_down(self, tmp_path: Path) -> None:
        with Caslie.open(tmp_path / "store", profile=blind_profile(), settings=Settings()) as caslie:
            report = caslie.index(light_products(tmp_path))
            response = caslie.ask("What is the price of the mug?", products=["mug"], use_images=False)
        assert len(report.failed) == 5
        assert report.products == 4
        assert response.answer == "9.5"
        assert "secret" not in repr(report)


class TestPredict:
    def test_a_record_or_only_its_input(self, caslie: Caslie) -> None:
        record = {"input": {"title": "Stoneware mug"}, "options": ["A: Hats", "B: Mugs and mug trees"]}
        response = caslie.predict("category_classification", record, images=[None])
        assert response.answer == "B: Mugs and mug trees"
        assert response.prediction.label == "B"
        assert response.prediction.probabilities is not None
        assert response.image_results == ()
        assert caslie.predict("sa", {"review": "Very positive."}).answer == "A: very positive"
        assert caslie.predict("psi", {"query": "mug", "product title": "Mug"}, use_images=False).answer == "yes"
        assert caslie.predict("sa", {"review": "Good."}).products == ()

    def test_an_unknown_task(self, caslie: Caslie) -> None:
        with pytest.raises(InputError, match="no task 'nonsense'"):
            caslie.predict("nonsense", {})


class TestSearch:
    def test_by_words_by_picture_or_both(self, caslie: Caslie) -> None:
        photo = draw_picture("", "green")
        assert caslie.search("steel bottle")[0].product.id == "bottle"
        assert caslie.search(image=photo, count=1)[0].product.id == "bottle"
        assert caslie.search("lamp", image=photo, where="price<30")[0].product.id == "bottle"

    def test_neither(self, caslie: Caslie) -> None:
        with pytest.raises(InputError, match="there is nothing to search for"):
            caslie.search(" ")


class TestCaptions:
    def test_what_the_store_knows_with_its_provenance(self, caslie: Caslie) -> None:
        caslie.ask(VOLUME, products=["mug"])
        general, asked = json.loads(json.dumps(caslie.captions("mug")))
        assert (general["task"], asked["task"]) == ("index", "product_qa")
        assert asked["focus"] == VOLUME
        assert asked["products"] == ["mug"]
        assert general["kept"] is None
        assert asked["kept"] is True
        assert asked["captioner"].startswith("light-captioner")
        assert {found["kind"] for found in asked["evidence"]} == {"text", "colour"}
        assert len(caslie.captions()) == 6

    def test_of_no_such_product(self, caslie: Caslie) -> None:
        with pytest.raises(UnknownProductError):
            caslie.captions("gone")


class TestOpening:
    def test_a_catalogue_file(self, tmp_path: Path) -> None:
        with Caslie.open(tmp_path / "store", profile=light_profile(), settings=Settings()) as caslie:
            report = caslie.index(write_catalogue(tmp_path))
            again = caslie.index(str(tmp_path / "catalogue.csv"))
        assert (report.products, report.captions_made, report.failed) == (4, 5, ())
        assert (again.skipped, again.captions_made) == (4, 0)

    def test_what_was_learned_is_there_the_next_time(self, caslie: Caslie) -> None:
        first = caslie.ask(VOLUME, products=["mug"])
        with Caslie.open(caslie.store.path, profile=light_profile(), settings=Settings(), create=False) as again:
            second = again.ask(VOLUME, products=["mug"])
        assert [result.caption.source for result in second.image_results if result.caption] == ["cache"]
        assert second.answer == first.answer

    def test_no_store(self, tmp_path: Path) -> None:
        with pytest.raises(StoreNotFoundError):
            Caslie.open(tmp_path / "store", profile=light_profile(), settings=Settings(), create=False)

    def test_another_embedding_model(self, caslie: Caslie) -> None:
        other = Profile(name="other", embeddings=HashEmbeddings(identity="other"), models=light_models)
        with pytest.raises(StoreModelError):
            Caslie.open(caslie.store.path, profile=other, settings=Settings())

    def test_models_that_cannot_be_built_leave_the_store_closed(self, tmp_path: Path) -> None:
        opened: list[CaptionStore] = []

        def fail(store: CaptionStore) -> Models:
            opened.append(store)
            raise ModelError("no weights")

        profile = Profile(name="broken", embeddings=HashEmbeddings(), models=fail)
        with pytest.raises(ModelError, match="no weights"):
            Caslie.open(tmp_path / "store", profile=profile, settings=Settings())
        with pytest.raises(StoreError, match="is closed"):
            opened[0].product_ids()

    def test_a_closed_one_says_so(self, caslie: Caslie) -> None:
        caslie.close()
        with pytest.raises(StoreError, match="is closed"):
            caslie.ask("What?")

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            (
                "nonsense",
                "choose one of embedded, chat, caslie-l, caslie-m, caslie-s-24gb, local-hf, paper, "
                "the path of a .toml file, or module:function",
            ),
            ("no.such.module:profile", "cannot be imported"),
            ("tests.doubles:no_such_function", "cannot be imported"),
            ("tests.doubles:light_products", "cannot be imported"),  # wants an argument
            ("tests.doubles:HashEmbeddings", "is a HashEmbeddings, not a caslie_tools Profile"),
        ],
    )
    def test_a_profile_that_is_none(self, name: str, says: str) -> None:
        with pytest.raises(SettingsError, match=says):
            load_profile(name)

    def test_a_profile_of_one_s_own_by_name(self, tmp_path: Path) -> None:
        with Caslie.open(tmp_path, profile="tests.doubles:light_profile", settings=Settings()) as caslie:
            assert caslie.profile.name == "light"

    def test_its_image_limits_bound_a_judge_that_sees_images(self, tmp_path: Path) -> None:
        model = RecordingChatModel(replies=["yes"])

        def models(store: CaptionStore) -> Models:
            return dataclasses.replace(light_models(store), judges=[ModelJudge(model, sees_image=True)])

        profile = dataclasses.replace(light_profile(), models=models)
        with Caslie.open(tmp_path / "store", profile=profile, settings=Settings()) as caslie:
            caslie.index(light_products(tmp_path))
            caslie.ask(VOLUME, products=["mug"])
        votes: list[Vote] = []
        for limits in (ImageLimits(), ImageLimits(max_bytes=100)):  # the caption is cached: only the judge reads it
            with Caslie.open(tmp_path / "store", profile=profile, settings=Settings(images=limits)) as caslie:
                (result,) = caslie.ask(VOLUME, products=["mug"]).image_results
            assert result.decision is not None
            votes += result.decision.votes
        assert [vote.verdict for vote in votes] == ["yes", "abstain"]
        assert "larger than 100 bytes" in votes[1].reason


class TestSynchronousAndNot:
    async def test_asynchronously(self, caslie: Caslie) -> None:
        replies = await asyncio.gather(*(caslie.aask(VOLUME, products=["mug"]) for _ in range(3)))
        assert len({response.answer for response in replies}) == 1

    async def test_synchronously_where_a_loop_runs(self, caslie: Caslie) -> None:
        assert "350 ML" in caslie.ask(VOLUME, products=["mug"]).answer
        assert caslie.search("lamp")[0].product.id == "lamp"

    def test_from_many_threads(self, caslie: Caslie) -> None:
        with ThreadPoolExecutor(4) as threads:
            replies = list(threads.map(lambda _: caslie.ask(VOLUME, products=["mug"]), range(8)))
        assert len({response.answer for response in replies}) == 1
        assert len(caslie.captions("mug")) == 2

    def test_its_graph_takes_a_checkpointer(self, tmp_path: Path) -> None:
        config: Any = {"configurable": {"thread_id": "1"}}
        saver = InMemorySaver()
        with Caslie.open(tmp_path / "s", profile=light_profile(), settings=Settings(), checkpointer=saver) as caslie:
            caslie.index(light_products(tmp_path))
            request: Any = {"question": "Is the jacket waterproof today?", "products": ["jacket"]}
            stopped = caslie.graph.invoke(request, config, context=Context(ask_person=True))
        assert [item["product"] for item in stopped["__interrupt__"][0].value["captions"]] == ["jacket"]

    def test_asking_works_beside_a_checkpointer(self, tmp_path: Path) -> None:
        saver = InMemorySaver()
        with Caslie.open(tmp_path / "s", profile=light_profile(), settings=Settings(), checkpointer=saver) as caslie:
            caslie.index(light_products(tmp_path))
            assert "350 ML" in caslie.ask(VOLUME, products=["mug"]).answer
            assert caslie.ask("Is the lamp white?").warnings == ()
            (tool,) = [tool for tool in caslie.tools() if tool.name == "answer_product_question"]
            assert "350 ML" in tool.invoke({"question": VOLUME, "product_ids": ["mug"]})


class TestStart:
    @staticmethod
    def profile(**fields: Any) -> Profile:
        return dataclasses.replace(light_profile(), **fields)

    def test_models_that_are_not_there_keep_it_from_starting(self, tmp_path: Path) -> None:
        async def fail() -> None:
            raise ModelError("the captioner is not there")

        profile = self.profile(check=fail)
        with pytest.raises(ModelError, match="the captioner is not there"):
            Caslie.open(tmp_path / "store", profile=profile, settings=Settings())
        assert not (tmp_path / "store").exists()
        with Caslie.open(tmp_path / "store", profile=profile, settings=Settings(check_models=False)) as caslie:
            assert caslie.store.stats().products == 0

    async def test_the_check_runs_where_a_loop_runs_already(self, tmp_path: Path) -> None:
        checked = []

        async def check() -> None:
            checked.append(True)

        Caslie.open(tmp_path / "store", profile=self.profile(check=check), settings=Settings()).close()
        assert checked == [True]

    def test_a_profile_s_settings_apply_where_the_user_sets_none(self, tmp_path: Path) -> None:
        paper = self.profile(pipeline=PipelineDefaults(wire_format="paper", quorum=1, reuse_threshold=1.0))
        with Caslie.open(tmp_path / "store", profile=paper, settings=Settings()) as caslie:
            settings = caslie.pipeline.settings
            assert (settings.wire_format, settings.reuse_threshold) == ("paper", 1.0)
            assert caslie.pipeline.cqe.quorum == 1
        with Caslie.open(tmp_path / "store", profile=paper, settings=Settings(wire_format="corrected")) as caslie:
            assert caslie.pipeline.settings.wire_format == "corrected"
            assert caslie.pipeline.cqe.quorum == 1
