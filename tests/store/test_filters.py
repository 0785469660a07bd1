"""Filters: what they mean, that both spellings mean the same, and that nothing gets through them."""

import itertools
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caslie_tools.domain import Product
from caslie_tools.exceptions import FilterError
from caslie_tools.store import CaptionStore, entries
from caslie_tools.store.filters import Condition, compile_filter
from caslie_tools.store.selection import IdSet, Selections
from tests.doubles import HashEmbeddings, HashPictures
from tests.store.conftest import caption, picture, shown

PRODUCTS = [
    Product(
        id="apple", title="Apple", category="Fruit > Apple", price=3, brand="Orchard", attributes={"organic": True}
    ),
    Product(id="pear", title="Pear", category="Fruit > Pear", price=4.5, attributes={"organic": False, "kg": 1}),
    Product(id="saw", title="Saw", category="Tools", price=45, brand="Forge", attributes={"Blade length": "30 cm"}),
    Product(id="gift", title="Gift", attributes={"kg": "one", 'it\'s "odd" $.x[0]': "yes"}),
]


@pytest.fixture(scope="module")
def catalogue() -> Iterator[CaptionStore]:
    with CaptionStore.in_memory(HashEmbeddings()) as store:
        store.put_products([shown(product) for product in PRODUCTS])
        yield store


