from collections.abc import Iterator
from pathlib import Path

import pytest

from caslie_tools.catalogue.format import ReadingOptions
from caslie_tools.catalogue.indexing import index_catalogue, index_products
from caslie_tools.catalogue.upkeep import preview_catalogue, preview_products
from caslie_tools.domain import Caption, QueryContext, caption_key
from caslie_tools.exceptions import CatalogueError, ModelError
from caslie_tools.pipeline.pipeline import Pipeline
from caslie_tools.roles.interfaces import Models
from caslie_tools.settings import Settings
from caslie_tools.store import CaptionStore
from tests.doubles import FunctionCaptioner, HashEmbeddings, HashPictures, light_captioner, light_models
from tests.shop import Shop, content_of


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Three products with an image each."""
    shop = Shop(tmp_path / "shop")
    for name, colour in (("a", "red"), ("b", "green"), ("c", "blue")):
        shop.put(name, shop.draw(f"{name}.png", f"LABEL {name}", colour))
    return shop


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    with CaptionStore.open(tmp_path / "store", HashEmbeddings(), image_embeddings=HashPictures()) as store:
        yield Pipeline(store, light_models(), Settings(quorum=1))


def general_captions(pipeline: Pipeline, product: str) -> list[str]:
    """The texts about the product that its general captions were made for."""
    return [found.context.known for found in pipeline.store.captions(product) if found.context.is_general]


class TestPrune:
    async def test_products_that_the_catalogue_no_longer_has_are_removed(self, shop: Shop, pipeline: Pipeline) -> None:
        await index_catalogue(shop.path, pipeline)
        del shop.rows["b"]
        shop.put("d", "a.png")
        assert (await index_catalogue(shop.path, pipeline)).removed == ()
        assert pipeline.store.product_ids() == ["a", "b", "c", "d"]
        report = await index_catalogue(shop.path, pipeline, prune=True)
        assert (report.removed, report.not_removed) == (("b",), "")
        assert pipeline.store.product_ids() == ["a", "c", "d"]
        assert pipeline.store.stats().images == 2
        found = [hit.product.id for hit in pipeline.store.search_products("LABEL b", k=5)]
        assert sorted(found) == ["a", "c", "d"]

    async def test_an_unreadable_row_may_be_any_product(self, shop: Shop, pipeline: Pipeline) -> None:
        await index_catalogue(shop.path, pipeline)
        shop.rows = {"a": shop.rows["a"], "x": {"id": "", "title": "No id"}}
        shop.write()
        for report in (
            await preview_catalogue(shop.path, pipeline, prune=True),
            await index_catalogue(shop.path, pipeline, prune=True),
        ):
            assert report.removed == ()
            assert "no product was removed, because 1 row of the catalogue cannot be read" in report.not_removed
            assert len(report.failed) == 1
        assert pipeline.store.product_ids() == ["a", "b", "c"]

    async def test_an_unreadable_value_costs_its_field_only(self, shop: Shop, pipeline: Pipeline) -> None:
        await index_catalogue(shop.path, pipeline)
        del shop.rows["c"]
        shop.put("a", "a.png", price="cheap")
        report = await index_catalogue(shop.path, pipeline, prune=True)
        assert report.removed == ("c",)
        assert len(report.failed) == 1

    async def test_an_image_that_moved_removes_nothing(self, shop: Shop, pipeline: Pipeline) -> None:
        await index_catalogue(shop.path, pipeline)
        (shop.folder / "a.png").unlink()
        report = await index_catalogue(shop.path, pipeline, prune=True)
        assert report.removed == ()
        assert pipeline.store.stats().images == 3

    async def test_an_empty_catalogue_removes_nothing(self, shop: Shop, pipeline: Pipeline) -> None:
        await index_catalogue(shop.path, pipeline)
        shop.path.write_text("id,title\n")
        with pytest.raises(CatalogueError):
            await index_catalogue(shop.path, pipeline, prune=True)
        with pytest.raises(CatalogueError, match="all products of the store would be removed"):
            await index_products([], pipeline, prune=True)
        assert len(pipeline.store.product_ids()) == 3


class TestPreview:
    async def test_nothing_is_written_and_the_run_does_what_it_said(self, shop: Shop, pipeline: Pipeline) -> None:
        await index_catalogue(shop.path, pipeline)
        before = content_of(pipeline.store.path)
        del shop.rows["c"]
        shop.put("a", "a.png", price="2")
        shop.draw("b.png", "NEW LABEL", "orange")
        shop.put("d", "gone.png")
        shop.put("e")
        preview = await preview_catalogue(shop.path, pipeline, prune=True)
        assert (preview.new, preview.changed, preview.removed) == (("d", "e"), ("a", "b"), ("c",))
        assert preview.unchanged == 0
        assert preview.format is not None
        assert content_of(pipeline.store.path) == before
        report = await index_catalogue(shop.path, pipeline, prune=True)
        assert (report.products, report.skipped, report.removed) == (4, 0, ("c",))

    async def test_without_pruning_nothing_is_to_be_removed(self, shop: Shop, pipeline: Pipeline) -> None:
        await index_catalogue(shop.path, pipeline)
        preview = await preview_products([pipeline.store.get_product("a")], pipeline)
        assert (preview.new, preview.changed, preview.unchanged, preview.removed) == ((), (), 1, ())

    async def test_an_image_that_could_not_be_read_is_tried_again(self, shop: Shop, pipeline: Pipeline) -> None:
        shop.put("d", "late.png")
        await index_catalogue(shop.path, pipeline)
        assert (await preview_catalogue(shop.path, pipeline)).changed == ("d",)


class TestNewTitle:
    async def test_its_general_caption_takes_the_place_of_the_old_one(self, shop: Shop, pipeline: Pipeline) -> None:
        await index_catalogue(shop.path, pipeline)
        for number in range(5):
            shop.put("b", "b.png", title=f"Title {number}")
            report = await index_catalogue(shop.path, pipeline)
            assert (report.captions_made, report.captions_removed) == (1, 1)
        assert general_captions(pipeline, "b") == ["title: Title 4"]
        assert pipeline.store.stats().captions == 3

    async def test_the_old_one_stays_until_there_is_a_new_one(self, shop: Shop, pipeline: Pipeline) -> None:
        await index_catalogue(shop.path, pipeline)
        shop.put("b", "b.png", title="New title")

        def fail(_: object) -> str:
            raise ModelError("the server is down")

        light = light_models()
        broken = FunctionCaptioner(fail, name=light_captioner().get_name())
        models = Models(captioners=[broken], judges=light.judges, predictor=light.predictor)
        report = await index_catalogue(shop.path, Pipeline(pipeline.store, models, Settings(quorum=1)))
        assert (len(report.failed), report.captions_removed) == (1, 0)
        assert general_captions(pipeline, "b") == ["title: Product b"]
        assert (await index_catalogue(shop.path, pipeline)).captions_removed == 1
        assert general_captions(pipeline, "b") == ["title: New title"]

    async def test_products_that_share_an_image_keep_a_caption_each(self, shop: Shop, pipeline: Pipeline) -> None:
        shop.put("b", "a.png")
        shop.put("c", "a.png")
        await index_catalogue(shop.path, pipeline)
        other = Shop(shop.folder / "other")  # a second catalogue in the same store
        other.put("a", str(shop.folder / "a.png"), title="New title")
        trusting = ReadingOptions(trust_paths=True)
        assert (await index_catalogue(other.path, pipeline, reading=trusting)).captions_removed == 1
        assert sorted(general_captions(pipeline, "b")) == ["title: New title", "title: Product b", "title: Product c"]


async def test_captions_for_questions_that_nobody_asks_any_more_are_removed(
    shop: Shop, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    await index_catalogue(shop.path, pipeline)
    image = pipeline.store.images_of("a")[0]
    assert image is not None
    context = QueryContext(task="product_qa", focus="Is it red?")
    name = light_captioner().get_name()
    asked = Caption(
        key=caption_key(image, context, name, "1"),
        text="Red.",
        image=image,
        context=context,
        captioner=name,
        prompt_version="1",
    )
    now = 1_800_000_000.0
    monkeypatch.setattr("caslie_tools.store.caption_store.time.time", lambda: now)
    pipeline.store.put_captions([asked])
    assert pipeline.settings.caption_unused_days == 180
    now += 179 * 86_400
    assert (await index_catalogue(shop.path, pipeline)).captions_removed == 0
    now += 2 * 86_400
    assert (await index_catalogue(shop.path, pipeline)).captions_removed == 1
    assert pipeline.store.get_caption(asked.key) is None


async def test_a_store_that_is_indexed_again_and_again_does_not_grow(shop: Shop, pipeline: Pipeline) -> None:
    sizes = []
    for number in range(6):
        for name in "abc":
            shop.put(name, f"{name}.png", title=f"{name} {number}", description="x" * 200)
        await index_catalogue(shop.path, pipeline)
        stats = pipeline.store.stats()
        sizes.append((stats.captions, stats.text_vectors, stats.observations))
    assert len(set(sizes)) == 1
