"""Snapshots of the FAISS indexes: a snapshot is used only if it certainly matches the database."""

import json
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from caslie_tools.exceptions import StoreError
from caslie_tools.store import CaptionStore
from caslie_tools.store.database import Database
from caslie_tools.store.vector_index import VectorIndex
from caslie_tools.store.vectors import to_blob
from tests.doubles import HashEmbeddings

Reopen = Callable[..., CaptionStore]

WORDS = [f"word{number}" for number in range(50)]


def _all_found(store: CaptionStore, words: list[str] = WORDS) -> bool:
    return all(store.similarity_search(word, k=1)[0].page_content == word for word in words)


@pytest.fixture
def snapshot(path: Path, reopen: Reopen) -> Path:
    with reopen() as store:
        store.add_texts(WORDS, ids=WORDS)
        store.checkpoint()
    return path / "text.faiss"


def test_a_snapshot_is_used(snapshot: Path, reopen: Reopen, caplog: pytest.LogCaptureFixture) -> None:
    header = json.loads(snapshot.read_bytes().partition(b"\n")[0])
    assert (header["space"], header["last_entry"], header["dimension"]) == ("text", 50, 256)
    assert _all_found(reopen())
    assert caplog.records == []


def test_an_older_snapshot_is_updated(snapshot: Path, reopen: Reopen) -> None:
    old = snapshot.read_bytes()
    with reopen() as store:
        store.delete(WORDS[:10])
        store.add_texts(["new"], ids=[WORDS[20]])
        store.checkpoint()
        assert snapshot.read_bytes() != old
    snapshot.write_bytes(old)
    store = reopen()
    assert _all_found(store, ["new", *WORDS[10:20], *WORDS[21:]])
    assert len(store.similarity_search("word1", k=99)) == 40


