"""Which entries a filter lets pass: sets of ids, remembered for as long as the database stays as it is."""

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

What: TypeAlias = Literal["matching", "text", "picture"]

_REMEMBERED: Final = 32 * 3
"""32 filters, each with the three sets that searches ask for."""


class IdSet:
    """A set of entries' ids as one bit each, as FAISS takes it. It never changes."""

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
        """The ids, in ascending order."""
        return np.flatnonzero(np.unpackbits(self.bits, bitorder="little"))

    def without(self, ids: Ids) -> "IdSet":
        """Returns the set without some ids."""
        return IdSet(np.setdiff1d(self.ids(), ids)) if any(entry in self for entry in ids.tolist()) else self


class Selections:
    """Remembers the sets of the latest filters; safe to share between threads.

    A set holds only for the state of the database that it was made from. The highest ids ever given to entries and to
    removals tell the state, whichever process wrote: each write of a product, its images or a document gives a new one.
    """

    def __init__(self) -> None:
        self._state = (-1, -1)
        self._sets: OrderedDict[tuple[Condition, What], IdSet] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, connection: sqlite3.Connection, condition: Condition, what: What, make: Callable[[], IdSet]) -> IdSet:
        """Returns the remembered set, or makes and remembers it.

        Args:
            connection: In the read transaction that ``make`` reads in.
            condition: The filter.
            what: Which of its sets.
            make: Makes it.
        """
        state, key = _state(connection), (condition, what)
        with self._lock:
            if state == self._state and key in self._sets:
                self._sets.move_to_end(key)
                return self._sets[key]
        made = make()  # without the lock: equal answers do no harm
        with self._lock:
            if state > self._state:
                self._sets.clear()
                self._state = state
            if state == self._state:  # a transaction that began before the latest write remembers nothing
                self._sets[key] = made
                if len(self._sets) > _REMEMBERED:
                    self._sets.popitem(last=False)
        return made


def _state(connection: sqlite3.Connection) -> tuple[int, int]:
    latest = dict(connection.execute("SELECT name, seq FROM sqlite_sequence"))
    return latest.get("entries", 0), latest.get("removals", 0)
