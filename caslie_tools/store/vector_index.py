"""One vector space's FAISS index: derived from SQLite, caught up before every search, kept on disk as a snapshot.

The snapshot only saves time. It carries a checksum, the store it belongs to and how far it has read; it is written
beside its place and swapped in, and whenever it is missing, damaged, foreign or ahead of the database the index is
built again from the vectors in SQLite.
"""

import hashlib
import json
import logging
import os
import sqlite3
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from caslie_tools.exceptions import StoreError
from caslie_tools.store.vectors import SpaceName, Vector

Ids = NDArray[np.int64]
"""Ids of entries, of shape (count,)."""

logger = logging.getLogger(__name__)

_BATCH: Final = 8_192
_TEMPORARY: Final = ".tmp"
_ABANDONED_AFTER_SECONDS: Final = 3_600


class VectorIndex:
    """The index of one space. Hold :attr:`lock` from the start of a read transaction until the last search in it.

    Args:
        space: Which space.
        directory: Where the snapshot is.
        store_id: The store it must belong to.
    """

    def __init__(self, space: SpaceName, directory: Path, store_id: str) -> None:
        self.lock = threading.RLock()
        self.path = directory / f"{space}.faiss"
        self._space = space
        self._store_id = store_id
        self._index: Any = None
        self._dimension = 0
        self._last_entry = 0
        self._last_removal = 0
        self._unsaved = 0

    @property
    def worth_saving(self) -> bool:
        """Whether much of what is in memory is not in the snapshot: a tenth."""
        return self._index is not None and self._unsaved * 10 > self._index.ntotal

    def catch_up(self, connection: sqlite3.Connection) -> None:
        """Takes in what any process has committed, as this transaction sees it."""
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
        self, vector: Vector, count: int, *, allowed: Ids | None = None, excluded: Ids | None = None
    ) -> list[tuple[int, float]]:
        """Finds the nearest entries among those allowed.

        Args:
            vector: A unit vector.
            count: How many at most.
            allowed: Ids to look among, instead of all.
            excluded: Ids to leave out.

        Returns:
            (id, cosine) pairs, nearest first, equally near ones oldest first.
        """
        if self._index is None or count < 1:
            return []
        if allowed is not None and excluded is not None:
            allowed = np.setdiff1d(allowed, excluded)
        available = self._index.ntotal if allowed is None else len(allowed)
        count = min(count, available)
        if not count:
            return []
        scores, ids = self._index.search(vector[np.newaxis], count, params=_selection(allowed, excluded))
        hits = [
            (int(entry), float(np.clip(score, -1, 1)))
            for entry, score in zip(ids[0], scores[0], strict=True)
            if entry != -1  # FAISS fills up with -1 where it finds fewer
        ]
        return sorted(hits, key=lambda hit: (-hit[1], hit[0]))

    def save(self) -> None:
        """Writes the snapshot and swaps it in.

        Raises:
            StoreError: The directory cannot be written to. Nothing is lost: the snapshot only saves time.
        """
        if self._index is None:
            return
        payload = _faiss().serialize_index(self._index).tobytes()
        header = self._header() | {
            "last_entry": self._last_entry,
            "last_removal": self._last_removal,
            "sha256": hashlib.sha256(payload).hexdigest(),
        }
        try:
            self._sweep()
            descriptor, name = tempfile.mkstemp(_TEMPORARY, f"{self.path.name}.", self.path.parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(json.dumps(header).encode() + b"\n")
                    file.write(payload)
                os.replace(name, self.path)  # noqa: PTH105 (`name` is a text)
            except BaseException:
                with suppress(OSError):
                    os.unlink(name)  # noqa: PTH108 (as above)
                raise
        except OSError as error:
            raise StoreError(f"cannot write the index {self.path}: {error.strerror}") from error
        self._unsaved = 0

    def _header(self) -> dict[str, Any]:
        return {"format": 1, "store": self._store_id, "space": self._space, "dimension": self._dimension}

    def _start_empty(self, connection: sqlite3.Connection) -> None:
        self._index = _faiss().IndexIDMap(_faiss().IndexFlatIP(self._dimension))
        self._last_entry = 0
        # Nothing is in the index yet, so no removal up to now concerns it.
        self._last_removal = connection.execute("SELECT coalesce(max(sequence), 0) FROM removals").fetchone()[0]
        self._unsaved = 0

    def _load(self, connection: sqlite3.Connection) -> bool:
        try:
            with self.path.open("rb") as file:
                header = json.loads(file.readline(4_096))
                payload = file.read()
            if header | self._header() != header or hashlib.sha256(payload).hexdigest() != header["sha256"]:
                raise ValueError("it is damaged or belongs to another store")
            last_entry, last_removal = int(header["last_entry"]), int(header["last_removal"])
            if last_entry > _latest(connection, "entries") or last_removal > _latest(connection, "removals"):
                # Of a database restored from a backup, or, with nothing wrong at all, of this transaction.
                logger.info("building the index %s again: it is ahead of the database", self.path)
                return False
            index = _faiss().deserialize_index(np.frombuffer(payload, dtype=np.uint8))
        except FileNotFoundError:
            return False
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            logger.warning("building the index %s again: %s", self.path, error)
            return False
        self._index, self._last_entry, self._last_removal, self._unsaved = index, last_entry, last_removal, 0
        return True

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
        gone = [entry for _, entry, space in rows if space == self._space]
        if gone:
            self._unsaved += self._index.remove_ids(np.array(gone, dtype=np.int64))
        self._last_removal = rows[-1][0]

    def _sweep(self) -> None:
        # What a killed process left behind; a running one needs seconds.
        for path in self.path.parent.glob(f"{self.path.name}.*{_TEMPORARY}"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED_AFTER_SECONDS:
                    path.unlink()


def _faiss() -> Any:
    # Imported only when there is something to search. `Any`: its type information is SWIG's, without its conveniences.
    import faiss

    return faiss


def _latest(connection: sqlite3.Connection, table: str) -> int:
    # The highest id ever given, also if its row is gone.
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return row[0] if row else 0


def _selection(allowed: Ids | None, excluded: Ids | None) -> Any:
    # Made anew for each search: an `IndexIDMap` changes the selector for as long as it searches. The parameters keep
    # the selector alive, and the selector its array.
    if allowed is not None:
        mask = np.zeros(int(allowed.max()) + 1, dtype=bool)
        mask[allowed] = True
        selector = _faiss().IDSelectorBitmap(np.packbits(mask, bitorder="little"))
    elif excluded is not None and len(excluded):
        selector = _faiss().IDSelectorNot(_faiss().IDSelectorBatch(excluded))
    else:
        # Without a selector FAISS multiplies matrices, which for one vector takes twice the time and more
        # (facebookresearch/faiss#5000).
        selector = _faiss().IDSelectorAll()
    return _faiss().SearchParameters(sel=selector)
