"""Which captions a search finds: those of the captioners in use that are general or that a jury has kept."""

from collections.abc import Sequence

import pytest

from caslie_tools.domain import Caption, Product
from caslie_tools.store import CaptionStore
from tests.store.items import caption, picture, put_kept, shown

RED, BLUE = picture("red"), picture("blue")
QUERIES = ("a lantern with a whale", "mug", "blue", "is it dishwasher safe", "which colour is it")


@pytest.fixture
def shop(store: CaptionStore) -> CaptionStore:
    store.put_products(
        [
            shown(Product(id="mug", title="Ember mug"), RED),
            shown(Product(id="lantern", title="Camping lantern"), BLUE),
        ]
    )
    store.put_captions([caption(RED, "a red mug"), caption(BLUE, "a blue lantern")])
    put_kept(store, [caption(RED, "It is red.", "which colour is it")])
    store.captioners = ("camera",)
    return store


def _found(store: CaptionStore) -> list[object]:
    retriever = store.as_retriever(k=9)
    return [
        (
            store.search_products(query, k=9),
            store.search_products(query, picture=RED, k=9),
            store.search_products(query, k=9, where="title like '%mug%'"),
            store.similarity_search_with_score(query, k=9),
            store.similarity_search(query, k=2, filter="title like '%mug%'"),
            store.max_marginal_relevance_search(query, k=9),
            retriever.invoke(query),
        )
        for query in QUERIES
    ]


def test_captions_of_another_model_and_rejected_captions_change_no_search(shop: CaptionStore) -> None:
    before = _found(shop)
    # Each of them repeats a query word by word, so that it would be the best result for it.
    other_model = [
        caption(RED, "a lantern with a whale", captioner="another"),
        caption(BLUE, "mug", "which mug is it", captioner="another"),
    ]
    rejected = [caption(RED, query, f"question about {query}") for query in QUERIES]
    unjudged = [caption(BLUE, query, f"another question about {query}") for query in QUERIES]
    put_kept(shop, other_model)
    shop.put_captions(rejected, verdicts={item.key: False for item in rejected})
    shop.put_captions(unjudged)
    assert _found(shop) == before
    # They are remembered, so that they are not made again.
    for item in (*other_model, *rejected, *unjudged):
        reused = shop.find_caption(
            item.image, item.context, captioner=item.captioner, prompt_version=item.prompt_version, threshold=1
        )
        assert reused is not None
        assert reused[0].text == item.text
    assert [shop.caption_verdict(item.key) for item in (*rejected, *unjudged)] == [False] * 5 + [None] * 5


def test_another_profile_finds_the_captions_of_its_own_captioners(shop: CaptionStore) -> None:
    put_kept(shop, [caption(RED, "a whale", "what is drawn on it", captioner="another")])
    assert "a whale" not in _texts(shop)
    shop.captioners = ("another",)
    assert _texts(shop) == ["a whale"]
    shop.captioners = None
    assert set(_texts(shop)) == {"a whale", "a red mug", "a blue lantern", "It is red."}


def _texts(store: CaptionStore) -> list[str]:
    found = store.similarity_search("whale", k=99)
    return [document.metadata["caption"] for document in found if document.metadata["kind"] == "caption"]


def test_a_rejected_caption_is_found_as_soon_as_a_jury_keeps_it(shop: CaptionStore) -> None:
    drawn = caption(RED, "a whale", "what is drawn on it")
    for verdict, found in ((False, False), (None, False), (True, True), (False, True)):
        shop.put_captions([drawn], verdicts={} if verdict is None else {drawn.key: verdict})
        assert ("a whale" in _texts(shop)) is found


def test_captions_of_an_image_with_the_same_meaning_count_once(store: CaptionStore) -> None:
    store.put_products([shown(Product(id="mug", title="Ember mug"), RED), shown(Product(id="cup"), BLUE)])
    _put(
        store,
        caption(RED, "a mug of steel"),
        caption(RED, "a mug of steel", "what is it made of"),
        caption(RED, "A mug, of steel!", "is it steel"),
        caption(RED, "it holds 350 ml", "how much does it hold"),
        caption(RED, "it holds 500 ml", "does it hold 500 ml"),
        caption(BLUE, "a mug of steel", "is it made of steel"),
    )
    steel = store.similarity_search("a mug of steel", k=2)
    assert sorted(document.page_content for document in steel) == ["Ember mug: a mug of steel", "cup: a mug of steel"]
    documents = store.similarity_search("a mug of steel it holds 350 ml 500 ml", k=99)
    captions = [document.metadata["caption"] for document in documents if document.metadata["kind"] == "caption"]
    assert sorted(text for text in captions if "holds" in text) == ["it holds 350 ml", "it holds 500 ml"]
    assert len(captions) == 4


def _put(store: CaptionStore, *captions: Caption) -> None:
    put_kept(store, captions)


@pytest.mark.parametrize(
    ("products", "content"),
    [
        ((Product(id="1", title="Mug"),), "Mug: red"),
        ((Product(id="1", title="Mug S"), Product(id="2", title="Mug M")), "Mug S, Mug M: red"),
        ((Product(id="1", title="Mug"), Product(id="2", title="Mug")), "Mug: red"),
        ((Product(id="nameless"),), "nameless: red"),
        ((), "red"),
    ],
)
def test_the_content_of_a_caption_names_its_products(
    store: CaptionStore, products: Sequence[Product], content: str
) -> None:
    store.put_products([shown(product, RED) for product in products])
    store.put_captions([caption(RED, "red")])
    found = {document.metadata["kind"]: document for document in store.similarity_search("red", k=9)}
    assert found["caption"].page_content == content


def test_the_content_of_a_product_without_a_title_has_its_id(store: CaptionStore) -> None:
    store.put_products([shown(Product(id="m-1", description="Holds tea.")), shown(Product(id="m-2"))])
    found = {document.id: document.page_content for document in store.similarity_search("tea", k=9)}
    assert found == {"product:m-1": "id: m-1\ndescription: Holds tea.", "product:m-2": "id: m-2"}
