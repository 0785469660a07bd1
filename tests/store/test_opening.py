"""Opening a store: what is there, what is not, and what cannot be used."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from caslie_tools.domain import Product
from caslie_tools.exceptions import (
    StoreBusyError,
    StoreError,
    StoreModelError,
    StoreNotFoundError,
    StoreVersionError,
)
from caslie_tools.store import CaptionStore
from tests.doubles import HashEmbeddings, HashPictures
from tests.store.conftest import caption, picture, shown

Reopen = Callable[..., CaptionStore]


def test_a_new_store_is_empty(store: CaptionStore, path: Path) -> None:
    stats = store.stats()
    assert (stats.products, stats.images, stats.captions, stats.documents, stats.text_vectors) == (0, 0, 0, 0, 0)
    assert (stats.text_model, stats.picture_model) == (None, None)
    assert stats.bytes == sum(file.stat().st_size for file in path.iterdir())
    assert stats.schema_version == 1


def test_stats_count(store: CaptionStore) -> None:
    red = picture("red")
    store.put_products([shown(Product(id="1"), red)])
    store.put_captions([caption(red, "red")])
    store.put_observation(red.sha256, "eye", {})
    store.add_texts(["a", "b"])
    stats = store.stats()
    assert (stats.products, stats.images, stats.captions, stats.documents, stats.observations) == (1, 1, 1, 2, 1)
    assert (stats.text_vectors, stats.picture_vectors) == (4, 1)
    assert (stats.text_model, stats.picture_model) == ("hash-embeddings-256", "colour-histogram")


def test_none_there(path: Path, reopen: Reopen) -> None:
    with pytest.raises(StoreNotFoundError, match="index a catalogue"):
        reopen(create=False)
    assert not path.exists()


@pytest.mark.parametrize("left", [b"", None], ids=["an empty file", "a log without tables"])
def test_a_creation_that_was_killed_is_taken_up(path: Path, reopen: Reopen, left: bytes | None) -> None:
    path.mkdir()
    file = path / "store.sqlite"
    if left is None:
        with sqlite3.connect(file) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        connection.close()
    else:
        file.write_bytes(left)
    with pytest.raises(StoreNotFoundError):
        reopen(create=False)
    reopen().add_texts(["a"])


def test_not_a_directory(path: Path, reopen: Reopen) -> None:
    path.write_text("a file")
    with pytest.raises(StoreError, match="cannot make a store"):
        reopen()


def test_damaged(path: Path, reopen: Reopen) -> None:
    path.mkdir()
    (path / "store.sqlite").write_bytes(b"no database at all" * 1_000)
    with pytest.raises(StoreError, match="move it away"):
        reopen()


def test_another_programs_database(path: Path, reopen: Reopen) -> None:
    path.mkdir()
    with sqlite3.connect(path / "store.sqlite") as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    with pytest.raises(StoreError, match="another program"):
        reopen()
    assert {file.name for file in path.iterdir()} == {"store.sqlite"}


@pytest.mark.parametrize("version", [0, 2])
def test_another_version(path: Path, reopen: Reopen, version: int) -> None:
    reopen().close()
    with sqlite3.connect(path / "store.sqlite") as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    with pytest.raises(StoreVersionError, match=f"has format {version}, .* reads format 1"):
        reopen()


def test_a_closed_store_says_so(store: CaptionStore) -> None:
    store.add_texts(["a"])
    store.close()
    store.close()
    for use in (store.stats, store.product_ids, lambda: store.add_texts(["a"]), lambda: store.similarity_search("a")):
        with pytest.raises(StoreError, match="is closed"):
            use()


def test_a_temporary_store_leaves_nothing_behind() -> None:
    with CaptionStore.in_memory(HashEmbeddings()) as store:
        store.add_texts(["a"])
        assert store.path.exists()
    assert not store.path.exists()
    path = CaptionStore.from_texts(["a"], HashEmbeddings()).path
    assert not path.exists()  # nobody holds the store any more


def test_from_texts_in_a_directory(path: Path) -> None:
    with CaptionStore.from_texts(["a"], HashEmbeddings(), path=path, ids=["1"]):
        pass
    with CaptionStore.open(str(path), HashEmbeddings(), create=False) as store:
        assert store.get_by_ids(["1"])[0].page_content == "a"


# --- models -----------------------------------------------------------------------------------------------------------


class Namesake(HashEmbeddings):
    """Bears another model's name and makes vectors of the same length."""

    @property
    def identity(self) -> str:
        return HashEmbeddings().identity

    def embed_query(self, text: str) -> list[float]:
        return super().embed_query(f"other {text}")


def test_opening_and_listing_need_no_model(reopen: Reopen) -> None:
    with reopen() as store:
        store.put_products([shown(Product(id="1"), picture("red"))])
    embeddings, pictures = HashEmbeddings(), HashPictures()
    store = reopen(embeddings=embeddings, pictures=pictures)
    assert store.product_ids("price > 5") == []
    assert store.get_product("1").id == "1"
    assert store.captions("1") == []
    store.stats()
    assert embeddings.texts == []
    assert pictures.embedded == []


