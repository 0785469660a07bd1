"""Sets of entry ids that match a filter, and a cache of them that is valid until the next write."""

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from caslie_tools.store.filters import Condition

Ids: TypeAlias = NDArray[np.int64]
"""Ids of entries, of shape (count,)."""

SetName: TypeAlias = Literal["matching", "text", "picture", "hidden"]
"""The sets of one filter: the entries of matching products and documents, and the allowed entries of each space.
``hidden`` is the set of the captions that other captioners made."""

_CACHED_SETS: Final = 32 * 3
"""32 filters with three sets each."""


class IdSet:
    """An immutable set of entry ids, with one bit per id as FAISS expects it."""

    def __init__(self, ids: Ids) -> None:
        mask = np.zeros(int(ids.max()) + 1 if len(ids) else 0, dtype=bool)
        mask[ids] = True
        self.bits: NDArray[np.uint8] = np.packbits(mask, bitorder="little")
        self._count = int(np.count_nonzero(mask))

    def __len__(self) -> int:
        return self._count

    def __contains__(self, entry: int) -> bool:
        return entry // 8 < len(self.bits) and bool(self.bits[entry // 8] >> entry % 8 & 1)

    def ids(self) -> Ids:
        """Returns the ids in ascending order."""
        return np.flatnonzero(np.unpackbits(self.bits, bitorder="little"))

    def without(self, ids: Ids) -> "IdSet":
        """Returns the set without the given ids."""
        inside = ids[ids // 8 < len(self.bits)]
        if not (self.bits[inside // 8] >> (inside % 8).astype(np.uint8) & 1).any():
            return self
        return IdSet(np.setdiff1d(self.ids(), ids))


class IdSetCache:
    """Caches the sets of the latest filters. It can be shared between threads.

    A set is valid only for the state of the database that it was computed from. The state is identified by the highest
    ids ever assigned to entries and to removals. Every write of a product, its images or a document, by any process,
    changes it.
    """

    def __init__(self) -> None:
        self._state = (-1, -1)
        self._sets: OrderedDict[tuple[Condition, SetName], IdSet] = OrderedDict()
        self._lock = threading.Lock()

    def get(
        self, connection: sqlite3.Connection, condition: Condition, name: SetName, compute: Callable[[], IdSet]
    ) -> IdSet:
        """Returns the cached set, or computes and caches it.

        Args:
            connection: A connection in the read transaction that ``compute`` reads in.
            condition: The filter.
            name: Which set of the filter.
            compute: Computes the set.
        """
        state, key = _state(connection), (condition, name)
        with self._lock:
            if state == self._state and key in self._sets:
                self._sets.move_to_end(key)
                return self._sets[key]
        computed = compute()  # outside the lock: computing the same set twice does no harm
        with self._lock:
            if state > self._state:
                self._sets.clear()
                self._state = state
            if state == self._state:  # a transaction that began before the latest write must not fill the cache
                self._sets[key] = computed
                if len(self._sets) > _CACHED_SETS:
                    self._sets.popitem(last=False)
        return computed


def _state(connection: sqlite3.Connection) -> tuple[int, int]:
    latest = dict(connection.execute("SELECT name, seq FROM sqlite_sequence"))
    return latest.get("entries", 0), latest.get("removals", 0)