@pytest.mark.parametrize(
    ("text", "where", "expected"),
    [
        ("price < 45", {"price": {"$lt": 45}}, "apple pear"),
        ("price <= 45", {"price": {"$lte": 45}}, "apple pear saw"),
        ("price > 4.5", {"price": {"$gt": 4.5}}, "saw"),
        ("4.5 <= price", {"price": {"$gte": 4.5}}, "pear saw"),
        ("price = 3.0", {"price": 3}, "apple"),
        ("price > -1", {"price": {"$gt": -1}}, "apple pear saw"),
        ("price between 3 and 5", {"price": {"$between": [3, 5]}}, "apple pear"),
        ("not price between 3 and 5", {"$not": {"price": {"$between": [3, 5]}}}, "saw"),
        ("price > 3 and price < 5", {"price": {"$gt": 3, "$lt": 5}}, "pear"),
        ("brand = 'Forge'", {"brand": "Forge"}, "saw"),
        ("brand = 'forge'", {"brand": {"$eq": "forge"}}, ""),
        # What a product does not have is neither equal nor different: pear and gift have no brand.
        ("brand <> 'Forge'", {"brand": {"$ne": "Forge"}}, "apple"),
        ("not (brand = 'Forge')", {"$not": {"brand": "Forge"}}, "apple"),
        ("brand in ('Forge', 'Other')", {"brand": {"$in": ["Forge", "Other"]}}, "saw"),
        ("brand not in ('Forge')", {"brand": {"$nin": ["Forge"]}}, "apple"),
        ("brand in ()", {"brand": {"$in": []}}, ""),
        ("brand not in ()", {"brand": {"$nin": []}}, "apple saw"),
        ("brand is null", {"brand": {"$exists": False}}, "gift pear"),
        ("brand is not null", {"brand": {"$exists": True}}, "apple saw"),
        ("category like 'fruit%'", {"category": {"$like": "fruit%"}}, "apple pear"),
        ("category not like 'Fruit%'", {"$not": {"category": {"$like": "Fruit%"}}}, "saw"),
        ("title like '_aw'", {"title": {"$like": "_aw"}}, "saw"),
        ("organic = true", {"organic": True}, "apple"),
        ("organic <> true", {"organic": {"$ne": True}}, "pear"),
        # A truth value is no number, a number no text.
        ("organic = 1", {"organic": 1}, ""),
        ("kg = 1", {"kg": 1}, "pear"),
        ("kg < 'zzz'", {"kg": {"$lt": "zzz"}}, "gift"),
        ("kg in (1, 'one')", {"kg": {"$in": [1, "one"]}}, "gift pear"),
        ("kg not in (2, 'two')", {"kg": {"$nin": [2, "two"]}}, "gift pear"),
        ("kg <> 7", {"kg": {"$ne": 7}}, "pear"),
        ("\"Blade length\" = '30 cm'", {"Blade length": "30 cm"}, "saw"),
        ('"it\'s ""odd"" $.x[0]" = \'yes\'', {'it\'s "odd" $.x[0]': "yes"}, "gift"),
        ("PRICE < 4 or Brand = 'Forge'", {"$or": [{"price": {"$lt": 4}}, {"brand": "Forge"}]}, "apple saw"),
        ("not (price < 4 or brand = 'Forge')", {"$not": {"$or": [{"price": {"$lt": 4}}, {"brand": "Forge"}]}}, ""),
        ("not (price > 4 and price < 5)", {"$not": {"price": {"$gt": 4, "$lt": 5}}}, "apple saw"),
        ("id = 'gift'", {"id": "gift"}, "gift"),
        ("unknown = 3", {"unknown": 3}, ""),
        ("", {}, "apple gift pear saw"),
        ("  ", None, "apple gift pear saw"),
    ],
)
def test_meaning(catalogue: CaptionStore, text: str, where: Any, expected: str) -> None:
    assert " ".join(catalogue.product_ids(where)) == expected
    assert " ".join(catalogue.product_ids(text)) == expected


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("price", "alone"),
        ("price <", "condition"),
        ("price < 5; drop table products", "condition"),
        ("price < 5 union select 1", "condition"),
        ("price < (select max(price) from products)", "SELECT"),
        ("id in (select id from products)", "SELECT"),
        ('brand = "Forge"', "single quotes"),
        ("brand = title", "single quotes"),
        ("products.price < 5", "products.price"),
        ("lower(brand) = 'forge'", "supported"),
        ("price + 1 < 5", "supported"),
        ("1 = 1", "supported"),
        ("brand like 'a' escape 'b'", "ESCAPE"),
        ("price between symmetric 5 and 3", "supported"),
        ("brand = null", "NULL"),
        ("brand = ?", "supported"),
        ("brand = 'a' collate nocase", "COLLATE"),
        ("brand ilike 'a'", "supported"),
        ("case when price < 5 then 1 end", "supported"),
        ("price < '5'", "price is a number"),
        ("brand = 5", "brand is a text"),
        ("organic < true", "truth values"),
        ("(" * 1_900 + "price < 5" + ")" * 1_900, "nested"),
        ("(" * 9_000 + "price < 5", "characters"),
        (" or ".join(["price < 5"] * 101), "conditions"),
        ({"$where": "1"}, "unknown operator"),
        ({"price": {"$regex": "5"}}, "unknown operator"),
        ({"price": {"$lt": None}}, "None"),
        ({"price": {"$lt": math.nan}}, "nan"),
        ({"price": [1, 2]}, "compares with"),
        ({"price": {}}, "no condition"),
        ({"price": {"$in": 5}}, "list"),
        ({"price": {"$in": "abc"}}, "list"),
        ({"price": {"$in": [0] * 1_001}}, "at most"),
        ({"price": {"$between": [1]}}, "two values"),
        ({"price": {"$between": [1, "2"]}}, "price is a number"),
        ({"kg": {"$between": [1, "2"]}}, "two numbers or two texts"),
        ({"price": {"$exists": 1}}, "true or false"),
        ({"title": {"$like": "%" * 1_001}}, "at most"),
        ({"$and": []}, "list of filters"),
        ({"$or": {"price": 1}}, "list of filters"),
        ({"$not": []}, "mapping"),
        ({3: 4}, "names"),
        ({"": 4}, "names"),
        ({"brand": "\ud800"}, "Unicode"),
        ({"\ud800": "x"}, "Unicode"),
        (["price"], "mapping"),
        (lambda document: True, "mapping"),
    ],
)
def test_what_is_not_understood_is_refused(catalogue: CaptionStore, where: Any, says: str) -> None:
    with pytest.raises(FilterError, match=f"(?s).*{says}"):
        catalogue.product_ids(where)
    with pytest.raises(FilterError):
        catalogue.search_products("apple", where=where)


def test_deep_nesting_is_refused(catalogue: CaptionStore) -> None:
    where: dict[str, Any] = {"price": 1}
    for _ in range(5_000):
        where = {"$not": where}
    with pytest.raises(FilterError, match="nested"):
        catalogue.product_ids(where)


def test_what_sqlite_cannot_hold_still_compares(catalogue: CaptionStore) -> None:
    assert len(catalogue.product_ids({"price": {"$lt": 10**400}})) == 3
    assert catalogue.product_ids({"price": {"$lt": -(10**30)}}) == []
    assert len(catalogue.product_ids("price < 1e999")) == 3


# --- nothing of a filter ever becomes SQL, and it means what SQL means ------------------------------------------------

