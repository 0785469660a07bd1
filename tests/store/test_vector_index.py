"""The index of one space alone: its results are equal to a comparison with every vector."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from caslie_tools.store.database import Database
from caslie_tools.store.id_sets import IdSet
from caslie_tools.store.vector_index import VectorIndex
from caslie_tools.store.vectors import Vector, Vectors, to_blob, unit_vectors

COUNT, DIMENSION = 2_000, 24
CHOSEN = np.arange(7, COUNT, 3)


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    return unit_vectors(np.random.default_rng(5).standard_normal((COUNT, DIMENSION)), COUNT)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, vectors: Vectors) -> Iterator[VectorIndex]:
    """An index of the vectors with the ids 1, 2, 3 and so on."""
    directory = tmp_path_factory.mktemp("index")
    database = Database(directory, create=True, durable=False)
    with database.write() as connection:
        connection.execute("INSERT INTO spaces VALUES ('text', 'any', ?, NULL)", (DIMENSION,))
        connection.executemany(
            "INSERT INTO entries (space, kind, key, vector) VALUES ('text', 'document', ?, ?)",
            [(str(number), to_blob(vector)) for number, vector in enumerate(vectors)],
        )
    index = VectorIndex("text", database)
    with database.read() as connection:
        index.catch_up(connection)
    yield index
    database.close()


def _nearest(vectors: Vectors, query: Vector, count: int, among: np.ndarray) -> list[int]:
    order = among[np.argsort(-(vectors[among] @ query), kind="stable")]
    return [int(position) + 1 for position in order[:count]]


@pytest.mark.parametrize("count", [1, 10, 150, COUNT, COUNT + 1])
@pytest.mark.parametrize("selection", ["all", "allowed", "excluded", "both"])
def test_a_search_returns_the_nearest_entries(index: VectorIndex, vectors: Vectors, count: int, selection: str) -> None:
    among = CHOSEN if selection in ("allowed", "both") else np.arange(COUNT)
    allowed = IdSet(CHOSEN + 1) if selection in ("allowed", "both") else None
    excluded = CHOSEN[::2] + 1 if selection in ("excluded", "both") else None
    if excluded is not None:
        among = np.setdiff1d(among, CHOSEN[::2])
    for query in unit_vectors(np.random.default_rng(count).standard_normal((5, DIMENSION)), 5):
        hits = index.search(query, count, allowed=allowed, excluded=excluded)
        assert [entry for entry, _ in hits] == _nearest(vectors, query, count, among)
        assert [score for _, score in hits] == pytest.approx(
            [float(vectors[entry - 1] @ query) for entry, _ in hits], abs=1e-6
        )


def test_concurrent_searches_do_not_affect_each_other(index: VectorIndex, vectors: Vectors) -> None:
    queries = vectors[:200]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda query: index.search(query, 5), queries))
    everything = np.arange(COUNT)
    expected = [_nearest(vectors, query, 5, everything) for query in queries]
    assert [[entry for entry, _ in hits] for hits in found] == expected
