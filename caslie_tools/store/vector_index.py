"""One vector space's FAISS index: derived from SQLite, caught up before every search, kept on disk as a snapshot.

The snapshot only saves time. It carries a checksum, the store it belongs to and how far it has read; it is written
beside its place and swapped in, and whenever it is missing, damaged, foreign or of another history than the database
the index is built again from the vectors in SQLite.

Ids alone do not tell one history from another: after a database was restored from a copy, the same ids are given again
to other vectors. So a snapshot has a random name, and the database is told the name before the snapshot is swapped in.
A database that knows the name holds everything that the snapshot has read, as it read it: the name was written later.
A copy that was made before, and a database that lost its newest writes, do not know it.
"""

import hashlib
import json
import logging
import os
import sqlite3
import tempfile
import threading
import time
import uuid
from contextlib import suppress
from typing import Any, Final

import numpy as np

from caslie_tools.exceptions import StoreError
from caslie_tools.store.database import Database
from caslie_tools.store.selection import Ids, IdSet
from caslie_tools.store.vectors import SpaceName, Vector

logger = logging.getLogger(__name__)

_FORMAT: Final = 2
_LONGEST_HEADER: Final = 4_096
_KNOWN_SNAPSHOTS: Final = 16
"""How many names of snapshots the database keeps: processes that save at once swap in any order."""
_BATCH: Final = 8_192
_TEMPORARY: Final = ".tmp"
_ABANDONED_AFTER_SECONDS: Final = 3_600


class VectorIndex:
    """The index of one space. Hold :attr:`lock` from the start of a read transaction until the last search in it.

    Args:
        space: Which space.
        database: The store's; the snapshot is in its directory.
    """

    def __init__(self, space: SpaceName, database: Database) -> None:
        self.lock = threading.RLock()
        self.path = database.directory / f"{space}.faiss"
        self._space = space
        self._database = database
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
        self, vector: Vector, count: int, *, allowed: IdSet | None = None, excluded: Ids | None = None
    ) -> list[tuple[int, float]]:
        """Finds the nearest entries among those allowed.

        Args:
            vector: A unit vector.
            count: How many at most.
            allowed: Entries to look among, instead of all.
            excluded: Ids to leave out.

        Returns:
            (id, cosine) pairs, nearest first, equally near ones oldest first.
        """
        if self._index is None or count < 1:
            return []
        if allowed is not None and excluded is not None:
            allowed = allowed.without(excluded)
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
            StoreBusyError: Another writer kept the store locked.
            StoreError: The directory cannot be written to.

        Nothing is lost by either: the snapshot only saves time.
        """
        if self._index is None:
            return
        payload = _faiss().serialize_index(self._index).tobytes()
        snapshot = uuid.uuid4().hex
        header = self._header() | {
            "snapshot": snapshot,
            "last_entry": self._last_entry,
            "last_removal": self._last_removal,
        }
        try:
            self._sweep()
            descriptor, name = tempfile.mkstemp(_TEMPORARY, f"{self.path.name}.", self.path.parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(_sealed(header, _checksum(header, payload)))
                    file.write(payload)
                self._make_known(snapshot)
                os.replace(name, self.path)  # noqa: PTH105 (`name` is a text)
            except BaseException:
                with suppress(OSError):
                    os.unlink(name)  # noqa: PTH108 (as above)
                raise
        except OSError as error:
            raise StoreError(f"cannot write the index {self.path}: {error.strerror}") from error
        self._unsaved = 0

    def _header(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "store": self._database.store_id,
            "space": self._space,
            "dimension": self._dimension,
        }

    def _make_known(self, snapshot: str) -> None:
        with self._database.write() as connection:
            known = [*self._known(connection), snapshot][-_KNOWN_SNAPSHOTS:]
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (self._meta_name, " ".join(known)))

    def _known(self, connection: sqlite3.Connection) -> list[str]:
        row = connection.execute("SELECT value FROM meta WHERE name = ?", (self._meta_name,)).fetchone()
        return row[0].split() if row else []

    @property
    def _meta_name(self) -> str:
        return f"{self._space}_snapshots"

    def _start_empty(self, connection: sqlite3.Connection) -> None:
        self._index = _faiss().IndexIDMap(_faiss().IndexFlatIP(self._dimension))
        self._last_entry = 0
        # Nothing is in the index yet, so no removal up to now concerns it.
        self._last_removal = connection.execute("SELECT coalesce(max(sequence), 0) FROM removals").fetchone()[0]
        self._unsaved = 0

    def _load(self, connection: sqlite3.Connection) -> bool:
        try:
            header, payload = self._read()
            if header["snapshot"] not in self._known(connection):
                # Of a database restored from a copy, or, with nothing wrong at all, later than this transaction.
                logger.info("building the index %s again: it is not of what the database holds", self.path)
                return False
            index = _faiss().deserialize_index(np.frombuffer(payload, dtype=np.uint8))
        except FileNotFoundError:
            return False
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            logger.warning("building the index %s again: %s", self.path, error)
            return False
        self._index, self._last_entry, self._last_removal = index, header["last_entry"], header["last_removal"]
        self._unsaved = 0
        return True

    def _read(self) -> tuple[dict[str, Any], bytes]:
        with self.path.open("rb") as file:
            line, payload = file.readline(_LONGEST_HEADER), file.read()
        header = json.loads(line)
        if not isinstance(header, dict):
            raise ValueError("it is damaged")
        checksum = header.pop("sha256")
        # The line to the last byte: JSON has many spellings of one thing.
        if line != _sealed(header, checksum) or checksum != _checksum(header, payload):
            raise ValueError("it is damaged")
        if header | self._header() != header:
            raise ValueError("it belongs to another store or was written by another version")
        if [type(header[name]) for name in ("snapshot", "last_entry", "last_removal")] != [str, int, int]:
            raise ValueError("its description is not of this version")
        return header, payload

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


def _checksum(header: dict[str, Any], payload: bytes) -> str:
    digest = hashlib.sha256(json.dumps(header).encode() + b"\n")
    digest.update(payload)
    return digest.hexdigest()


def _sealed(header: dict[str, Any], checksum: object) -> bytes:
    return json.dumps(header | {"sha256": checksum}).encode() + b"\n"


def _selection(allowed: IdSet | None, excluded: Ids | None) -> Any:
    # Made anew for each search: an `IndexIDMap` changes the selector for as long as it searches. The parameters keep
    # the selector alive, and the selector its array.
    if allowed is not None:
        selector = _faiss().IDSelectorBitmap(allowed.bits)
    elif excluded is not None and len(excluded):
        selector = _faiss().IDSelectorNot(_faiss().IDSelectorBatch(excluded))
    else:
        # Without a selector FAISS multiplies matrices, which for one vector takes twice the time and more
        # (facebookresearch/faiss#5000).
        selector = _faiss().IDSelectorAll()
    return _faiss().SearchParameters(sel=selector)
