import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from caslie_tools.domain import ImageRef, Product
from caslie_tools.exceptions import FilterError, InputError, UnknownProductError
from caslie_tools.store import CaptionStore, digest_product
from tests.doubles import HashEmbeddings, HashPictures, draw_picture
from tests.store.items import caption, picture, shown

MUG = Product(
    id="mug", title="Ember mug", category="Kitchen", price=9.5, brand="Ember", attributes={"ml": 350, "set": True}
)


def test_a_stored_product_is_returned_unchanged(store: CaptionStore) -> None:
    references = (
        ImageRef(path=Path("mug.png")),
        ImageRef(url="https://shop.example/mug.png"),
        ImageRef(data=draw_picture("", "red")),
    )
    product = MUG.model_copy(update={"images": references, "description": "Größe\x00 \U0001f375"})
    blue, red = picture("blue"), picture("red")
    store.put_products([(product, [None, blue, red])])
    assert store.get_product("mug") == product
    assert store.images_of("mug") == [None, blue.sha256, red.sha256]
    assert store.product_digest("mug") == digest_product(product, store.images_of("mug"))


def test_unknown_products_are_errors_or_empty(store: CaptionStore) -> None:
    for get in (store.get_product, store.captions):
        with pytest.raises(UnknownProductError, match="'cup'"):
            get("cup")
    with pytest.raises(UnknownProductError, match="'cup'"):
        store.get_products(["cup"])
    assert store.images_of("cup") == []
    assert store.product_digest("cup") is None
    assert store.products_of("0" * 64) == []
    assert store.delete_products(["cup"]) == 0


def test_products_are_returned_in_the_order_of_the_ids(store: CaptionStore) -> None:
    store.put_products([shown(Product(id=name)) for name in "bca"])
    assert [product.id for product in store.get_products(["c", "a", "b", "a"])] == ["c", "a", "b", "a"]
    assert store.product_ids() == ["a", "b", "c"]


def test_an_update_replaces_the_product(store: CaptionStore) -> None:
    red, blue = picture("red"), picture("blue")
    store.put_products([shown(MUG, red, blue)])
    store.put_captions([caption(red, "caption of red"), caption(blue, "caption of blue")])
    store.search_products("mug", picture=red)  # the indexes now contain the old entries
    store.put_products([shown(MUG.model_copy(update={"title": "Kelp bottle", "price": None, "attributes": {}}), blue)])
    assert store.get_product("mug").title == "Kelp bottle"
    assert store.images_of("mug") == [blue.sha256]
    assert store.product_ids("price > 0") == []
    with pytest.raises(FilterError, match="attribute 'ml'"):
        store.product_ids("ml = 350")
    assert [found.text for found in store.captions()] == ["caption of blue"]
    (hit,) = store.search_products("kelp bottle")
    assert hit.score > 0.5
    assert [found.image for found in store.nearest_pictures(red, k=5)] == [blue.sha256]
    stats = store.stats()
    assert (stats.products, stats.images, stats.captions, stats.text_vectors, stats.picture_vectors) == (1, 1, 1, 2, 1)


def test_storing_the_same_product_again_changes_nothing(store: CaptionStore) -> None:
    for _ in range(3):
        store.put_products([shown(MUG, picture("red"))])
    before = store.stats().model_copy(update={"bytes": 0})
    store.put_products([shown(MUG, picture("red")), shown(MUG, picture("red"))])
    assert store.stats().model_copy(update={"bytes": 0}) == before
    assert len(store.search_products("mug", k=9)) == 1


def test_deleting_removes_only_data_that_no_other_product_uses(store: CaptionStore) -> None:
    shared, own = picture("red"), picture("blue")
    store.put_products([shown(MUG, shared, own, own), shown(Product(id="cup"), shared)])
    for image in (shared, own):
        store.put_captions([caption(image, "caption")])
        store.put_observation(image.sha256, "model", {"seen": 1})
    assert store.products_of(shared.sha256) == ["cup", "mug"]
    assert store.delete_products(["mug", "none", "mug"]) == 1
    assert store.products_of(shared.sha256) == ["cup"]
    assert [found.image for found in store.captions()] == [shared.sha256]
    assert store.get_observation(own.sha256, "model") is None
    assert store.get_observation(shared.sha256, "model") == {"seen": 1}
    assert [hit.image for hit in store.nearest_pictures(own, k=9)] == [shared.sha256]
    assert store.delete_products(["cup"]) == 1
    left = store.stats()
    assert (left.products, left.images, left.captions, left.observations) == (0, 0, 0, 0)
    assert (left.text_vectors, left.picture_vectors) == (0, 0)
    assert store.search_products("mug") == []


