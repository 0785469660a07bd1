"""The FAISS index of one vector space. It is derived from SQLite, and updated before every search."""

import logging
import sqlite3
import threading
from typing import Any, Final

import numpy as np

from caslie_tools.store.database import Database
from caslie_tools.store.id_sets import Ids, IdSet
from caslie_tools.store.snapshots import Snapshot, SnapshotFile
from caslie_tools.store.vectors import SpaceName, Vector

logger = logging.getLogger(__name__)

_BATCH: Final = 8_192


class VectorIndex:
    """The index of one space. Hold :attr:`lock` from the start of a read transaction until its last search.

    Args:
        space: The space.
        database: The database of the store. The snapshot of the index is in the same directory.
    """

    def __init__(self, space: SpaceName, database: Database) -> None:
        self.lock = threading.RLock()
        self.snapshot_file = SnapshotFile(space, database)
        self._space = space
        self._index: Any = None
        self._dimension = 0
        self._last_entry = 0
        self._last_removal = 0
        self._unsaved = 0

    @property
    def worth_saving(self) -> bool:
        """Whether more than a tenth of the index has changed since the last snapshot."""
        return self._index is not None and self._unsaved * 10 > self._index.ntotal

    def catch_up(self, connection: sqlite3.Connection) -> None:
        """Applies the changes that any process has committed, up to the state that this transaction reads."""
        if self._index is None:
            row = connection.execute("SELECT dimension FROM spaces WHERE name = ?", (self._space,)).fetchone()
            if row is None:
                return
            self._dimension = row[0]
            if not self._load(connection):
                self._start_empty(connection)
        self._add_new(connection)
        self._remove_old(connection)

    def search(
        self, vector: Vector, count: int, *, allowed: IdSet | None = None, excluded: Ids | None = None
    ) -> list[tuple[int, float]]:
        """Returns the nearest entries.

        Args:
            vector: A unit vector.
            count: Maximum number of entries.
            allowed: Search only these entries.
            excluded: Ids of entries that are not returned.

        Returns:
            Pairs of id and cosine, the nearest entry first. Entries at the same distance are ordered by id.
        """
        if self._index is None or count < 1:
            return []
        if allowed is not None and excluded is not None:
            allowed = allowed.without(excluded)
        available = self._index.ntotal if allowed is None else len(allowed)
        count = min(count, available)
        if not count:
            return []
        scores, ids = self._index.search(vector[np.newaxis], count, params=_search_parameters(allowed, excluded))
        hits = [
            (int(entry), float(np.clip(score, -1, 1)))
            for entry, score in zip(ids[0], scores[0], strict=True)
            if entry != -1  # FAISS returns -1 in place of missing results
        ]
        return sorted(hits, key=lambda hit: (-hit[1], hit[0]))

    def save(self) -> None:
        """Writes the snapshot. It only saves time at the next start, so no data is lost if this fails.

        Raises:
            StoreBusyError: If another writer kept the store locked.
            StoreError: If the directory is not writable.
        """
        if self._index is None:
            return
        payload = _faiss().serialize_index(self._index).tobytes()
        self.snapshot_file.write(Snapshot(payload, self._last_entry, self._last_removal), self._dimension)
        self._unsaved = 0

    def _load(self, connection: sqlite3.Connection) -> bool:
        snapshot = self.snapshot_file.read(connection, self._dimension)
        if snapshot is None:
            return False
        try:
            self._index = _faiss().deserialize_index(np.frombuffer(snapshot.payload, dtype=np.uint8))
        except RuntimeError as error:
            logger.warning("building the index %s again: %s", self.snapshot_file.path, error)
            return False
        self._last_entry, self._last_removal = snapshot.last_entry, snapshot.last_removal
        self._unsaved = 0
        return True

    def _start_empty(self, connection: sqlite3.Connection) -> None:
        self._index = _faiss().IndexIDMap(_faiss().IndexFlatIP(self._dimension))
        self._last_entry = 0
        # The index is empty, so earlier removals do not concern it.
        self._last_removal = connection.execute("SELECT coalesce(max(sequence), 0) FROM removals").fetchone()[0]
        self._unsaved = 0

    def _add_new(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute(
            "SELECT id, vector FROM entries WHERE space = ? AND id > ? ORDER BY id", (self._space, self._last_entry)
        )
        while batch := rows.fetchmany(_BATCH):
            ids = np.fromiter((row[0] for row in batch), dtype=np.int64, count=len(batch))
            vectors = np.frombuffer(b"".join(row[1] for row in batch), dtype="<f4")
            self._index.add_with_ids(vectors.reshape(len(batch), self._dimension).astype(np.float32, copy=False), ids)
            self._last_entry = int(ids[-1])
            self._unsaved += len(batch)

    def _remove_old(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute(
            "SELECT sequence, entry, space FROM removals WHERE sequence > ? ORDER BY sequence", (self._last_removal,)
        ).fetchall()
        if not rows:
            return
        removed = [entry for _, entry, space in rows if space == self._space]
        if removed:
            self._unsaved += self._index.remove_ids(np.array(removed, dtype=np.int64))
        self._last_removal = rows[-1][0]


def _faiss() -> Any:
    # Imported at the first search. The type is Any because the stubs of FAISS describe SWIG, not its Python methods.
    import faiss

    return faiss


def _search_parameters(allowed: IdSet | None, excluded: Ids | None) -> Any:
    # Each search needs a new selector, because an `IndexIDMap` changes the selector during a search. The parameters
    # keep the selector alive, and the selector keeps its array alive.
    if allowed is not None:
        selector = _faiss().IDSelectorBitmap(allowed.bits)
    elif excluded is not None and len(excluded):
        selector = _faiss().IDSelectorNot(_faiss().IDSelectorBatch(excluded))
    else:
        # Without a selector, FAISS multiplies matrices, which takes at least twice the time for a single vector
        # (facebookresearch/faiss#5000).
        selector = _faiss().IDSelectorAll()
    return _faiss().SearchParameters(sel=selector)
