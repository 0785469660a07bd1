"""The store's SQLite file: its schema, connections, transactions and version.

SQLite is the truth, vectors included. Journal mode WAL with ``synchronous=FULL``: what a write acknowledged survives a
killed process, and a power loss as far as the disk keeps its word. Readers never wait for a writer.
"""

import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from caslie_tools._version import __version__
from caslie_tools.exceptions import InputError, StoreBusyError, StoreError, StoreNotFoundError, StoreVersionError

SCHEMA_VERSION = 1
"""Written to ``PRAGMA user_version``; another number is refused."""

APPLICATION_ID = 0x43534C45
"""Written to ``PRAGMA application_id``, so that another program's database is told from ours ("CSLE")."""

DATABASE_NAME = "store.sqlite"

SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- Which model made a space's vectors; vectors of two models are never compared.
CREATE TABLE spaces (
    name TEXT PRIMARY KEY, identity TEXT NOT NULL, dimension INTEGER NOT NULL, fingerprint BLOB
) WITHOUT ROWID;

CREATE TABLE products (id TEXT PRIMARY KEY, digest TEXT NOT NULL, json TEXT NOT NULL);

CREATE TABLE images (
    sha256 TEXT PRIMARY KEY, media_type TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL
);

-- An image that could not be read keeps its position, with a null image.
CREATE TABLE product_images (
    product TEXT NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    image TEXT REFERENCES images (sha256),
    reference TEXT NOT NULL,
    PRIMARY KEY (product, position)
) WITHOUT ROWID;
CREATE INDEX product_images_by_image ON product_images (image);

-- Captions may belong to images outside the catalogue, so they do not refer to the images table.
CREATE TABLE captions (
    key TEXT PRIMARY KEY,
    image TEXT NOT NULL,
    captioner TEXT NOT NULL,
    prompt_version TEXT NOT NULL,
    context_vector BLOB,
    json TEXT NOT NULL
);
CREATE INDEX captions_by_image ON captions (image, captioner, prompt_version);

CREATE TABLE observations (
    image TEXT NOT NULL, observer TEXT NOT NULL, json TEXT NOT NULL, PRIMARY KEY (image, observer)
) WITHOUT ROWID;

-- Everything that has a vector. Ids are never reused: an update is a removal and a new entry, so that an index in any
-- process catches up by the ids and removals it has not seen.
CREATE TABLE entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    space TEXT NOT NULL CHECK (space IN ('text', 'picture')),
    kind TEXT NOT NULL CHECK (kind IN ('product', 'caption', 'image', 'document')),
    key TEXT NOT NULL,
    image TEXT,
    content TEXT,
    metadata TEXT,
    vector BLOB NOT NULL,
    UNIQUE (kind, key)
);
CREATE INDEX entries_by_space ON entries (space);
CREATE INDEX entries_by_image ON entries (image, kind) WHERE image IS NOT NULL;

CREATE TABLE removals (sequence INTEGER PRIMARY KEY AUTOINCREMENT, entry INTEGER NOT NULL, space TEXT NOT NULL);
CREATE TRIGGER entries_removed AFTER DELETE ON entries BEGIN
    INSERT INTO removals (entry, space) VALUES (old.id, old.space);
END;

