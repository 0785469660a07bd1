from collections.abc import Callable

import pytest

from caslie_tools.domain import Caption, Product, QueryContext, caption_key
from caslie_tools.images.loading import LoadedImage
from caslie_tools.store import CaptionStore
from tests.store.items import caption, picture, put_kept, shown

DAY = 24 * 3600


def about(image: LoadedImage, known: str, question: str = "Is it red?") -> Caption:
    """A caption for a question about a product with these texts."""
    context = QueryContext(task="product_qa", focus=question, known=known)
    key = caption_key(image.sha256, context, "camera", "1")
    return Caption(
        key=key,
        text=f"Seen for {question}",
        image=image.sha256,
        context=context,
        captioner="camera",
        prompt_version="1",
    )


def texts(store: CaptionStore, image: LoadedImage) -> list[str]:
    return sorted(found.text for found in store.captions(image=image.sha256))


class TestNewTexts:
    """A new title, brand, category or description removes the captions that were made for the old one."""

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ({"title": "Blue mug"}, {"title": "Red mug"}),
            ({"title": "Mug", "description": 'It says "hello".'}, {"title": "Mug", "description": "It says nothing."}),
            ({"title": "マグカップ"}, {"title": "湯のみ"}),
            ({"title": "Mug", "brand": "Tonus"}, {"title": "Mug"}),
        ],
    )
    @pytest.mark.parametrize("form", ["{value}", '{{"title": "{value}"}}'])
    def test_a_caption_for_the_old_text_is_neither_found_nor_used_again(
        self, store: CaptionStore, old: dict[str, str], new: dict[str, str], form: str
    ) -> None:
        image = picture("red")
        store.put_products([shown(Product(id="mug", **old), image)])
        value = next(value for name, value in old.items() if new.get(name) != value)
        if form.startswith("{{"):
            value = value.replace('"', '\\"')
        made = about(image, form.format(value=value))
        put_kept(store, [made])
        assert [hit.metadata["kind"] for hit in store.similarity_search(made.text, k=1)] == ["caption"]
        store.put_products([shown(Product(id="mug", **new), image)])
        assert store.captions(image=image.sha256) == []
        assert all(hit.metadata["kind"] != "caption" for hit in store.similarity_search(made.text, k=5))
        found = store.find_caption(image.sha256, made.context, captioner="camera", prompt_version="1", threshold=0.5)
        assert found is None

    def test_a_new_price_removes_none(self, store: CaptionStore) -> None:
        image = picture("red")
        store.put_products([shown(Product(id="mug", title="Mug", price=3), image)])
        put_kept(store, [about(image, "Mug, 3")])
        store.put_products([shown(Product(id="mug", title="Mug", price=4), image)])
        assert len(texts(store, image)) == 1

    def test_one_that_another_product_with_the_image_still_has_removes_none(self, store: CaptionStore) -> None:
        image = picture("red")
        store.put_products([shown(Product(id=name, title="Mug"), image) for name in ("mug-1", "mug-2")])
        put_kept(store, [about(image, "Mug")])
        store.put_products([shown(Product(id="mug-1", title="Cup"), image)])
        assert len(texts(store, image)) == 1
        store.put_products([shown(Product(id="mug-2", title="Cup"), image)])
        assert texts(store, image) == []

    def test_captions_without_the_old_text_and_general_ones_stay(self, store: CaptionStore) -> None:
        image = picture("red")
        store.put_products([shown(Product(id="mug", title="Mug"), image)])
        put_kept(store, [about(image, "Jug"), caption(image, "A general caption")])
        store.put_products([shown(Product(id="mug", title="Cup"), image)])
        assert texts(store, image) == ["A general caption", "Seen for Is it red?"]


class TestNumberPerImage:
    def test_those_used_longest_ago_go_first(self, store: CaptionStore, monkeypatch: pytest.MonkeyPatch) -> None:
        image, now = picture("red"), 1_800_000_000.0
        monkeypatch.setattr("caslie_tools.store.caption_store.time.time", lambda: now)
        store.captions_per_image = 2
        store.put_captions([caption(image, "general")])
        items = [about(image, "Mug", f"Question {number}?") for number in range(4)]
        for item in (*items[:2], items[0]):  # the first one is used again, two days later
            put_kept(store, [item])
            now += 2 * DAY
        put_kept(store, [items[2]])
        assert texts(store, image) == ["Seen for Question 0?", "Seen for Question 2?", "general"]
        store.put_captions([items[3]])  # a rejected one counts too
        assert texts(store, image) == ["Seen for Question 2?", "Seen for Question 3?", "general"]

    def test_each_image_has_its_own_number(self, store: CaptionStore) -> None:
        store.captions_per_image = 1
        images = [picture("red"), picture("blue")]
        put_kept(store, [about(image, "Mug", f"Question {n}?") for image in images for n in range(3)])
        assert [len(store.captions(image=image.sha256)) for image in images] == [1, 1]

    def test_without_a_limit_all_stay(self, store: CaptionStore) -> None:
        image = picture("red")
        put_kept(store, [about(image, "Mug", f"Question {number}?") for number in range(80)])
        assert len(store.captions(image=image.sha256)) == 80


def test_captions_that_nobody_used_for_some_time_are_removed(
    reopen: Callable[..., CaptionStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, image, now = reopen(), picture("red"), 1_800_000_000.0
    monkeypatch.setattr("caslie_tools.store.caption_store.time.time", lambda: now)
    old, used = about(image, "Mug", "Old?"), about(image, "Mug", "Used?")
    put_kept(store, [old, used, caption(image, "general")])
    now += 30 * DAY
    put_kept(store, [used])
    assert store.remove_unused_captions(31 * DAY) == 0
    assert store.remove_unused_captions(29 * DAY) == 1
    assert texts(reopen(), image) == ["Seen for Used?", "general"]


def test_removed_captions_are_not_found(store: CaptionStore) -> None:
    image = picture("red")
    items = [about(image, "Mug", "One?"), about(image, "Mug", "Two?")]
    put_kept(store, items)
    store.remove_captions([])
    store.remove_captions([items[0].key, "unknown"])
    assert [hit.page_content for hit in store.similarity_search("Seen for One?", k=5)] == ["Seen for Two?"]
