"""The SQLite database of a store: its connections, its transactions, and its creation.

SQLite holds all data, vectors included. It uses the journal mode WAL with ``synchronous=FULL``. A committed write
survives a killed process, and also a power failure if the disk writes as it promises. Readers never wait for a writer.
"""

import errno
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from caslie_tools._version import __version__
from caslie_tools.exceptions import InputError, StoreBusyError, StoreError, StoreNotFoundError, StoreVersionError
from caslie_tools.store.schema import APPLICATION_ID, MIGRATIONS, SCHEMA, SCHEMA_VERSION

DATABASE_NAME: Final = "store.sqlite"


class Database:
    """A pool of connections to the SQLite file of a store. It can be shared between threads.

    Args:
        directory: The directory of the store.
        create: Allow a store that does not exist. Its files are created by the first write, so that an object that
            writes nothing leaves nothing behind. Until then, it reads as an empty store.
        busy_timeout_seconds: How long to wait for another writer.
        durable: Wait until the disk has written each commit. ``False`` is for temporary stores.

    Raises:
        StoreNotFoundError: If there is no store and ``create`` is false.
        StoreVersionError: If another version of the package wrote the store.
        StoreBusyError: If the store stayed locked for longer than the timeout.
        StoreError: If the store cannot be used for another reason: it is damaged, belongs to another program, or is not
            accessible.
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
        self._missing = False
        """Whether the database file has not been created yet."""
        self._create_lock = threading.Lock()
        try:
            if self.path.exists():
                with self._typed_errors():
                    self._prepare(create)
            elif create:
                _check_creatable(directory)
                self._missing = True
            else:
                raise StoreNotFoundError(_not_found(directory))
        except OSError as error:
            action = "create a store at" if create else "access"
            raise StoreError(
                f"cannot {action} {directory}: {error.strerror}; check the path and its permissions"
            ) from error
        except BaseException:
            self.close()
            raise

    @property
    def store_id(self) -> str:
        """A random text that identifies the store."""
        with self.read() as connection:
            store_id: str = connection.execute("SELECT value FROM meta WHERE name = 'store_id'").fetchone()[0]
        return store_id

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Runs a read transaction. All its queries read the state of the database at the first query."""
        with self._connection() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                self._roll_back(connection)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Runs a write transaction. It is rolled back if the block raises an exception. Keep the block short.

        Raises:
            StoreBusyError: If another thread or process kept the store locked for longer than the timeout.
        """
        if not self._write_lock.acquire(timeout=self._timeout):
            raise self._busy()
        try:
            with self._typed_errors():
                self._create_if_missing()
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
        """Moves the write-ahead log into the database file, except for the part that readers still need."""
        with self._connection() as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Closes the connections. A connection in use is closed when it is released."""
        with self._pool_lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._typed_errors():
            if self._missing and not self._closed and not self.path.exists():
                with closing(sqlite3.connect(":memory:", isolation_level=None)) as empty:
                    self._create_tables(empty)
                    yield empty
                return
            self._create_if_missing()  # completes what another process may have begun
            with self._file_connection() as connection:
                yield connection

    @contextmanager
    def _file_connection(self) -> Iterator[sqlite3.Connection]:
        connection = self._acquire()
        try:
            yield connection
        finally:
            self._release(connection)

    def _create_if_missing(self) -> None:
        with self._create_lock:
            if not self._missing or self._closed:
                return
            try:
                self.directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(
                    f"cannot create a store at {self.directory}: {error.strerror}; check the path and its permissions"
                ) from error
            self._prepare(create=True)
            self._missing = False

    def _acquire(self) -> sqlite3.Connection:
        with self._pool_lock:
            if self._closed:
                raise StoreError(f"the store at {self.directory} is closed; open it again")
            if self._idle:
                return self._idle.pop()
        # `check_same_thread=False` is safe because only one thread at a time uses a connection of the pool.
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
            with suppress(sqlite3.Error):  # SQLite has already rolled back, or the current exception is more specific
                connection.execute("ROLLBACK")

    def _prepare(self, create: bool) -> None:
        with self._file_connection() as connection:
            if self._is_empty(connection):
                if not create:
                    raise StoreNotFoundError(_not_found(self.directory))
                self._create(connection)
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            version = _version(connection)
            if application == APPLICATION_ID and version in MIGRATIONS:
                version = self._migrate(connection)
        if application != APPLICATION_ID:
            raise StoreError(f"{self.path} is a database of another program; choose another directory for the store")
        if version != SCHEMA_VERSION:
            raise StoreVersionError(
                f"the store at {self.directory} has format {version}, but this version of caslie-tools ({__version__}) "
                f"reads format {SCHEMA_VERSION}; index the catalogue into a new directory, or install the other version"
            )

    @staticmethod
    def _is_empty(connection: sqlite3.Connection) -> bool:
        return not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]

    def _create(self, connection: sqlite3.Connection) -> None:
        self._enter_wal(connection)
        connection.execute("BEGIN IMMEDIATE")
        try:
            if self._is_empty(connection):  # another process may have created the tables in the meantime
                self._create_tables(connection)
            connection.execute("COMMIT")
        finally:
            self._roll_back(connection)

    @staticmethod
    def _create_tables(connection: sqlite3.Connection) -> None:
        for statement in _statements(SCHEMA):
            connection.execute(statement)
        connection.executemany(
            "INSERT INTO meta VALUES (?, ?)", [("store_id", uuid.uuid4().hex), ("created_by", __version__)]
        )
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _migrate(self, connection: sqlite3.Connection) -> int:
        """Changes an older schema to the current one, in one transaction; returns the new version."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            while (version := _version(connection)) in MIGRATIONS:  # another process may have migrated in the meantime
                for statement in _statements(MIGRATIONS[version]):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        finally:
            self._roll_back(connection)
        return version

    def _enter_wal(self, connection: sqlite3.Connection) -> None:
        # SQLite does not apply its timeout here if two processes create a store at the same time.
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
            raise InputError("a text is not valid Unicode, because it contains a lone surrogate; remove it") from error
        except sqlite3.Error as error:
            if _is_busy(error):
                raise self._busy() from error
            code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                advice = "the file is damaged or not a database; move it away and index the catalogue again"
            elif code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
                advice = "check that the directory exists and is writable"
            elif code == sqlite3.SQLITE_FULL:
                advice = "the disk is full; free some space. Stored data is not lost"
            else:
                advice = "stored data is not lost"
            raise StoreError(f"cannot use {self.path}: {error}; {advice}") from error

    def _busy(self) -> StoreBusyError:
        return StoreBusyError(
            f"the store at {self.directory} is in use by another writer (waited {self._timeout:g} s); "
            "try again when it has finished"
        )


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _not_found(directory: Path) -> str:
    return f"there is no store at {directory}; index a catalogue there first"


def _check_creatable(directory: Path) -> None:
    """Raises the error of the operating system if a directory cannot be created, or cannot be written to."""
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    if not existing.is_dir():
        code = errno.EEXIST if existing == directory else errno.ENOTDIR
    elif not os.access(existing, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        code = errno.EACCES
    else:
        return
    raise OSError(code, os.strerror(code))


def _is_busy(error: sqlite3.Error) -> bool:
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _statements(script: str) -> Iterator[str]:
    # `executescript` would commit the current transaction.
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