def test_a_missing_index_is_built_again(snapshot: Path, reopen: Reopen) -> None:
    snapshot.unlink()
    store = reopen()
    assert _all_found(store)
    store.checkpoint()
    assert snapshot.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data[:-20] + b"\xff" + data[-19:],
        lambda data: b"\x80\x04cposix\nsystem\n",
        lambda data: b"[1, 2]\n" + data,
        lambda data: b"{}\n" + data,
        lambda data: data.replace(b'"last_entry": 50', b'"last_entry": 51'),
        lambda data: data.replace(b'"dimension": 256', b'"dimension": 255'),
        lambda data: data.replace(b'"space": "text"', b'"space": "picture"'),
        lambda data: data.replace(b'"format": 2', b'"format": 1'),
        lambda data: data.replace(b'"last_removal": 0', b'"last_removal": 0.0'),
        lambda data: data.replace(b', "sha256"', b',  "sha256"'),
        lambda data: b"x" * 10_000,
    ],
)
def test_a_damaged_index_is_built_again(
    snapshot: Path, reopen: Reopen, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    before = snapshot.read_bytes()
    snapshot.write_bytes(damage(before))
    assert snapshot.read_bytes() != before
    store = reopen()
    assert _all_found(store)
    assert len(store.similarity_search("word1", k=99)) == 50
    assert "again" in caplog.text


def test_a_snapshot_of_another_store_is_not_used(snapshot: Path, reopen: Reopen, tmp_path: Path) -> None:
    with CaptionStore.open(tmp_path / "other", HashEmbeddings()) as other:
        other.add_texts([word[::-1] for word in WORDS])
        other.checkpoint()
    shutil.copy(tmp_path / "other" / "text.faiss", snapshot)
    assert _all_found(reopen())


def test_a_snapshot_ahead_of_a_restored_database_is_not_used(snapshot: Path, reopen: Reopen, path: Path) -> None:
    database = path / "store.sqlite"
    backup = database.read_bytes()
    with reopen() as store:
        store.add_texts(["later"])
        store.checkpoint()
    for file in path.glob("store.sqlite*"):
        file.unlink()
    database.write_bytes(backup)
    store = reopen()
    assert len(store.similarity_search("later", k=99)) == 50
    store.add_texts(["after"], ids=["after"])
    assert store.similarity_search("after", k=1)[0].id == "after"


# --- another history: the same ids for other vectors ------------------------------------------------------------------


def _restore(path: Path, database: bytes) -> None:
    for file in path.glob("store.sqlite*"):
        file.unlink()
    (path / "store.sqlite").write_bytes(database)


def _named(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def test_a_snapshot_of_another_history_is_not_used(path: Path, reopen: Reopen) -> None:
    with reopen() as store:
        store.add_texts(_named("first", 100))
        store.checkpoint()
    copy = (path / "store.sqlite").read_bytes()
    with reopen() as store:
        store.add_texts(_named("lost", 100))
        store.checkpoint()
    _restore(path, copy)
    with reopen() as store:
        store.add_texts(_named("second", 150))  # more than the lost texts, so that the snapshot is not newer
    expected = [*_named("first", 100), *_named("second", 150)]
    with reopen() as store:
        assert _all_found(store, expected)
        assert len(store.similarity_search("lost1", k=999)) == 250
        store.checkpoint()
    assert _all_found(reopen(), expected)


def test_histories_that_differ_in_one_old_vector_are_distinguished(path: Path, reopen: Reopen) -> None:
    """A catalogue is indexed again after a restore, with one title corrected, so all newer vectors are equal."""
    with reopen() as store:
        store.add_texts(["kept"])
    copy = (path / "store.sqlite").read_bytes()
    with reopen() as store:
        store.add_texts(["mistyped", *WORDS * 4])
        store.checkpoint()
    _restore(path, copy)
    with reopen() as store:
        store.add_texts(["corrected", *WORDS * 4])
    assert _all_found(reopen(), ["kept", "corrected", *WORDS])


def test_removals_of_another_history_are_not_applied(path: Path, reopen: Reopen) -> None:
    with reopen() as store:
        store.add_texts(WORDS, ids=WORDS)
        store.checkpoint()
    copy = (path / "store.sqlite").read_bytes()
    with reopen() as store:
        store.delete(WORDS[:20])
        store.checkpoint()
    _restore(path, copy)
    with reopen() as store:
        store.delete(WORDS[-30:])
    store = reopen()
    assert _all_found(store, WORDS[:20])
    assert len(store.similarity_search("word1", k=99)) == 20


def test_a_snapshot_of_lost_writes_is_not_used(path: Path, reopen: Reopen) -> None:
    with reopen() as store:
        store.add_texts(_named("first", 100))
    with reopen() as store:
        store.add_texts(_named("lost", 100))
        without_log = (path / "store.sqlite").read_bytes()
        assert (path / "store.sqlite-wal").stat().st_size > 100_000
        store.checkpoint()
    _restore(path, without_log)
    with reopen() as store:
        assert store.stats().documents == 100
        store.add_texts(_named("second", 150))
    store = reopen()
    assert _all_found(store, [*_named("first", 100), *_named("second", 150)])
    assert len(store.similarity_search("lost1", k=999)) == 250


def test_a_copy_of_the_directory_uses_its_snapshot(
    snapshot: Path, reopen: Reopen, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    copy = tmp_path / "copy"
    shutil.copytree(path, copy)
    with reopen() as store:
        store.add_texts(["later"])
        store.checkpoint()
    with CaptionStore.open(copy, HashEmbeddings()) as store:
        assert _all_found(store)
    assert caplog.records == []


def test_the_database_keeps_only_the_latest_snapshot_names(snapshot: Path, reopen: Reopen, path: Path) -> None:
    store = reopen()
    for _ in range(20):
        store.checkpoint()
    with sqlite3.connect(path / "store.sqlite") as connection:
        ((stored,),) = connection.execute("SELECT value FROM meta WHERE name = 'text_snapshots'").fetchall()
    connection.close()
    names = stored.split()
    assert len(names) == len(set(names)) == 16
    assert json.loads(snapshot.read_bytes().partition(b"\n")[0])["snapshot"] == names[-1]


# --- damaged bits -----------------------------------------------------------------------------------------------------


def _with_flipped(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def test_a_change_of_any_byte_of_the_header_is_detected(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    database = Database(path, create=True, durable=False)
    with database.write() as connection:
        connection.execute("INSERT INTO spaces VALUES ('text', 'any', 4, NULL)")
        connection.executemany(
            "INSERT INTO entries (space, kind, key, vector) VALUES ('text', 'document', ?, ?)",
            [(str(number), to_blob(vector)) for number, vector in enumerate(np.eye(4, dtype=np.float32))],
        )
        connection.execute("DELETE FROM entries WHERE key = '1'")
    index = VectorIndex("text", database)
    with database.read() as connection:
        index.catch_up(connection)
        index.save()
    intact = index.snapshot_file.path.read_bytes()
    chance = random.Random(7)  # noqa: S311 (a fixed seed)
    for byte in range(intact.index(b"\n") + 1):
        bit = byte * 8 + chance.randrange(8)
        index.snapshot_file.path.write_bytes(_with_flipped(intact, bit))
        caplog.clear()
        index = VectorIndex("text", database)
        with database.read() as connection:
            index.catch_up(connection)
        assert "again" in caplog.text
        assert index.search(np.array([1, 0.5, 0.25, 0], dtype=np.float32), 9) == [(1, 1), (3, 0.25), (4, 0)]
    database.close()


def test_a_store_finds_everything_after_a_bit_flip(
    snapshot: Path, reopen: Reopen, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(7)  # noqa: S311 (a fixed seed)
    intact = snapshot.read_bytes()
    header = (intact.index(b"\n") + 1) * 8
    for bit in [*chance.sample(range(header), 25), *chance.sample(range(header, len(intact) * 8), 5)]:
        snapshot.write_bytes(_with_flipped(intact, bit))
        with reopen() as store:
            assert _all_found(store, WORDS[::7])
            assert len({found.id for found in store.similarity_search("word1", k=99)}) == 50
    assert len(caplog.records) == 30


def test_a_process_killed_while_saving_keeps_the_old_snapshot(snapshot: Path, reopen: Reopen) -> None:
    before = snapshot.read_bytes()
    (snapshot.parent / f"{snapshot.name}.killed.tmp").write_bytes(before[:100])
    store = reopen()
    assert _all_found(store)
    assert snapshot.read_bytes() == before


def test_old_temporary_files_are_removed(snapshot: Path, reopen: Reopen) -> None:
    import os

    old, young = (snapshot.parent / f"{snapshot.name}.{name}.tmp" for name in ("old", "young"))
    old.write_bytes(b"x")
    young.write_bytes(b"x")
    os.utime(old, (0, 0))
    store = reopen()
    store.checkpoint()
    assert not old.exists()
    assert young.exists()  # another process may still write it


def test_closing_saves_a_large_change_but_not_a_small_one(snapshot: Path, reopen: Reopen) -> None:
    before = snapshot.read_bytes()
    with reopen() as store:
        store.add_texts(["one more"])
        store.similarity_search("one more")
    assert snapshot.read_bytes() == before
    with reopen() as store:
        store.add_texts([f"more {number}" for number in range(20)])
        store.similarity_search("one more")
    assert snapshot.read_bytes() != before
    assert len(reopen().similarity_search("more", k=99)) == 71


def test_a_snapshot_that_cannot_be_written_loses_no_data(snapshot: Path, reopen: Reopen) -> None:
    snapshot.unlink()
    snapshot.mkdir()  # a directory cannot be read or replaced
    store = reopen()
    assert _all_found(store)
    with pytest.raises(StoreError, match="cannot write the index"):
        store.checkpoint()
    assert [file.name for file in snapshot.parent.glob("*.tmp")] == []
    store.add_texts([f"more {number}" for number in range(20)])
    store.close()
    assert len(reopen().similarity_search("more", k=99)) == 70


def test_no_file_of_the_store_is_a_pickle(snapshot: Path) -> None:
    for file in snapshot.parent.iterdir():
        assert not file.read_bytes().startswith(b"\x80")
        assert file.suffix in (".sqlite", ".faiss") or file.name.startswith("store.sqlite-")


def test_an_open_store_finds_what_another_store_has_written(reopen: Reopen) -> None:
    reader, writer = reopen(), reopen()
    writer.add_texts(["a", "b"], ids=["a", "b"])
    assert [found.id for found in reader.similarity_search("a", k=9)] == ["a", "b"]
    writer.add_texts(["c"], ids=["a"])
    assert reader.similarity_search("c", k=1)[0].page_content == "c"
    writer.delete(["b"])
    assert [found.id for found in reader.similarity_search("a", k=9)] == ["a"]
    reader.checkpoint()
    writer.delete(["a"])
    assert reopen().similarity_search("a", k=9) == []
    assert reader.similarity_search("a", k=9) == []