def test_captions_of_images_outside_the_catalogue_are_kept(store: CaptionStore) -> None:
    store.put_captions([caption(picture("green"), "an image of a visitor")])
    store.put_products([shown(MUG, picture("red"))])
    store.delete_products(["mug"])
    assert [found.text for found in store.captions()] == ["an image of a visitor"]


def test_a_wrong_number_of_images_is_refused_and_nothing_is_stored(store: CaptionStore) -> None:
    with pytest.raises(InputError, match="'cup' has 1 image references, but 0 images"):
        store.put_products([shown(MUG), (Product(id="cup", images=(ImageRef(path=Path("x")),)), [])])
    assert store.product_ids() == []
    store.put_products([])


def test_a_product_without_any_text_can_be_stored(store: CaptionStore) -> None:
    store.put_products([shown(Product(id="bare"))])
    assert [hit.product.id for hit in store.search_products("bare")] == ["bare"]


def test_an_image_is_embedded_once_for_all_products_of_a_batch(reopen: Callable[..., CaptionStore]) -> None:
    pictures = HashPictures()
    store = reopen(image_embeddings=pictures)
    red = picture("red")
    store.put_products([shown(Product(id=name), red, red) for name in "abc"])
    assert pictures.embedded == [red.sha256]
    store.search_products(picture=red)
    assert pictures.embedded == [red.sha256]


def test_images_can_be_embedded_later(reopen: Callable[..., CaptionStore]) -> None:
    red = picture("red")
    without = reopen(image_embeddings=None)
    without.put_products([shown(MUG, red)])
    assert not without.has_pictures
    with pytest.raises(InputError, match="image_embeddings="):
        without.search_products(picture=red)
    with pytest.raises(InputError, match="image_embeddings="):
        without.nearest_pictures(red, k=1)
    with_images = reopen()
    assert with_images.has_pictures
    assert with_images.nearest_pictures(red, k=1) == []
    with_images.put_products([shown(MUG, red)])
    assert [hit.image for hit in with_images.nearest_pictures(red, k=1)] == [red.sha256]


def test_the_digest_changes_with_every_part_of_a_product() -> None:
    red, blue = "0" * 64, "1" * 64
    one = MUG.model_copy(update={"images": (ImageRef(path=Path("a")),)})
    digests = [
        digest_product(one, [red]),
        digest_product(one, [blue]),
        digest_product(one, [None]),
        digest_product(one.model_copy(update={"price": 10.0}), [red]),
        digest_product(one.model_copy(update={"images": (ImageRef(path=Path("b")),)}), [red]),
        digest_product(one.model_copy(update={"attributes": {"ml": "350", "set": True}}), [red]),
    ]
    assert len(set(digests)) == len(digests)
    assert digest_product(one.model_copy(), [red]) == digests[0]


async def test_async_twins_can_run_concurrently(store: CaptionStore) -> None:
    await asyncio.gather(*(store.aput_products([shown(Product(id=f"p{n}", title=f"mug {n}"))]) for n in range(20)))
    assert len(await store.aproduct_ids()) == 20
    found = await asyncio.gather(*(store.asearch_products(f"mug {n}", k=1) for n in range(20)))
    assert [hits[0].product.id for hits in found] == [f"p{n}" for n in range(20)]
    assert await store.adelete_products(["p3"]) == 1
    assert (await store.astats()).products == 19


async def test_an_async_twin_follows_an_overridden_method() -> None:
    class Louder(CaptionStore):
        def product_ids(self, where: object = None) -> list[str]:
            return ["LOUD"]

    with Louder.in_memory(HashEmbeddings()) as store:
        assert await store.aproduct_ids() == ["LOUD"]


def test_an_image_that_becomes_unreadable_keeps_its_captions(store: CaptionStore) -> None:
    red = picture("red")
    product, images = shown(MUG, red)
    store.put_products([(product, images)])
    store.put_captions([caption(red, "caption of red")])
    cheaper = product.model_copy(update={"price": 1.0})
    store.put_products([(cheaper, [None])])
    assert store.images_of("mug") == [red.sha256]
    assert [found.text for found in store.captions()] == ["caption of red"]
    elsewhere = cheaper.model_copy(update={"images": (ImageRef(path=Path("another.png")),)})
    store.put_products([(elsewhere, [None])])
    assert store.images_of("mug") == [None]
    assert store.captions() == []
