"""The query plans of SQLite: every query of the store uses an index where there is one."""

import ast
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from caslie_tools.domain import Product, QueryContext
from caslie_tools.exceptions import FilterError
from caslie_tools.store import CaptionStore, database
from caslie_tools.store.schema import MIGRATIONS
from tests.doubles import HashEmbeddings, HashPictures
from tests.store.items import caption, picture, shown

PACKAGE = Path(database.__file__).parent

_Place = tuple[str, int]
_Query = tuple[str, tuple[Any, ...]]


class _Recording(sqlite3.Connection):
    """Records each statement with one example of its parameters, and each line that executes a statement."""

    statements: dict[str, tuple[Any, ...]] = {}  # noqa: RUF012 (shared by all connections)
    places: set[_Place] = set()  # noqa: RUF012 (as above)

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        self._record(sql, parameters)
        return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        rows = list(parameters)
        self._record(sql, rows[0] if rows else None)
        return super().executemany(sql, rows)

    def _record(self, sql: str, parameters: Any) -> None:
        frame = sys._getframe(2)
        self.places.add((frame.f_code.co_filename, frame.f_lineno))
        if parameters is not None:
            self.statements.setdefault(" ".join(sql.split()), tuple(parameters))


def _use_everything(path: Path) -> None:
    """Calls all methods of the store with arguments that lead to different queries."""
    _migrate(path.with_name("old"))
    red, blue, grey = picture("red"), picture("blue"), picture("grey")
    described = caption(red, "a red thing", "which colour")
    with CaptionStore.open(path, HashEmbeddings(), image_embeddings=HashPictures()) as store:
        for price in (1, 2):
            store.put_products(
                [
                    shown(Product(id="1", title="mug", price=price), red, blue, None),
                    shown(Product(id="2", title="bowl", attributes={"set": True}), red),
                    shown(Product(id="3", title="cup"), grey),
                    shown(Product(id="4", title="mug")),  # has no image
                ]
            )
            kept = caption(blue, "blue", "which colour is that", captioner=f"camera {price}")
            given = [described, caption(blue, ""), caption(grey, f"grey {price}"), kept]
            store.put_captions(given, verdicts={described.key: price == 2, kept.key: True})
            rejected = caption(grey, "not grey", "is it grey")
            store.put_captions([rejected])
            store.put_captions([rejected], verdicts={rejected.key: False})
        store.put_products([shown(Product(id=f"other{n}", title=f"other {n}", price=n)) for n in range(50)])
        store.put_observation(red.sha256, "model", {"seen": 1})
        store.add_texts(["one", "two", "three"], [{"price": 1}, {"price": 2}, {}], ids=["a", "b", "c"])
        store.captioners = ("camera",)
        filters: list[Any] = [
            None,
            "price < 5",
            "title = 'mug'",  # few products match
            "not (price < 5 or brand <> 'x') and title like '%u%'",
            "price in (1, 2) or title not in ('x') or title is null",
            {"$not": {"price": {"$between": [1, 3]}, "brand": {"$exists": True}}},
            {"brand": {"$in": []}},
            {"title": {"$in": []}, "set": {"$nin": []}},
        ]
        for where in filters:
            store.product_ids(where)
            store.search_products("mug", where=where)
            store.search_products(picture=red, where=where)
            store.search_products("mug", picture=blue, k=1, where=where)
            store.nearest_pictures(red, k=3, where=where)
            store.nearest_pictures(red, k=3, where=where, exclude_products=["1", "2"], exclude_images=[grey.sha256])
            store.similarity_search("mug", k=99, filter=where)
            store.max_marginal_relevance_search("mug", filter=where)
        with pytest.raises(FilterError):
            store.product_ids("prise < 5")
        store.get_products(["1", "2"])
        store.get_by_ids(["product:1", f"caption:{described.key}", "a"])
        store.product_digest("1")
        store.images_of("1")
        store.products_of(red.sha256)
        store.get_caption(described.key)
        store.caption_verdict(described.key)
        context = QueryContext(task="product_qa", focus="which colour is it")
        store.find_caption(red.sha256, context, captioner="camera", prompt_version="1", threshold=0.1)
        for arguments in ({}, {"product_id": "1"}, {"image": red.sha256}):
            store.captions(**arguments)
        store.repeated_general_captions()
        store.captions_per_image = 1
        questions = [caption(red, f"answer {number}", f"question {number}") for number in range(3)]
        store.put_captions(questions)
        store.put_products([shown(Product(id="2", title="plate"), red)])  # a new title retires captions
        store.remove_unused_captions(0)
        store.remove_captions([described.key])
        store.get_observation(red.sha256, "model")
        store.stats()
        store.checkpoint()
        store.delete_products(["1", "3"])
        store.delete(["a"])
        store.delete()
        store.similarity_search("mug")
    with CaptionStore.open(path, HashEmbeddings(), image_embeddings=HashPictures()) as store:  # from the snapshots
        store.search_products("mug", picture=red)