def test_another_model_is_refused_at_once(reopen: Reopen) -> None:
    with reopen() as store:
        store.put_products([shown(Product(id="1"), picture("red"))])
    with pytest.raises(StoreModelError, match=r"with 'hash-embeddings-256', not with 'other-256'"):
        reopen(embeddings=HashEmbeddings(identity="other"))
    with pytest.raises(StoreModelError, match="picture vectors"):
        reopen(pictures=HashPictures(identity="other"))
    reopen(pictures=None)


def test_a_namesake_is_refused_when_it_is_first_used(reopen: Reopen) -> None:
    with reopen() as store:
        store.add_texts(["a"])
    for use in (
        lambda store: store.similarity_search("a"),
        lambda store: store.search_products("a"),
        lambda store: store.add_texts(["b"]),
        lambda store: store.put_products([shown(Product(id="1"))]),
    ):
        with pytest.raises(StoreModelError, match="also called 'hash-embeddings-256'"):
            use(reopen(embeddings=Namesake()))
    assert reopen().stats().text_vectors == 1


def test_a_model_of_another_length_is_refused(reopen: Reopen) -> None:
    class Shorter(HashEmbeddings):
        identity = HashEmbeddings().identity  # type: ignore[assignment] # a plain attribute will do

    with reopen() as store:
        store.add_texts(["a"])
    with pytest.raises(StoreModelError, match="length 256, not 32"):
        reopen(embeddings=Shorter(32)).similarity_search("a")


def test_two_models_that_begin_at_once_do_not_mix(reopen: Reopen) -> None:
    one, other = reopen(), reopen(embeddings=HashEmbeddings(identity="other"))
    one.add_texts(["a"])
    with pytest.raises(StoreModelError):
        other.add_texts(["b"])
    with pytest.raises(StoreModelError):
        other.similarity_search("a")
    assert one.stats().text_vectors == 1


def test_an_unused_store_takes_any_model(reopen: Reopen) -> None:
    assert reopen().similarity_search("a") == []
    reopen(embeddings=HashEmbeddings(identity="other")).add_texts(["a"])


def test_a_model_is_named_after_its_class_and_model() -> None:
    from caslie_tools.store.vectors import identity_of

    class Plain(HashEmbeddings):
        identity = None  # type: ignore[assignment] # has none of its own

    class Named(Plain):
        model = "text-embedding-9"
        api_key = "sk-secret"

    assert identity_of(Plain()) == "Plain"
    assert identity_of(Named()) == "Named(text-embedding-9)"
    assert identity_of(HashEmbeddings()) == "hash-embeddings-256"


# --- several writers --------------------------------------------------------------------------------------------------


def test_a_busy_store(reopen: Reopen, path: Path) -> None:
    store = reopen(busy_timeout_seconds=0.05)
    store.add_texts(["a"], ids=["a"])
    writer = sqlite3.connect(path / "store.sqlite", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    for write in (
        lambda: store.add_texts(["b"]),
        lambda: store.put_products([shown(Product(id="1"))]),
        lambda: store.put_captions([caption("a" * 64, "x")]),
        lambda: store.put_observation("a" * 64, "eye", {}),
        lambda: store.delete(["a"]),
        lambda: store.delete_products(["a"]),
    ):
        with pytest.raises(StoreBusyError, match=r"another writer \(waited 0.05 s\)"):
            write()
    # Readers do not wait.
    assert store.similarity_search("a", k=9)[0].id == "a"
    assert reopen(busy_timeout_seconds=0.05).product_ids() == []
    writer.execute("ROLLBACK")
    writer.close()
    store.add_texts(["b"])


def test_a_store_locked_altogether_cannot_be_opened(reopen: Reopen, path: Path) -> None:
    path.mkdir()
    owner = sqlite3.connect(path / "store.sqlite", isolation_level=None)
    owner.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreBusyError):
        reopen(busy_timeout_seconds=0.05)
    owner.execute("ROLLBACK")
    owner.close()
    reopen()


def test_a_thread_waits_its_turn(reopen: Reopen) -> None:
    store = reopen(busy_timeout_seconds=0.05)
    store.add_texts(["a"])
    with store._database.write():
        failed: list[BaseException] = []

        def write() -> None:
            try:
                store.add_texts(["b"])
            except StoreBusyError as error:
                failed.append(error)

        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert len(failed) == 1


def test_many_threads_at_once(store: CaptionStore) -> None:
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(10):
                name = f"{number}-{step}"
                store.add_texts([f"document {name}"], [{"owner": number}], ids=[name])
                assert store.similarity_search(f"document {name}", k=1, filter={"owner": number}) != []
                store.put_products([shown(Product(id=name, title=name, price=number))])
                assert name in {hit.product.id for hit in store.search_products(name, k=20, where={"price": number})}
        except BaseException as error:  # noqa: BLE001 (for the main thread to raise)
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert store.stats().text_vectors == 160
