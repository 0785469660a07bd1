import asyncio
import gc
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from caslie_tools.catalogue.format import ReadingOptions
from caslie_tools.catalogue.general_captions import general_context
from caslie_tools.catalogue.indexing import index_catalogue, index_products
from caslie_tools.catalogue.reports import IndexReport
from caslie_tools.domain import CaptionDraft, ImageRef, Product
from caslie_tools.exceptions import CatalogueError, ModelError, StoreBusyError
from caslie_tools.images.loading import ImageLimits
from caslie_tools.pipeline.pipeline import Pipeline
from caslie_tools.roles.interfaces import CaptionRequest, Models
from caslie_tools.settings import Settings
from caslie_tools.store import CaptionStore
from tests.doubles import FunctionCaptioner, HashEmbeddings, HashPictures, draw_picture, light_captioner, light_models
from tests.shop import DATABASE, PictureServer, Shop, content_of, picture_server
from tests.time_limits import HANG_SECONDS


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Three products with a picture each."""
    shop = Shop(tmp_path / "shop")
    for name, colour in (("a", "red"), ("b", "green"), ("c", "blue")):
        shop.put(name, shop.draw(f"{name}.png", f"LABEL {name}", colour))
    return shop


@pytest.fixture
def pictures() -> HashPictures:
    return HashPictures()


@pytest.fixture
def store(tmp_path: Path, pictures: HashPictures) -> Iterator[CaptionStore]:
    with CaptionStore.open(tmp_path / "store", HashEmbeddings(), image_embeddings=pictures) as store:
        yield store


@pytest.fixture
def captioner() -> FunctionCaptioner:
    return light_captioner()


@pytest.fixture
def pipeline(store: CaptionStore, captioner: FunctionCaptioner) -> Pipeline:
    return pipeline_with(store, captioner)


@pytest.fixture
def server() -> Iterator[PictureServer]:
    with picture_server() as server:
        yield server


def pipeline_with(store: CaptionStore, captioner: FunctionCaptioner) -> Pipeline:
    light = light_models()
    models = Models(captioners=[captioner], judges=light.judges, predictor=light.predictor)
    settings = Settings(
        images=ImageLimits(allow_private_addresses=True, timeout_seconds=HANG_SECONDS), max_parallel_images=2, quorum=1
    )
    return Pipeline(store, models, settings)


def captioner_of(function: Callable[[CaptionRequest], str]) -> FunctionCaptioner:
    return FunctionCaptioner(lambda request: CaptionDraft(text=function(request)), name=light_captioner().get_name())


def asked_for(captioner: FunctionCaptioner) -> list[str | None]:
    """The products whose pictures were captioned since the last time."""
    asked = sorted(str(request.product) for request in captioner.requests)
    captioner.requests.clear()
    return list(asked)


def counts(report: IndexReport) -> tuple[int, int, int, int, int]:
    return report.products, report.images, report.captions_made, report.captions_reused, report.skipped


async def test_a_catalogue_is_stored_and_captioned(shop: Shop, pipeline: Pipeline) -> None:
    report = await index_catalogue(shop.path, pipeline)
    assert counts(report) == (3, 3, 3, 0, 0)
    assert report.failed == ()
    assert report.seconds > 0
    assert pipeline.store.product_ids() == ["a", "b", "c"]
    (caption,) = pipeline.store.captions("b")
    assert caption.text == "Colour: green. Label: LABEL b."
    assert caption.context == general_context(pipeline.store.get_product("b"))
    assert pipeline.store.stats().picture_vectors == 3


async def test_a_second_run_reads_decodes_embeds_and_captions_nothing(
    shop: Shop, pipeline: Pipeline, captioner: FunctionCaptioner, pictures: HashPictures
) -> None:
    await index_catalogue(shop.path, pipeline)
    before = content_of(pipeline.store.path)
    captioner.requests.clear()
    pictures.embedded.clear()
    assert counts(await index_catalogue(shop.path, pipeline)) == (3, 3, 0, 3, 3)
    assert captioner.requests == []
    assert pictures.embedded == []
    assert content_of(pipeline.store.path) == before


async def test_a_changed_picture_is_done_again_and_its_old_captions_go(
    shop: Shop, pipeline: Pipeline, captioner: FunctionCaptioner
) -> None:
    await index_catalogue(shop.path, pipeline)
    (old,) = pipeline.store.captions("b")
    asked_for(captioner)
    shop.draw("b.png", "NEW LABEL", "orange")
    assert counts(await index_catalogue(shop.path, pipeline)) == (3, 3, 1, 2, 2)
    assert asked_for(captioner) == ["b"]
    assert [caption.text for caption in pipeline.store.captions("b")] == ["Colour: orange. Label: NEW LABEL."]
    assert pipeline.store.get_caption(old.key) is None


async def test_a_changed_row_is_done_again_without_its_pictures(
    shop: Shop, pipeline: Pipeline, captioner: FunctionCaptioner, pictures: HashPictures
) -> None:
    await index_catalogue(shop.path, pipeline)
    asked_for(captioner)
    pictures.embedded.clear()
    shop.put("b", "b.png", price="2", stock="7")
    assert counts(await index_catalogue(shop.path, pipeline)) == (3, 3, 0, 3, 2)
    assert pipeline.store.get_product("b").price == 2
    assert asked_for(captioner) == []
    assert pictures.embedded == []


async def test_a_new_title_is_a_new_context(shop: Shop, pipeline: Pipeline, captioner: FunctionCaptioner) -> None:
    await index_catalogue(shop.path, pipeline)
    asked_for(captioner)
    shop.put("b", "b.png", title="Quite another thing")
    assert counts(await index_catalogue(shop.path, pipeline)) == (3, 3, 1, 2, 2)
    assert asked_for(captioner) == ["b"]


async def test_an_added_row_is_done_alone(shop: Shop, pipeline: Pipeline, captioner: FunctionCaptioner) -> None:
    await index_catalogue(shop.path, pipeline)
    asked_for(captioner)
    shop.put("d", shop.draw("d.png", "LABEL d"), shop.draw("d2.png", "BACK"))
    assert counts(await index_catalogue(shop.path, pipeline)) == (4, 5, 2, 3, 3)
    assert asked_for(captioner) == ["d", "d"]


async def test_a_missing_picture_is_reported_until_it_is_there(shop: Shop, pipeline: Pipeline) -> None:
    shop.put("d", "a.png", "gone.png")
    for skipped in (0, 4):
        report = await index_catalogue(shop.path, pipeline)
        assert (report.products, report.images, report.skipped) == (4, 4, skipped)
        (failure,) = report.failed
        assert failure.item == "d: gone.png"
        assert "does not exist" in failure.reason
    shop.draw("gone.png", "BACK AGAIN", "yellow")
    report = await index_catalogue(shop.path, pipeline)
    assert (report.images, report.captions_made, report.failed) == (5, 1, ())


async def test_a_picture_that_went_missing_loses_nothing(shop: Shop, pipeline: Pipeline) -> None:
    await index_catalogue(shop.path, pipeline)
    known = pipeline.store.captions("b")
    (shop.folder / "b.png").unlink()
    shop.put("b", "b.png", price="3")
    report = await index_catalogue(shop.path, pipeline)
    assert [failure.item for failure in report.failed] == ["b: b.png"]
    assert counts(report) == (3, 3, 0, 3, 2)
    assert pipeline.store.get_product("b").price == 3
    assert pipeline.store.captions("b") == known


async def test_what_is_no_picture_is_reported_beside_what_is(shop: Shop, pipeline: Pipeline) -> None:
    (shop.folder / "text.png").write_text("no picture")
    (shop.folder / "cut.png").write_bytes(draw_picture("CUT OFF")[:80])
    (shop.folder / "folder.png").mkdir()
    shop.put("d", "text.png", "a.png", "cut.png", "folder.png", "/dev/zero")
    for _ in range(2):
        report = await index_catalogue(shop.path, pipeline, reading=ReadingOptions(trust_paths=True))
        assert [failure.item.removeprefix("d: ") for failure in report.failed] == [
            "text.png",
            "cut.png",
            "folder.png",
            "zero",
        ]
        assert report.images == 4


async def test_rows_and_values_that_cannot_be_read_come_first_in_the_report(shop: Shop, pipeline: Pipeline) -> None:
    with shop.path.open("a") as file:
        file.write("e,E,cheap,\nf,F,1,gone.png\na,A,1,\n")
    report = await index_catalogue(shop.path, pipeline)
    assert report.products == 5
    assert [failure.item for failure in report.failed] == ["e", "a", "f: gone.png"]
    assert "line 5: price" in report.failed[0].reason
    assert "already used on line 2" in report.failed[1].reason


async def test_a_catalogue_that_cannot_be_read_is_an_error(tmp_path: Path, pipeline: Pipeline) -> None:
    with pytest.raises(CatalogueError, match="cannot be read"):
        await index_catalogue(tmp_path / "none.csv", pipeline)


async def test_variants_that_share_a_picture_share_its_caption(
    shop: Shop, pipeline: Pipeline, captioner: FunctionCaptioner
) -> None:
    for size in "SML":
        shop.put(f"shirt-{size}", shop.draw("shirt.png", "COTTON"), title="Shirt", size=size)
    report = await index_catalogue(shop.path, pipeline)
    assert (report.images, report.captions_made, report.captions_reused) == (6, 4, 2)
    assert asked_for(captioner) == ["a", "b", "c", "shirt-L"]
    assert pipeline.store.captions("shirt-S") == pipeline.store.captions("shirt-M") != []


async def test_products_that_share_a_picture_have_a_caption_each(
    shop: Shop, pipeline: Pipeline, captioner: FunctionCaptioner
) -> None:
    shop.put("d", "a.png", title="Something else")
    report = await index_catalogue(shop.path, pipeline)
    assert (report.images, report.captions_made) == (4, 4)
    assert {caption.context.known for caption in pipeline.store.captions("a")} == {
        "title: Product a",
        "title: Something else",
    }


async def test_a_captioner_that_fails_on_one_picture_costs_that_picture_only(
    shop: Shop, pipeline: Pipeline, store: CaptionStore, captioner: FunctionCaptioner
) -> None:
    def caption(request: CaptionRequest) -> str:
        if request.product == "b":
            raise ConnectionError("http://10.0.0.1/?key=secret")
        return "Fine."

    report = await index_catalogue(shop.path, pipeline_with(store, captioner_of(caption)))
    assert counts(report) == (3, 3, 2, 0, 0)
    (failure,) = report.failed
    assert failure.item == "b: b.png"
    assert "ConnectionError" in failure.reason
    assert "secret" not in failure.reason
    report = await index_catalogue(shop.path, pipeline)
    assert counts(report) == (3, 3, 1, 2, 3)
    assert asked_for(captioner) == ["b"]
    assert report.failed == ()


async def test_an_image_without_anything_to_describe_is_reported(shop: Shop, store: CaptionStore) -> None:
    silent = captioner_of(lambda request: "" if request.product == "c" else "Fine.")
    report = await index_catalogue(shop.path, pipeline_with(store, silent))
    assert counts(report) == (3, 3, 2, 0, 0)
    assert [failure.item for failure in report.failed] == ["c: c.png"]
    assert "found nothing to describe" in report.failed[0].reason


async def test_all_pictures_are_stored_before_the_first_is_captioned(
    shop: Shop, store: CaptionStore, pictures: HashPictures
) -> None:
    seen: list[int] = []
    await index_catalogue(
        shop.path, pipeline_with(store, captioner_of(lambda request: f"After {_note(seen, len(pictures.embedded))}."))
    )
    assert seen == [3, 3, 3]


def _note(seen: list[int], value: int) -> int:
    seen.append(value)
    return value


async def test_what_progress_tells_of_is_stored(shop: Shop, pipeline: Pipeline) -> None:
    told: list[tuple[str, str, int, int]] = []

    def progress(step: str, item: str, done: int, total: int) -> None:
        told.append((step, item, done, total))
        assert pipeline.store.get_product(item).id == item
        assert step == "reading" or pipeline.store.captions(item)

    await index_catalogue(shop.path, pipeline, progress=progress)
    assert [call for call in told if call[0] == "reading"] == [
        ("reading", "a", 1, 3),
        ("reading", "b", 2, 3),
        ("reading", "c", 3, 3),
    ]
    assert [(step, done) for step, _, done, _ in told[3:]] == [("captioning", number) for number in (1, 2, 3)]


async def test_no_more_pictures_are_captioned_at_once_than_set(shop: Shop, store: CaptionStore) -> None:
    met = asyncio.Event()

    async def caption(request: CaptionRequest) -> str:
        if counting.running == 2:
            met.set()
        await asyncio.wait_for(met.wait(), HANG_SECONDS)
        return "Fine."

    for number in range(8):
        shop.put(f"d{number}", shop.draw(f"d{number}.png", f"LABEL {number}"))
    counting = FunctionCaptioner(caption)
    await index_catalogue(shop.path, pipeline_with(store, counting))
    assert counting.peak == 2


async def test_a_store_in_use_ends_the_run_and_the_next_one_goes_on(shop: Shop, pipeline: Pipeline) -> None:
    pipeline.store.add_texts(["a"])  # creates the database
    path = pipeline.store.path
    with (
        CaptionStore.open(
            path, HashEmbeddings(), image_embeddings=HashPictures(), busy_timeout_seconds=0.01
        ) as impatient,
        closing(sqlite3.connect(path / DATABASE, isolation_level=None)) as writer,
    ):
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusyError):
            await index_catalogue(shop.path, pipeline_with(impatient, light_captioner()))
    assert counts(await index_catalogue(shop.path, pipeline)) == (3, 3, 3, 0, 0)


async def test_captions_that_cannot_be_stored_end_the_run_in_one_error(
    shop: Shop, pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    silent = pipeline_with(pipeline.store, captioner_of(lambda request: ""))
    await index_catalogue(shop.path, silent)  # the products are stored, no caption is
    path = pipeline.store.path
    with (
        CaptionStore.open(
            path, HashEmbeddings(), image_embeddings=HashPictures(), busy_timeout_seconds=0.01
        ) as impatient,
        closing(sqlite3.connect(path / DATABASE, isolation_level=None)) as writer,
    ):
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusyError):
            await index_catalogue(shop.path, pipeline_with(impatient, light_captioner()))
    gc.collect()
    assert caplog.records == []  # such as of errors that nobody heard of
    # A thread that was writing may still have come through when the other writer went away.
    report = await index_catalogue(shop.path, pipeline)
    assert (report.captions_made + report.captions_reused, report.skipped, report.failed) == (3, 3, ())


async def test_an_embedding_model_that_fails_ends_the_run(shop: Shop, tmp_path: Path) -> None:
    class Down(HashEmbeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            raise ConnectionError

    with CaptionStore.open(tmp_path / "other", Down()) as store, pytest.raises(ModelError):
        await index_catalogue(shop.path, pipeline_with(store, light_captioner()))


class TestUrls:
    async def test_a_picture_is_fetched_once(
        self, shop: Shop, pipeline: Pipeline, server: PictureServer, captioner: FunctionCaptioner
    ) -> None:
        server.pictures["/d.png"] = draw_picture("FROM AFAR", "orange")
        shop.put("d", server.url("/d.png"))
        assert counts(await index_catalogue(shop.path, pipeline)) == (4, 4, 4, 0, 0)
        assert pipeline.store.captions("d")[0].text == "Colour: orange. Label: FROM AFAR."
        shop.put("d", server.url("/d.png"), price="5")
        assert counts(await index_catalogue(shop.path, pipeline)) == (4, 4, 0, 4, 3)
        assert server.requests == ["/d.png"]

    async def test_a_dead_one_is_reported_until_it_lives(
        self, shop: Shop, pipeline: Pipeline, server: PictureServer
    ) -> None:
        shop.put("d", server.url("/d.png?signature=secret"))
        report = await index_catalogue(shop.path, pipeline)
        assert counts(report) == (4, 3, 3, 0, 0)
        (failure,) = report.failed
        assert failure.item == "d: http://127.0.0.1/d.png"
        assert "404" in failure.reason
        assert "secret" not in str(report)
        server.pictures["/d.png?signature=secret"] = draw_picture("ALIVE")
        assert counts(await index_catalogue(shop.path, pipeline)) == (4, 4, 1, 3, 3)

    async def test_one_that_died_loses_nothing(self, shop: Shop, pipeline: Pipeline, server: PictureServer) -> None:
        server.pictures["/d.png"] = draw_picture("FROM AFAR")
        shop.put("d", server.url("/d.png"))
        await index_catalogue(shop.path, pipeline)
        server.pictures.clear()
        shop.put("d", server.url("/d.png"), price="5")
        report = await index_catalogue(shop.path, pipeline)
        assert (report.failed, report.captions_reused) == ((), 4)
        assert pipeline.store.get_product("d").price == 5
        assert len(pipeline.store.captions("d")) == 1

    async def test_a_picture_that_changed_between_the_passes_is_stored_as_it_is_captioned(
        self, shop: Shop, store: CaptionStore, pipeline: Pipeline, server: PictureServer
    ) -> None:
        server.pictures["/d.png"] = draw_picture("OLD", "red")
        product = Product(id="d", title="D", images=(ImageRef(url=server.url("/d.png")),))
        # As an interrupted run leaves it: stored, not captioned.
        loaded = await pipeline.loader.load(product.images[0])
        store.put_products([(product, [loaded])])
        server.pictures["/d.png"] = draw_picture("NEW", "blue")
        assert (await index_products([product], pipeline)).captions_made == 1
        assert [caption.text for caption in store.captions("d")] == ["Colour: blue. Label: NEW."]
        assert (await index_products([product], pipeline)).captions_made == 0


def test_the_general_context_leaves_out_what_no_picture_shows() -> None:
    product = Product(
        id="a", title="Mug", brand="Tonus", price=3, attributes={"stock": 4}, description="x" * 3000, category=""
    )
    context = general_context(product)
    assert context.known.startswith("title: Mug\nbrand: Tonus\ndescription: xxx")
    assert len(context.known) == 2000
    assert context.focus == ""
    cheaper = product.model_copy(update={"price": 2.0, "attributes": {"stock": 3}})
    assert general_context(cheaper).digest == context.digest
