import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests, VectorStoreIntegrationTests

from caslie_tools.domain import Product
from caslie_tools.exceptions import FilterError, InputError
from caslie_tools.store import CaptionStore, StoreRetriever
from tests.doubles import HashEmbeddings
from tests.store.items import caption, picture, put_kept, shown


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> Iterator[VectorStore]:
        with CaptionStore.in_memory(self.get_embeddings()) as store:
            yield store


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _store(self) -> Iterator[None]:
        with CaptionStore.from_texts(["red apple", "green apple", "pear", "plum"], HashEmbeddings()) as self.store:
            yield

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return StoreRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"vectorstore": self.store}

    @property
    def retriever_query_example(self) -> str:
        return "an apple"


@pytest.fixture
def fruit(store: CaptionStore) -> CaptionStore:
    store.add_texts(
        ["red apple", "green apple", "apple juice", "spanner"],
        [{"price": 1}, {"price": 2}, {"price": 3}, {"price": 40, "tags": ["tool"]}],
        ids=["red", "green", "juice", "spanner"],
    )
    return store


def test_scores_are_cosines_and_relevance_is_between_0_and_1(fruit: CaptionStore) -> None:
    (first, best), *_, (last, worst) = fruit.similarity_search_with_score("red apple", k=4)
    assert (first.id, last.id) == ("red", "spanner")
    assert best == pytest.approx(1, abs=1e-6)
    assert best <= 1
    assert worst == pytest.approx(0, abs=0.3)
    relevance = fruit.similarity_search_with_relevance_scores("red apple", k=4)
    assert [score for _, score in relevance] == pytest.approx(
        [(1 + score) / 2 for _, score in fruit.similarity_search_with_score("red apple", k=4)]
    )


class Opposites(HashEmbeddings):
    """The vector of ``no`` is the opposite of the vector of ``yes``."""

    def embed_query(self, text: str) -> list[float]:
        sign = -1 if text == "no" else 1
        return [sign * value for value in super().embed_query("yes")]


def test_the_relevance_of_an_opposite_vector_is_0() -> None:
    with CaptionStore.from_texts(["yes"], Opposites()) as store:
        assert store.similarity_search_with_score("no")[0][1] == pytest.approx(-1)
        ((_, least),) = store.similarity_search_with_relevance_scores("no")
        ((_, most),) = store.similarity_search_with_relevance_scores("yes")
    assert least == pytest.approx(0, abs=1e-6)
    assert least >= 0
    assert most == pytest.approx(1)
    assert most <= 1


@pytest.mark.parametrize("where", [{"price": {"$gt": 10}}, "price > 10"])
def test_every_search_accepts_a_filter(fruit: CaptionStore, where: Any) -> None:
    vector = HashEmbeddings().embed_query("red apple")
    found = [
        fruit.similarity_search("red apple", filter=where),
        [document for document, _ in fruit.similarity_search_with_score("red apple", filter=where)],
        [document for document, _ in fruit.similarity_search_with_relevance_scores("red apple", filter=where)],
        fruit.similarity_search_by_vector(vector, filter=where),
        fruit.max_marginal_relevance_search("red apple", filter=where),
        fruit.max_marginal_relevance_search_by_vector(vector, filter=where),
        fruit.as_retriever(search_kwargs={"filter": where}).invoke("red apple"),
    ]
    assert [[document.id for document in documents] for documents in found] == [["spanner"]] * 7


async def test_async_searches_accept_a_filter(fruit: CaptionStore) -> None:
    found = await fruit.asimilarity_search("red apple", filter={"price": 2})
    assert [document.id for document in found] == ["green"]
    assert [document.id for document in await fruit.amax_marginal_relevance_search("x", k=1, filter="price = 3")] == [
        "juice"
    ]


def test_the_retriever_supports_a_threshold_and_diversity(fruit: CaptionStore) -> None:
    near = fruit.as_retriever(search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.9})
    assert [document.id for document in near.invoke("red apple")] == ["red"]
    diverse = fruit.as_retriever(search_type="mmr", k=2, search_kwargs={"lambda_mult": 0.0})
    assert diverse.invoke("red apple")[0].id == "red"
    assert fruit.as_retriever(k=2).invoke("red apple") == fruit.similarity_search("red apple", k=2)


def test_diversity_avoids_similar_documents(store: CaptionStore) -> None:
    store.add_texts(["apple", "apple", "pear tree apple"], ids=["a", "b", "c"])
    assert [document.id for document in store.max_marginal_relevance_search("apple", k=2, lambda_mult=0.1)] == [
        "a",
        "c",
    ]


def test_an_unknown_argument_is_refused(fruit: CaptionStore) -> None:
    with pytest.raises(InputError, match="filters"):
        fruit.similarity_search("red apple", filters={"price": 2})


