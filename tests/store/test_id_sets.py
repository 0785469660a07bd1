"""The sets of entries that match a filter, and their cache."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from caslie_tools.domain import Product
from caslie_tools.store import CaptionStore
from caslie_tools.store.entry_table import matching_entries
from caslie_tools.store.filters import Condition, compile_filter
from caslie_tools.store.id_sets import IdSet, IdSetCache
from tests.store.items import caption, picture, shown


def test_filtered_searches_are_up_to_date_after_every_write(path: Path, reopen: Callable[..., CaptionStore]) -> None:
    red, blue = picture("red"), picture("blue")
    reader, writer = reopen(), reopen()

    def found() -> tuple[str, ...]:
        by_text = [hit.product.id for hit in reader.search_products("mug", k=99, where="price < 5")]
        by_image = [name.id for hit in reader.nearest_pictures(red, k=99, where="price < 5") for name in hit.products]
        documents = [hit.id or "" for hit in reader.similarity_search("mug", k=99, filter="price < 5")]
        assert sorted(by_text) == reader.product_ids("price < 5")
        return " ".join(sorted(by_text)), " ".join(sorted(by_image)), " ".join(sorted(documents))

    assert found() == ("", "", "")
    writer.put_products([shown(Product(id="1", price=1), red), shown(Product(id="2", price=9), red)])
    assert found() == found() == ("1", "1", "product:1")
    writer.put_products([shown(Product(id="2", price=2), red)])
    assert found() == found() == ("1 2", "1 2", "product:1 product:2")
    writer.put_products([shown(Product(id="1", price=1))])  # only its image is removed
    assert found() == found() == ("1 2", "2", "product:1 product:2")
    writer.put_products([shown(Product(id="1", price=1), blue)])
    assert found() == found() == ("1 2", "1 2", "product:1 product:2")
    described = caption(blue, "a mug")
    writer.put_captions([described])
    assert found() == found() == ("1 2", "1 2", f"caption:{described.key} product:1 product:2")
    writer.add_texts(["a"], [{"price": 3}], ids=["a"])
    assert found() == found() == ("1 2", "1 2", f"a caption:{described.key} product:1 product:2")
    writer.delete(["a"])
    writer.delete_products(["1"])
    assert found() == found() == ("2", "2", "product:2")


def test_an_earlier_transaction_neither_reads_nor_writes_newer_sets(store: CaptionStore) -> None:
    condition = compile_filter("price < 5")
    assert condition is not None
    cache = IdSetCache()
    store.put_products([shown(Product(id="1", price=1))])
    with store._database.read() as early:
        early.execute("SELECT count(*) FROM entries").fetchone()  # fixes the state that this transaction reads
        store.put_products([shown(Product(id="2", price=2))])
        for _ in range(2):
            assert len(matching_entries(early, cache, condition)) == 1
            with store._database.read() as late:
                assert len(matching_entries(late, cache, condition)) == 2


def test_the_cache_keeps_only_the_latest_sets(store: CaptionStore) -> None:
    cache = IdSetCache()
    computed: list[int] = []

    def compute(number: int) -> IdSet:
        computed.append(number)
        return IdSet(np.array([number]))

    with store._database.read() as connection:
        for number in [*range(100), 99, 0]:
            found = cache.get(connection, Condition(str(number)), "matching", partial(compute, number))
            assert found.ids().tolist() == [number]
    assert computed == [*range(100), 0]


def test_a_set_contains_its_ids() -> None:
    ids = np.array([9, 1, 64, 9])
    found = IdSet(ids)
    assert (len(found), found.ids().tolist()) == (3, [1, 9, 64])
    assert [entry for entry in range(200) if entry in found] == [1, 9, 64]
    assert found.without(np.array([9, 500])).ids().tolist() == [1, 64]
    assert found.without(np.array([2], dtype=np.int64)) is found
    nothing = IdSet(np.zeros(0, dtype=np.int64))
    assert (len(nothing), nothing.ids().tolist(), 0 in nothing) == (0, [], False)