def _migrate(path: Path) -> None:
    path.mkdir()
    with closing(sqlite3.Connection(path / "store.sqlite")) as connection:
        connection.executescript((Path(__file__).parent / "format_1.sql").read_text(encoding="utf-8"))
    CaptionStore.open(path, HashEmbeddings(8)).close()


@pytest.fixture(scope="module")
def recorded(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Path, dict[str, tuple[Any, ...]], set[_Place]]]:
    path = tmp_path_factory.mktemp("plans") / "store"
    connect = sqlite3.connect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", lambda *args, **kwargs: connect(*args, **kwargs, factory=_Recording))
        _use_everything(path)
    yield path, dict(_Recording.statements), set(_Recording.places)
    _Recording.statements.clear()
    _Recording.places.clear()


def test_every_query_of_the_store_is_recorded(recorded: tuple[Path, dict[str, tuple[Any, ...]], set[_Place]]) -> None:
    _, _, places = recorded
    missing = []
    for file in sorted(PACKAGE.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("execute", "executemany"):
                lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
                if not any((str(file), line) in places for line in lines):
                    missing.append(f"{file.name}:{node.lineno}")
    assert missing == []


WHOLE = {
    "SELECT id FROM products ORDER BY id": "lists all products",
    "SELECT json FROM captions ORDER BY image": "lists all captions",
    "SELECT count(*) FROM products": "counts",
    "SELECT count(*) FROM images": "counts",
    "SELECT count(*) FROM captions": "counts",
    "SELECT count(*) FROM observations": "counts",
    "SELECT count(*) FROM entries WHERE kind = 'document'": "counts",
    "SELECT count(*) FROM entries WHERE space = 'text'": "counts",
    "SELECT count(*) FROM entries WHERE space = 'picture'": "counts",
    "SELECT json FROM captions WHERE general AND (image, captioner) IN (SELECT image, captioner FROM captions "
    "WHERE general GROUP BY image, captioner HAVING count(*) > 1)": "runs once per run of indexing",
    "DELETE FROM entries WHERE kind = 'document'": "removes all documents",
    "SELECT EXISTS (SELECT 1 FROM entries WHERE kind = ?)": "stops at the first row",
}
"""Queries that are allowed to read a whole table, or all entries of a kind, and the reason."""


WHOLE_PARTS = {
    "entries WHERE kind IN ('product', 'document') EXCEPT": "most entries lack the value",
    "FROM entries AS e WHERE e.kind = 'product' AND e.id IN (": "many entries match, so all keys are read",
    "product_images.product = e.key WHERE e.kind = 'product' AND e.id IN (": "as above",
}
"""Parts of queries with a filter that are allowed to do the same."""


MIGRATING = {
    " ".join(statement.split()) for script in MIGRATIONS.values() for statement in database._statements(script)
}
"""Statements that run once for a store, over all its rows."""


def _is_allowed(sql: str) -> bool:
    return sql in WHOLE or sql in MIGRATING or any(part in sql for part in WHOLE_PARTS)


def _reads_too_much(step: str) -> bool:
    """Returns whether a step of a plan reads a whole table, or all entries of a kind or space."""
    return (
        "AUTOMATIC" in step  # SQLite builds an index over the whole table for this query
        or (step.startswith("SCAN") and not re.match(r"SCAN (CONSTANT|\(|m$|part\d+|names$|sqlite_)", step))
        or re.search(r"\((kind|space)=\?\)$", step) is not None
    )


def test_no_query_reads_a_whole_table_if_it_can_use_an_index(
    recorded: tuple[Path, dict[str, tuple[Any, ...]], set[_Place]],
) -> None:
    path, statements, _ = recorded
    connection = sqlite3.connect(path / "store.sqlite")
    costly = {}
    for sql, parameters in statements.items():
        if sql.split()[0] in ("SELECT", "WITH", "INSERT", "DELETE", "UPDATE"):
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
            if any(map(_reads_too_much, plan)):
                costly[sql] = plan
    connection.close()
    assert len(statements) > 60
    assert {sql: plan for sql, plan in costly.items() if not _is_allowed(sql)} == {}
    assert set(WHOLE) <= set(statements)
    assert [part for part in WHOLE_PARTS if not any(part in sql for sql in statements)] == []
