"""Searches for products by text, by image and by both, and for the nearest images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from caslie_tools.domain import Product
from caslie_tools.exceptions import InputError, StoreError
from caslie_tools.images.loading import LoadedImage
from caslie_tools.store import CaptionStore
from caslie_tools.store.results import ProductHit
from tests.doubles import COLOURS, HashEmbeddings, HashPictures
from tests.store.items import caption, picture, put_kept, shown

PICTURES = {colour: picture(colour) for colour in COLOURS}


@pytest.fixture
def mugs(store: CaptionStore) -> CaptionStore:
    store.put_products(
        [
            shown(Product(id="red", title="mug", price=5), PICTURES["red"]),
            shown(Product(id="blue", title="mug", price=50), PICTURES["blue"]),
            shown(Product(id="bare", title="mug of clay", price=5)),
            shown(Product(id="both", title="bowl", price=50), PICTURES["green"], PICTURES["red"]),
        ]
    )
    put_kept(store, [caption(PICTURES["blue"], "a whale on the side", "what is drawn on it")])
    return store


def _ids(hits: Sequence[ProductHit]) -> list[str]:
    return [hit.product.id for hit in hits]


def test_the_score_by_text_is_that_of_the_best_text_or_caption(mugs: CaptionStore) -> None:
    best, *_ = mugs.search_products("whale on the side", k=4)
    assert best.product.id == "blue"
    (match,) = best.matched
    assert (match.kind, match.text, match.image) == ("caption", "a whale on the side", PICTURES["blue"].sha256)
    assert best.score == match.score == pytest.approx(1, abs=0.01)
    best, second, *_ = mugs.search_products("mug", k=4)
    assert {best.product.id, second.product.id} == {"red", "blue"}
    assert best.matched[0].kind == "product"
    assert best.matched[0].text == best.product.text


def test_the_score_by_image_is_that_of_the_best_image(mugs: CaptionStore) -> None:
    hits = mugs.search_products(picture=PICTURES["red"], k=9)
    assert _ids(hits)[:2] == ["both", "red"]  # equal scores are ordered by id
    assert set(_ids(hits)) == {"both", "red", "blue"}  # products without an image are not found
    (match,) = hits[0].matched
    assert (match.kind, match.image, match.text) == ("image", PICTURES["red"].sha256, "")
    assert hits[0].score == pytest.approx(1)


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("k", [1, 2, 9])
def test_the_score_by_both_is_the_weighted_sum(mugs: CaptionStore, weight: float, k: int) -> None:
    by_text = {hit.product.id: hit.score for hit in mugs.search_products("red mug", k=9)}
    by_image = {hit.product.id: hit.score for hit in mugs.search_products(picture=PICTURES["red"], k=9)}
    expected = {
        name: weight * by_text.get(name, 0) + (1 - weight) * by_image.get(name, 0) for name in by_text | by_image
    }
    order = sorted(expected, key=lambda name: (-round(expected[name], 6), name))
    hits = mugs.search_products("red mug", picture=PICTURES["red"], k=k, text_weight=weight)
    assert _ids(hits) == order[:k]
    assert [hit.score for hit in hits] == pytest.approx([expected[name] for name in order[:k]], abs=1e-6)
    for hit in hits:
        assert [match.kind in ("product", "caption") for match in hit.matched] == [True, False][: len(hit.matched)]


def test_a_search_by_both_is_exact_if_neither_part_alone_finds_the_best_product(store: CaptionStore) -> None:
    """The product with the best sum is among the first neither by text nor by image."""
    only_text = [shown(Product(id=f"w{n:03}", title="amber honey jar")) for n in range(200)]
    only_image = [shown(Product(id=f"p{n:03}", title=f"thing{n}"), PICTURES["yellow"]) for n in range(200)]
    medium = shown(Product(id="both", title="amber honey jar with a wooden spoon"), picture("yellow", "HONEY"))
    store.put_products([*only_text, *only_image, medium])
    assert _ids(store.search_products("amber honey jar", picture=PICTURES["yellow"], k=1)) == ["both"]
    assert "both" not in _ids(store.search_products("amber honey jar", k=200))


def test_k_counts_products_and_not_captions(store: CaptionStore) -> None:
    store.put_products([shown(Product(id="loud"), PICTURES["red"]), shown(Product(id="calm", title="kettle"))])
    put_kept(store, [caption(PICTURES["red"], f"kettle {n}", f"question {n}") for n in range(300)])
    assert set(_ids(store.search_products("kettle", k=2))) == {"loud", "calm"}


def test_a_filter_applies_to_products_and_not_to_images(mugs: CaptionStore) -> None:
    assert _ids(mugs.search_products(picture=PICTURES["red"], k=9, where="price < 10")) == ["red"]
    assert set(_ids(mugs.search_products("mug", k=9, where={"price": 5}))) == {"red", "bare"}
    assert _ids(mugs.search_products("whale", k=9, where="price < 10")) != []
    assert "blue" not in _ids(mugs.search_products("whale", k=9, where="price < 10"))
    assert _ids(mugs.search_products("mug", picture=PICTURES["red"], k=9, where="price > 10")) == ["both", "blue"]
    assert mugs.search_products("mug", where="price > 100") == []


@pytest.mark.parametrize("options", [{}, {"text": ""}, {"text": "  \n"}])
def test_a_search_without_text_and_image_is_refused(mugs: CaptionStore, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="nothing to search for"):
        mugs.search_products(**options)


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_weight_out_of_range_is_refused(mugs: CaptionStore, weight: float) -> None:
    with pytest.raises(InputError, match="text_weight"):
        mugs.search_products("mug", picture=PICTURES["red"], text_weight=weight)


def test_an_empty_store_has_no_hits(store: CaptionStore) -> None:
    assert store.search_products("mug", picture=PICTURES["red"]) == []
    assert store.nearest_pictures(PICTURES["red"], k=3) == []
    assert store.search_products("mug", where="price < 5") == []


def test_searches_agree_with_brute_force(store: CaptionStore) -> None:
    embeddings, pictures = HashEmbeddings(), HashPictures()
    items = [
        shown(Product(id=f"{n:03}", title=f"{colour} thing {n % 7}", price=n), PICTURES[colour])
        for n, colour in enumerate(list(COLOURS) * 12)
    ]
    store.put_products(items)
    image_vectors = dict(zip(PICTURES, np.array(pictures.embed_images(list(PICTURES.values()))), strict=True))
    query = np.array(embeddings.embed_query("red thing 3"))
    totals = {
        product.id: 0.7 * query @ np.array(embeddings.embed_query(product.text))
        + 0.3 * image_vectors["red"] @ image_vectors[colour]
        for (product, _), colour in zip(items, list(COLOURS) * 12, strict=True)
        if product.price is not None and product.price > 20
    }
    expected = sorted(totals, key=lambda name: (-round(float(totals[name]), 5), name))
    hits = store.search_products("red thing 3", picture=PICTURES["red"], k=40, where="price > 20", text_weight=0.7)
    assert [round(hit.score, 4) for hit in hits] == pytest.approx(
        [round(float(totals[name]), 4) for name in expected[:40]], abs=2e-4
    )


# --- nearest images ---------------------------------------------------------------------------------------------------


def test_the_nearest_images_have_their_products(mugs: CaptionStore) -> None:
    first, *others = mugs.nearest_pictures(PICTURES["red"], k=9)
    assert first.image == PICTURES["red"].sha256
    assert first.score == pytest.approx(1)
    assert [product.id for product in first.products] == ["both", "red"]
    assert {hit.image for hit in others} == {PICTURES["blue"].sha256, PICTURES["green"].sha256}
    assert [hit.score for hit in others] == sorted((hit.score for hit in others), reverse=True)


@pytest.mark.parametrize("kind", [list, np.array, tuple])
def test_the_nearest_images_can_be_found_by_vector(mugs: CaptionStore, kind: type) -> None:
    vector = kind(HashPictures().embed_images([PICTURES["red"]])[0])
    assert mugs.nearest_pictures(vector, k=2) == mugs.nearest_pictures(PICTURES["red"], k=2)
    with pytest.raises(StoreError, match="length 3"):
        mugs.nearest_pictures(kind([1.0, 2.0, 3.0]), k=2)


def _images(store: CaptionStore, like: LoadedImage, **options: Any) -> list[str]:
    names = {image.sha256: colour for colour, image in PICTURES.items()}
    return [names[hit.image] for hit in store.nearest_pictures(like, k=9, **options)]


def test_images_and_products_can_be_excluded(mugs: CaptionStore) -> None:
    red = PICTURES["red"]
    assert "red" not in _images(mugs, red, exclude_images=[red.sha256])
    # The image also belongs to another product, so it is returned with that product only.
    (hit, *_) = mugs.nearest_pictures(red, k=9, exclude_products=["red"])
    assert hit.image == red.sha256
    assert [product.id for product in hit.products] == ["both"]
    assert _images(mugs, red, exclude_products=["red", "both"]) == ["blue"]
    assert _images(mugs, red, exclude_products=["red", "both", "blue", "unknown"]) == []


def test_the_nearest_images_can_be_filtered(mugs: CaptionStore) -> None:
    red = PICTURES["red"]
    assert _images(mugs, red, where="price < 10") == ["red"]
    (hit,) = mugs.nearest_pictures(red, k=9, where="price < 10")
    assert [product.id for product in hit.products] == ["red"]
    assert _images(mugs, red, where="price < 10", exclude_images=[red.sha256]) == []
    # `both` has the red image and matches the filter, but is excluded. `red` is not excluded, but does not match.
    assert _images(mugs, red, where="price > 10", exclude_products=["both"]) == ["blue"]


def test_a_distant_image_is_found_with_a_filter(store: CaptionStore) -> None:
    store.put_products([shown(Product(id=str(n)), picture("red", f"{n}")) for n in range(40)])
    store.put_products([shown(Product(id="far", brand="Kelp"), PICTURES["blue"])])
    assert _images(store, PICTURES["red"], where="brand = 'Kelp'") == ["blue"]