@pytest.mark.parametrize("k", [0, -1])
def test_a_count_below_1_returns_no_documents(fruit: CaptionStore, k: int) -> None:
    assert fruit.similarity_search("red apple", k=k) == []
    assert fruit.max_marginal_relevance_search("red apple", k=k) == []


def test_a_count_above_the_number_of_documents_returns_all(fruit: CaptionStore) -> None:
    assert len(fruit.similarity_search("red apple", k=1000)) == 4


def test_metadata_is_copied(fruit: CaptionStore) -> None:
    given = {"nested": {"list": [1]}}
    fruit.add_texts(["x"], [given], ids=["x"])
    given["nested"]["list"].append(2)
    (found,) = fruit.get_by_ids(["x"])
    assert found.metadata == {"nested": {"list": [1]}}
    found.metadata["nested"]["list"].append(3)
    assert fruit.get_by_ids(["x"])[0].metadata == {"nested": {"list": [1]}}


def test_invalid_documents_are_refused_and_none_is_stored(store: CaptionStore) -> None:
    with pytest.raises(InputError, match="'b'"):
        store.add_texts(["a", "b"], [{}, {"when": object()}], ids=["a", "b"])
    with pytest.raises(InputError, match="reserved"):
        store.add_texts(["a", "b"], ids=["a", "product:b"])
    with pytest.raises(InputError, match="there are 2 texts"):
        store.add_texts(["a", "b"], ids=["a"])
    with pytest.raises(InputError, match="there are 2 texts"):
        store.add_texts(["a", "b"], [{}])
    with pytest.raises(InputError, match="Unicode"):
        store.add_texts(["a", "\ud800"], ids=["a", "b"])
    assert store.stats().documents == 0


def test_deleting_all_documents_keeps_the_products(store: CaptionStore) -> None:
    store.put_products([shown(Product(id="1", title="apple"))])
    store.add_texts(["a", "b"])
    assert store.delete() is True
    assert [document.id for document in store.similarity_search("a", k=9)] == ["product:1"]
    with pytest.raises(InputError, match="delete_products"):
        store.delete(["product:1"])


def test_products_and_captions_are_documents(store: CaptionStore) -> None:
    red = picture("red")
    product = Product(id="7", title="Mug", category="Kitchen", brand="Ember", price=9.5, attributes={"ml": 350})
    store.put_products([shown(product, red)])
    described = caption(red, "A mug with a cork base", "what is the base made of")
    put_kept(store, [described])
    store.add_texts(["mug rug"], [{"kind": "note"}], ids=["note"])
    found = {str(document.id): document for document in store.similarity_search("cork mug", k=9)}
    assert set(found) == {"product:7", f"caption:{described.key}", "note"}
    product_metadata = {
        "title": "Mug",
        "category": "Kitchen",
        "brand": "Ember",
        "price": 9.5,
        "attributes": {"ml": 350},
    }
    assert found["product:7"].metadata == {
        "kind": "product",
        "products": ["7"],
        "images": [red.sha256],
        **product_metadata,
    }
    assert found["product:7"].page_content == product.text
    assert found[f"caption:{described.key}"].page_content == "Mug: A mug with a cork base"
    metadata = found[f"caption:{described.key}"].metadata
    assert metadata["caption"] == described.text
    assert metadata["kind"] == "caption"
    assert metadata["products"] == ["7"]
    assert metadata["image"] == red.sha256
    assert metadata["focus"] == "what is the base made of"
    assert metadata | product_metadata == metadata
    assert json.loads(json.dumps(metadata)) == metadata
    assert store.get_by_ids([*found, "product:8", "caption:8", "8"]) == list(found.values())


def test_a_filter_applies_to_products_captions_and_documents(store: CaptionStore) -> None:
    red, blue = picture("red"), picture("blue")
    store.put_products([shown(Product(id="1", price=5), red), shown(Product(id="2", price=50), blue)])
    store.put_captions([caption(red, "red thing"), caption(blue, "blue thing")])
    store.add_texts(["a", "b"], [{"price": 5}, {"price": 50}], ids=["a", "b"])
    found = {document.id for document in store.similarity_search("thing", k=9, filter="price < 10")}
    assert found == {"product:1", f"caption:{caption(red, '').key}", "a"}


def test_documents_can_have_metadata_of_other_types_than_products(store: CaptionStore) -> None:
    store.add_texts(["a"], [{"id": 1}], ids=["a"])
    assert len(store.similarity_search("a", filter={"id": 1})) == 1
    with pytest.raises(FilterError, match="price is a number"):
        store.search_products("a", where={"price": "cheap"})


def test_add_documents_keeps_order_and_ids(store: CaptionStore) -> None:
    ids = store.add_documents([Document("x", id="1"), Document("y")])
    assert ids[0] == "1"
    assert [document.page_content for document in store.get_by_ids([ids[1], "1"])] == ["y", "x"]
