"""Snapshots: files with the FAISS index of a vector space, which save the time of building it again.

A snapshot is used only if it certainly matches the database. A missing, damaged or foreign snapshot is ignored, and the
index is built again from the vectors in SQLite. Each snapshot has a checksum, the id of its store, and the last entry
and the last removal that it contains.

These ids alone do not identify the history of a database. After a database has been restored from a copy, the same ids
are assigned again to other vectors. So each snapshot has a random name, and the database stores the name before the
file is replaced. A database that contains the name also contains everything that the snapshot was made from, because it
was written earlier. A copy that was made before, or a database that lost its latest writes, does not contain the name.
"""

import hashlib
import json
import logging
import os
import sqlite3
import tempfile
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from caslie_tools.exceptions import StoreError
from caslie_tools.store.database import Database
from caslie_tools.store.vectors import SpaceName

logger = logging.getLogger(__name__)

_FORMAT: Final = 2
_MAX_HEADER_BYTES: Final = 4_096
_STORED_NAMES: Final = 16
"""Number of names in the database. Processes that save at the same time can replace the file in any order."""
_TEMPORARY_SUFFIX: Final = ".tmp"
_ABANDONED_AFTER_SECONDS: Final = 3_600


@dataclass(frozen=True)
class Snapshot:
    """A serialized index, and what it contains."""

    payload: bytes
    last_entry: int
    """The highest id of the entries that were read."""
    last_removal: int
    """The highest sequence number of the removals that were read."""


class SnapshotFile:
    """The file with the snapshot of one space, in the directory of the store."""

    def __init__(self, space: SpaceName, database: Database) -> None:
        self.path = database.directory / f"{space}.faiss"
        self._space = space
        self._database = database

    def read(self, connection: sqlite3.Connection, dimension: int) -> Snapshot | None:
        """Returns the snapshot, or ``None`` if there is none that can be used."""
        try:
            header, payload = self._read(dimension)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("building the index %s again: %s", self.path, error)
            return None
        if header["snapshot"] not in self._names(connection):
            # The database was restored from a copy, or the snapshot is newer than this read transaction.
            logger.info("building the index %s again: it does not belong to this state of the database", self.path)
            return None
        return Snapshot(payload, header["last_entry"], header["last_removal"])

    def write(self, snapshot: Snapshot, dimension: int) -> None:
        """Writes a temporary file, and replaces the snapshot with it.

        Raises:
            StoreBusyError: If another writer kept the store locked.
            StoreError: If the directory is not writable.
        """
        name = uuid.uuid4().hex
        header = self._header(dimension) | {
            "snapshot": name,
            "last_entry": snapshot.last_entry,
            "last_removal": snapshot.last_removal,
        }
        try:
            self._remove_abandoned()
            descriptor, temporary = tempfile.mkstemp(_TEMPORARY_SUFFIX, f"{self.path.name}.", self.path.parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(_header_line(header, _checksum(header, snapshot.payload)))
                    file.write(snapshot.payload)
                self._store_name(name)
                os.replace(temporary, self.path)  # noqa: PTH105 (a text, not a path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary)  # noqa: PTH108 (a text, not a path)
                raise
        except OSError as error:
            raise StoreError(
                f"cannot write the index {self.path}: {error.strerror}; check the permissions and the free space"
            ) from error

    def _header(self, dimension: int) -> dict[str, Any]:
        return {"format": _FORMAT, "store": self._database.store_id, "space": self._space, "dimension": dimension}

    def _read(self, dimension: int) -> tuple[dict[str, Any], bytes]:
        with self.path.open("rb") as file:
            line, payload = file.readline(_MAX_HEADER_BYTES), file.read()
        header = json.loads(line)
        if not isinstance(header, dict):
            raise ValueError("the file is damaged")
        checksum = header.pop("sha256")
        # All bytes of the line are compared, because different lines can have the same meaning in JSON.
        if line != _header_line(header, checksum) or checksum != _checksum(header, payload):
            raise ValueError("the file is damaged")
        if header | self._header(dimension) != header:
            raise ValueError("the file belongs to another store, or another version wrote it")
        if [type(header[name]) for name in ("snapshot", "last_entry", "last_removal")] != [str, int, int]:
            raise ValueError("another version wrote the file")
        return header, payload

    def _names(self, connection: sqlite3.Connection) -> list[str]:
        row = connection.execute("SELECT value FROM meta WHERE name = ?", (self._meta_name,)).fetchone()
        return row[0].split() if row else []

    def _store_name(self, name: str) -> None:
        with self._database.write() as connection:
            names = [*self._names(connection), name][-_STORED_NAMES:]
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (self._meta_name, " ".join(names)))

    @property
    def _meta_name(self) -> str:
        return f"{self._space}_snapshots"

    def _remove_abandoned(self) -> None:
        # A killed process leaves its temporary file. A running process needs it for a few seconds only.
        for path in self.path.parent.glob(f"{self.path.name}.*{_TEMPORARY_SUFFIX}"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED_AFTER_SECONDS:
                    path.unlink()


def _checksum(header: dict[str, Any], payload: bytes) -> str:
    digest = hashlib.sha256(json.dumps(header).encode() + b"\n")
    digest.update(payload)
    return digest.hexdigest()


def _header_line(header: dict[str, Any], checksum: object) -> bytes:
    return json.dumps(header | {"sha256": checksum}).encode() + b"\n"