SCALARS = st.one_of(
    st.booleans(),
    st.integers(-5, 50),
    st.floats(-5, 50),
    st.sampled_from(
        ["Forge", "Orchard", "Fruit%", "' OR 1=1 --", '"', "\\", "$.price", "]", "\x00", "; DROP TABLE facts"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)
NAMES = st.one_of(
    st.sampled_from(
        ["price", "brand", "kg", "organic", "category", "$.price", "price' OR '1'='1", '"), 1) --', "e.id", "?"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6),
)
LEAVES = st.one_of(
    SCALARS,
    st.builds(lambda op, value: {op: value}, st.sampled_from(["$eq", "$ne", "$lt", "$lte", "$gt", "$gte"]), SCALARS),
    st.builds(
        lambda op, values: {op: values}, st.sampled_from(["$in", "$nin", "$between"]), st.lists(SCALARS, max_size=3)
    ),
    st.builds(lambda value: {"$exists": value}, st.booleans()),
    st.builds(lambda value: {"$like": value}, SCALARS),
)
TOKENS = {"SELECT", "entry", "FROM", "facts", "WHERE", "name", "type", "value", "AND", "NOT", "IN", "LIKE", "BETWEEN"}
TOKENS |= {"WITH", "AS", "INTERSECT", "UNION", "EXCEPT", "id", "entries", "kind", "'product'", "'document'", "'text'"}
TOKENS |= {"0", "1"} | set("()=?<>,")
FILTERS = st.recursive(
    st.dictionaries(NAMES, LEAVES, min_size=1, max_size=2),
    lambda inner: st.one_of(
        st.builds(lambda part: {"$not": part}, inner),
        st.builds(
            lambda op, parts: {op: parts}, st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3)
        ),
    ),
    max_leaves=6,
)


def _holds(where: dict[str, Any], facts: dict[str, Any]) -> bool | None:
    """Kleene's logic, as SQL has it: ``None`` is unknown."""
    return _all([_part(name, value, facts) for name, value in where.items()])


def _part(name: str, value: Any, facts: dict[str, Any]) -> bool | None:
    if name == "$not":
        inner = _holds(value, facts)
        return None if inner is None else not inner
    if name in ("$and", "$or"):
        parts = [_holds(part, facts) for part in value]
        return _all(parts) if name == "$and" else _any(parts)
    if not isinstance(value, dict):
        value = {"$eq": value}
    return _all([_leaf(facts.get(name), operator, operand) for operator, operand in value.items()])


def _leaf(value: Any, operator: str, operand: Any) -> bool | None:
    def kind(item: Any) -> type:
        return float if type(item) is int else type(item)

    if operator == "$exists":
        return (value is not None) is operand
    if value is None:
        return None
    if operator in ("$in", "$nin"):
        same = [item for item in operand if kind(item) is kind(value)]
        if not same and operand:
            return None
        return (value in same) is (operator == "$in")
    if operator == "$between":
        return operand[0] <= value <= operand[1] if kind(operand[0]) is kind(value) else None
    if kind(operand) is not kind(value):
        return None
    compare = {"$eq": "__eq__", "$ne": "__ne__", "$lt": "__lt__", "$lte": "__le__", "$gt": "__gt__", "$gte": "__ge__"}
    as_numbers = (float(value), float(operand)) if kind(value) is float else (value, operand)
    return bool(getattr(as_numbers[0], compare[operator])(as_numbers[1]))


def _all(parts: list[bool | None]) -> bool | None:
    return False if False in parts else None if None in parts else True


def _any(parts: list[bool | None]) -> bool | None:
    return True if True in parts else None if None in parts else False


def _facts(product: Product) -> dict[str, Any]:
    fields = {name: getattr(product, name) for name in ("id", "title", "description", "category", "price", "brand")}
    return product.attributes | {name: value for name, value in fields.items() if value not in ("", None)}


def _names(where: Any) -> Iterator[str]:
    for name, value in where.items():
        if isinstance(value, dict):
            yield from itertools.chain(value, _names(value) if name == "$not" else ())
        elif name in ("$and", "$or"):
            yield from itertools.chain.from_iterable(map(_names, value))


@given(FILTERS)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_filter_means_what_it_says_or_is_refused(catalogue: CaptionStore, where: dict[str, Any]) -> None:
    before = catalogue.stats()
    try:
        condition = compile_filter(where)
        found = [document.id for document in catalogue.similarity_search("x", k=9, filter=where)]
    except FilterError:
        return
    assert condition is not None
    words = set(re.findall(r"\w+|'\w+'|[^\w\s]+?", condition.sql))
    assert {word for word in words if not re.fullmatch(r"part\d+", word)} <= TOKENS
    assert condition.sql.count("?") == len(condition.parameters)
    assert catalogue.stats() == before
    if "$like" not in _names(where):  # SQLite's own, not to be written again here
        expected = {f"product:{product.id}" for product in PRODUCTS if _holds(where, _facts(product)) is True}
        assert set(found) == expected


@given(st.text(st.sampled_from("price<>=!'\"();-%?:,.$x1 andorlikebetwinulselct*/\n\x00"), max_size=40))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_understood_or_refused(catalogue: CaptionStore, text: str) -> None:
    try:
        found = catalogue.product_ids(text)
    except FilterError:
        return
    assert set(found) <= {product.id for product in PRODUCTS}


DOCUMENTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "cheap": {"price": 3, "brand": "Forge", "kg": 7},
    "texts": {"price": "3", "kg": "one", "id": "apple", "organic": None},
    "truths": {"organic": True, "kg": False, "category": ["Tools"]},
}


@pytest.fixture(scope="module")
def mixed() -> Iterator[CaptionStore]:
    """Products and documents, of which one claims to be a product; each product with a picture and its caption."""
    with CaptionStore.in_memory(HashEmbeddings(), pictures=HashPictures()) as store:
        pictures = {product.id: picture("red", product.id) for product in PRODUCTS}
        store.put_products([shown(product, pictures[product.id], picture("blue")) for product in PRODUCTS])
        store.put_captions([caption(pictures[product.id], product.id, captioner=product.id) for product in PRODUCTS])
        store.add_texts(list(DOCUMENTS), list(DOCUMENTS.values()), ids=list(DOCUMENTS))
        yield store


@given(FILTERS)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_filter_means_the_same_for_products_documents_captions_and_pictures(
    mixed: CaptionStore, where: dict[str, Any]
) -> None:
    if "$like" in _names(where):
        return
    for _ in range(2):  # the second time from memory
        try:
            found = mixed.similarity_search("x", k=99, filter=where)
        except FilterError:
            return
        products = {product.id for product in PRODUCTS if _holds(where, _facts(product)) is True}
        # A list can be asked for, but not be compared.
        plain = {name for name, metadata in DOCUMENTS.items() if _holds(where, metadata) is True}
        if "category" not in str(where):
            assert {hit.id for hit in found if hit.id in DOCUMENTS} == plain
        assert {hit.metadata["products"][0] for hit in found if hit.metadata.get("kind") == "product"} == products
        assert {hit.page_content for hit in found if hit.metadata.get("kind") == "caption"} == products
        try:
            assert mixed.product_ids(where) == sorted(products)
        except FilterError:  # a type that no product's field can have
            return
        pictures = mixed.nearest_pictures(picture("red"), k=99, where=where, exclude_products=["pear"])
        showing = {shown_by.id for hit in pictures for shown_by in hit.products}
        assert showing == products - {"pear"}
        assert len(pictures) == len(showing) + bool(showing)  # each its own, and the one that all share


def test_a_filter_may_be_nested_as_deep_as_allowed(catalogue: CaptionStore) -> None:
    where: dict[str, Any] = {"kg": {"$in": ["two", 1, True]}}
    for depth in range(30):
        where = {"$or" if depth % 2 else "$and": [where, {"price": {"$gt": depth}, "title": {"$exists": True}}]}
    assert catalogue.product_ids(where) == ["saw"]
    with pytest.raises(FilterError, match="nested"):
        catalogue.product_ids({"$or": [where]})


def test_a_filter_may_have_as_many_conditions_as_allowed(catalogue: CaptionStore) -> None:
    leaf = {"kg": {"$nin": ["one", 2, True]}}
    assert catalogue.product_ids({"$or": [leaf] * 100}) == ["pear"]
    assert catalogue.product_ids({"$and": [leaf] * 100}) == ["pear"]
    assert catalogue.product_ids({"$and": [{"brand": {"$exists": False}}] * 100}) == ["gift", "pear"]


# --- remembered, but never longer than it holds -----------------------------------------------------------------------


def test_what_a_filter_lets_pass_is_up_to_date_after_any_write_by_anyone(
    path: Path, reopen: Callable[..., CaptionStore]
) -> None:
    red, blue = picture("red"), picture("blue")
    reader, writer = reopen(), reopen()

    def found() -> tuple[str, ...]:
        by_words = [hit.product.id for hit in reader.search_products("mug", k=99, where="price < 5")]
        by_looks = [name.id for hit in reader.nearest_pictures(red, k=99, where="price < 5") for name in hit.products]
        documents = [hit.id or "" for hit in reader.similarity_search("mug", k=99, filter="price < 5")]
        assert sorted(by_words) == reader.product_ids("price < 5")
        return " ".join(sorted(by_words)), " ".join(sorted(by_looks)), " ".join(sorted(documents))

    assert found() == ("", "", "")
    writer.put_products([shown(Product(id="1", price=1), red), shown(Product(id="2", price=9), red)])
    assert found() == found() == ("1", "1", "product:1")
    writer.put_products([shown(Product(id="2", price=2), red)])
    assert found() == found() == ("1 2", "1 2", "product:1 product:2")
    writer.put_products([shown(Product(id="1", price=1))])  # its picture is gone, all else is the same
    assert found() == found() == ("1 2", "2", "product:1 product:2")
    writer.put_products([shown(Product(id="1", price=1), blue)])
    assert found() == found() == ("1 2", "1 2", "product:1 product:2")
    said = caption(blue, "a mug")
    writer.put_captions([said])
    assert found() == found() == ("1 2", "1 2", f"caption:{said.key} product:1 product:2")
    writer.add_texts(["a"], [{"price": 3}], ids=["a"])
    assert found() == found() == ("1 2", "1 2", f"a caption:{said.key} product:1 product:2")
    writer.delete(["a"])
    writer.delete_products(["1"])
    assert found() == found() == ("2", "2", "product:2")


def test_a_transaction_that_began_earlier_neither_takes_nor_leaves_newer_sets(store: CaptionStore) -> None:
    condition = compile_filter("price < 5")
    assert condition is not None
    selections = Selections()
    store.put_products([shown(Product(id="1", price=1))])
    with store._database.read() as early:
        early.execute("SELECT count(*) FROM entries").fetchone()  # from here on it sees this state
        store.put_products([shown(Product(id="2", price=2))])
        for _ in range(2):
            assert len(entries.matching(early, selections, condition)) == 1
            with store._database.read() as late:
                assert len(entries.matching(late, selections, condition)) == 2


def test_only_the_latest_sets_are_remembered(store: CaptionStore) -> None:
    selections = Selections()
    made = []

    def make(number: int) -> IdSet:
        made.append(number)
        return IdSet(np.array([number]))

    with store._database.read() as connection:
        for number in [*range(100), 99, 0]:
            got = selections.get(connection, Condition(str(number)), "matching", lambda number=number: make(number))  # type: ignore[misc]
            assert got.ids().tolist() == [number]
    assert made == [*range(100), 0]


def test_a_set_of_ids() -> None:
    ids = np.array([9, 1, 64, 9])
    found = IdSet(ids)
    assert (len(found), found.ids().tolist()) == (3, [1, 9, 64])
    assert [entry for entry in range(200) if entry in found] == [1, 9, 64]
    assert found.without(np.array([9, 500])).ids().tolist() == [1, 64]
    assert found.without(np.array([2], dtype=np.int64)) is found
    nothing = IdSet(np.zeros(0, dtype=np.int64))
    assert (len(nothing), nothing.ids().tolist(), 0 in nothing) == (0, [], False)


# --- before the top-k ------------------------------------------------------------------------------------------------


def test_filters_come_before_the_top_k() -> None:
    """The only match is among the farthest of 10,000: a filter after the top-k would find nothing."""
    with CaptionStore.in_memory(HashEmbeddings(16)) as store:
        store.add_texts(["apple"] * 10_000)
        store.add_texts(["spanner"], [{"kind": "tool"}], ids=["spanner"])
        store.put_products([shown(Product(id="hammer", title="hammer", price=1))])
        found = [document.id for document in store.similarity_search("apple", k=2, filter={"kind": "tool"})]
        assert found == ["spanner"]
        assert [hit.product.id for hit in store.search_products("apple", k=2, where="price < 2")] == ["hammer"]
        # Documents that are no products do not starve the search for products either.
        assert [hit.product.id for hit in store.search_products("apple", k=2)] == ["hammer"]