-- What filters compare: one row per named value of a product's or plain document's entry.
CREATE TABLE facts (
    entry INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    value NOT NULL,
    PRIMARY KEY (entry, name)
) WITHOUT ROWID;
CREATE INDEX facts_by_value ON facts (name, type, value);
"""


class Database:
    """A pool of connections to one store's SQLite file; safe to share between threads.

    Args:
        directory: The store's directory.
        create: Whether to make a store there if there is none.
        busy_timeout_seconds: How long to wait for another writer.
        durable: ``False`` for throw-away stores: leaves out the syncs.

    Raises:
        StoreNotFoundError: ``create`` is false and there is no store.
        StoreVersionError: Another version of the package wrote it.
        StoreBusyError: It stayed locked for longer than the timeout.
        StoreError: It cannot be used for another reason: damaged, not ours, no permission.
    """

    def __init__(
        self, directory: Path, *, create: bool, busy_timeout_seconds: float = 5.0, durable: bool = True
    ) -> None:
        self.directory = directory
        self.path = directory / DATABASE_NAME
        self.durable = durable
        self._timeout = busy_timeout_seconds
        self._synchronous = "FULL" if durable else "OFF"
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        self._pool_lock = threading.Lock()
        self._write_lock = threading.Lock()
        try:
            if not self.path.exists():
                if not create:
                    raise StoreNotFoundError(f"there is no store at {directory}: index a catalogue there first")
                directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            what = "make a store at" if create else "look into"
            raise StoreError(f"cannot {what} {directory}: {error.strerror}; check the path and its rights") from error
        try:
            self._prepare(create)
        except BaseException:
            self.close()
            raise
        with self.read() as connection:
            self.store_id: str = connection.execute("SELECT value FROM meta WHERE name = 'store_id'").fetchone()[0]

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A read transaction: every query in it sees the same state, from its first query on."""
        with self._connection() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                self._roll_back(connection)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: all of it is stored, or, if an exception leaves it, nothing. Keep it short.

        Raises:
            StoreBusyError: Another thread or process kept writing for longer than the timeout.
        """
        if not self._write_lock.acquire(timeout=self._timeout):
            raise self._busy()
        try:
            with self._connection() as connection:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                finally:
                    self._roll_back(connection)
        finally:
            self._write_lock.release()

    def checkpoint(self) -> None:
        """Moves the write-ahead log into the database file, as far as readers allow."""
        with self._connection() as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Closes the connections; those in use close when they are handed back."""
        with self._pool_lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._typed_errors():
            connection = self._acquire()
            try:
                yield connection
            finally:
                self._release(connection)

    def _acquire(self) -> sqlite3.Connection:
        with self._pool_lock:
            if self._closed:
                raise StoreError(f"the store at {self.directory} is closed: open it again")
            if self._idle:
                return self._idle.pop()
        # `check_same_thread`: the pool hands a connection to one thread at a time.
        connection = sqlite3.connect(self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _release(self, connection: sqlite3.Connection) -> None:
        with self._pool_lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    @staticmethod
    def _roll_back(connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            with suppress(sqlite3.Error):  # SQLite has rolled back by itself, or the error under way says more
                connection.execute("ROLLBACK")

    def _prepare(self, create: bool) -> None:
        with self._connection() as connection:
            if self._is_empty(connection):
                if not create:
                    raise StoreNotFoundError(f"there is no store at {self.directory}: index a catalogue there first")
                self._create(connection)
            application, version = (
                connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
            )
        if application != APPLICATION_ID:
            raise StoreError(f"{self.path} is another program's database: choose another directory for the store")
        if version != SCHEMA_VERSION:
            raise StoreVersionError(
                f"the store at {self.directory} has format {version}, this version of caslie-tools ({__version__}) "
                f"reads format {SCHEMA_VERSION}: index the catalogue into a new directory, or install the other version"
            )

    @staticmethod
    def _is_empty(connection: sqlite3.Connection) -> bool:
        return not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]

    def _create(self, connection: sqlite3.Connection) -> None:
        self._enter_wal(connection)
        connection.execute("BEGIN IMMEDIATE")
        try:
            if self._is_empty(connection):  # another process may have been first
                for statement in _statements(SCHEMA):
                    connection.execute(statement)
                connection.executemany(
                    "INSERT INTO meta VALUES (?, ?)", [("store_id", uuid.uuid4().hex), ("created_by", __version__)]
                )
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute("COMMIT")
        finally:
            self._roll_back(connection)

    def _enter_wal(self, connection: sqlite3.Connection) -> None:
        # SQLite does not wait by itself here when two processes create a store at once.
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL").fetchone()
                return
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() >= deadline:
                    raise
                time.sleep(0.01)

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except UnicodeEncodeError as error:
            raise InputError("a text to store or look up is not valid Unicode: it holds a lone surrogate") from error
        except sqlite3.Error as error:
            if _is_busy(error):
                raise self._busy() from error
            code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                advice = "it is damaged or not a database; move it away and index the catalogue again"
            elif code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
                advice = "check that the directory exists and may be written to"
            elif code == sqlite3.SQLITE_FULL:
                advice = "the disk is full; nothing that was stored before is lost"
            else:
                advice = "nothing that was stored before is lost"
            raise StoreError(f"cannot use {self.path}: {error}; {advice}") from error

    def _busy(self) -> StoreBusyError:
        return StoreBusyError(
            f"the store at {self.directory} is in use by another writer (waited {self._timeout:g} s): "
            "try again when it has finished"
        )


def _is_busy(error: sqlite3.Error) -> bool:
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _statements(script: str) -> Iterator[str]:
    # `executescript` would commit the transaction under way.
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
