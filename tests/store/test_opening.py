"""Opening a store: missing, damaged and foreign stores, other models, and concurrent writers."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from caslie_tools.domain import Product
from caslie_tools.exceptions import (
    ModelError,
    StoreBusyError,
    StoreError,
    StoreModelError,
    StoreNotFoundError,
    StoreVersionError,
)
from caslie_tools.store import CaptionStore
from caslie_tools.store.schema import SCHEMA, SCHEMA_VERSION
from tests.doubles import HashEmbeddings, HashPictures
from tests.store.items import caption, picture, put_kept, shown
from tests.time_limits import HANG_SECONDS

Reopen = Callable[..., CaptionStore]


def test_a_new_store_is_empty(store: CaptionStore, path: Path) -> None:
    stats = store.stats()
    assert (stats.products, stats.images, stats.captions, stats.documents, stats.text_vectors) == (0, 0, 0, 0, 0)
    assert (stats.text_model, stats.picture_model) == (None, None)
    assert stats.schema_version == SCHEMA_VERSION


def test_a_store_takes_no_space_before_its_first_write(store: CaptionStore, path: Path) -> None:
    assert store.stats().bytes == 0
    assert store.similarity_search("a") == []
    store.checkpoint()
    assert not path.exists()
    store.add_texts(["a"])
    assert store.stats().bytes == sum(file.stat().st_size for file in path.iterdir()) > 0


def test_the_first_write_of_another_process_is_seen(reopen: Reopen) -> None:
    waiting, other = reopen(), reopen()
    assert waiting.similarity_search("a") == []
    other.add_texts(["a"])
    assert [document.page_content for document in waiting.similarity_search("a")] == ["a"]
    waiting.add_texts(["b"])
    assert other.stats().documents == 2


class FailingEmbeddings(HashEmbeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise ModelError("the model does not answer")


def test_a_write_that_fails_before_it_starts_creates_no_store(reopen: Reopen, path: Path) -> None:
    store = reopen(embeddings=FailingEmbeddings())
    with pytest.raises(ModelError):
        store.put_products([shown(Product(id="1"))])
    store.close()
    assert not path.exists()


def test_stats_count_all_items(store: CaptionStore) -> None:
    red = picture("red")
    store.put_products([shown(Product(id="1"), red)])
    store.put_captions([caption(red, "red")])
    store.put_observation(red.sha256, "model", {})
    store.add_texts(["a", "b"])
    stats = store.stats()
    assert (stats.products, stats.images, stats.captions, stats.documents, stats.observations) == (1, 1, 1, 2, 1)
    assert (stats.text_vectors, stats.picture_vectors) == (4, 1)
    assert (stats.text_model, stats.picture_model) == ("hash-embeddings-256", "colour-histogram")


def test_a_missing_store(path: Path, reopen: Reopen) -> None:
    with pytest.raises(StoreNotFoundError, match="index a catalogue"):
        reopen(create=False)
    assert not path.exists()


@pytest.mark.parametrize("left", [b"", None], ids=["an empty file", "a log without tables"])
def test_an_interrupted_creation_is_completed(path: Path, reopen: Reopen, left: bytes | None) -> None:
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


def test_a_path_that_is_not_a_directory(path: Path, reopen: Reopen) -> None:
    path.write_text("a file")
    with pytest.raises(StoreError, match="cannot create a store"):
        reopen()


def test_a_damaged_database(path: Path, reopen: Reopen) -> None:
    path.mkdir()
    (path / "store.sqlite").write_bytes(b"no database at all" * 1_000)
    with pytest.raises(StoreError, match="move it away"):
        reopen()


def test_a_database_of_another_program(path: Path, reopen: Reopen) -> None:
    path.mkdir()
    with sqlite3.connect(path / "store.sqlite") as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    with pytest.raises(StoreError, match="another program"):
        reopen()
    assert {file.name for file in path.iterdir()} == {"store.sqlite"}


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION + 1])
def test_a_store_of_another_version(path: Path, reopen: Reopen, version: int) -> None:
    with reopen() as store:
        store.add_texts(["a"])
    with sqlite3.connect(path / "store.sqlite") as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    with pytest.raises(StoreVersionError, match=f"has format {version}, .* reads format {SCHEMA_VERSION}"):
        reopen()


def test_a_store_in_format_1_is_migrated(path: Path) -> None:
    path.mkdir()
    with closing(sqlite3.connect(path / "store.sqlite")) as connection:
        connection.executescript((Path(__file__).parent / "format_1.sql").read_text(encoding="utf-8"))
    for _ in range(2):
        with CaptionStore.open(path, HashEmbeddings(8), create=False) as store:
            assert store.stats().schema_version == SCHEMA_VERSION
            assert [hit.product.id for hit in store.search_products("mug", where="price < 10")] == ["mug"]
            general, asked = sorted(store.captions("mug"), key=lambda found: found.text)
            assert (general.text, asked.text) == ("a red mug", "a whale")
            found = {document.id for document in store.similarity_search("whale", k=9)}
            assert found == {"product:mug", f"caption:{general.key}", "note"}  # nobody knows whether a jury kept it
    with CaptionStore.open(path, HashEmbeddings(8)) as store:
        put_kept(store, [asked])
        assert f"caption:{asked.key}" in {document.id for document in store.similarity_search("whale", k=9)}
        store.captioners = ("another",)
        found = {document.id for document in store.similarity_search("whale", k=9)}
        assert found == {"product:mug", "note"}
    with closing(sqlite3.connect(path / "store.sqlite")) as migrated, closing(sqlite3.connect(":memory:")) as new:
        new.executescript(SCHEMA)
        assert _columns(migrated) == _columns(new)


def _columns(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Returns the names of the tables and indexes with their columns, in no particular order."""
    names = connection.execute("SELECT type, name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'").fetchall()
    return {
        name: sorted(row[1 if kind == "table" else 2] for row in connection.execute(f"PRAGMA {kind}_info({name})"))
        for kind, name in names
        if kind in ("table", "index")
    }


def test_a_closed_store_cannot_be_used(store: CaptionStore) -> None:
    store.add_texts(["a"])
    store.close()
    store.close()
    for use in (store.stats, store.product_ids, lambda: store.add_texts(["a"]), lambda: store.similarity_search("a")):
        with pytest.raises(StoreError, match="is closed"):
            use()


def test_a_temporary_store_is_removed() -> None:
    with CaptionStore.in_memory(HashEmbeddings()) as store:
        store.add_texts(["a"])
        assert store.path.exists()
    assert not store.path.exists()
    path = CaptionStore.from_texts(["a"], HashEmbeddings()).path
    assert not path.exists()  # the store object is no longer referenced


def test_from_texts_can_create_a_store_in_a_directory(path: Path) -> None:
    with CaptionStore.from_texts(["a"], HashEmbeddings(), path=path, ids=["1"]):
        pass
    with CaptionStore.open(str(path), HashEmbeddings(), create=False) as store:
        assert store.get_by_ids(["1"])[0].page_content == "a"


# --- models -----------------------------------------------------------------------------------------------------------


class SameIdentity(HashEmbeddings):
    """Has the identity of another model and returns vectors of the same length."""

    @property
    def identity(self) -> str:
        return HashEmbeddings().identity

    def embed_query(self, text: str) -> list[float]:
        return super().embed_query(f"other {text}")


def test_opening_and_listing_do_not_call_a_model(reopen: Reopen) -> None:
    with reopen() as store:
        store.put_products([shown(Product(id="1"), picture("red"))])
    embeddings, pictures = HashEmbeddings(), HashPictures()
    store = reopen(embeddings=embeddings, image_embeddings=pictures)
    assert store.product_ids("price > 5") == []
    assert store.get_product("1").id == "1"
    assert store.captions("1") == []
    store.stats()
    assert embeddings.texts == []
    assert pictures.embedded == []


def test_another_model_is_refused_when_the_store_is_opened(reopen: Reopen) -> None:
    with reopen() as store:
        store.put_products([shown(Product(id="1"), picture("red"))])
    with pytest.raises(StoreModelError, match=r"with 'hash-embeddings-256', not with 'other-256'"):
        reopen(embeddings=HashEmbeddings(identity="other"))
    with pytest.raises(StoreModelError, match="picture vectors"):
        reopen(image_embeddings=HashPictures(identity="other"))
    reopen(image_embeddings=None)


def test_another_model_with_the_same_identity_is_refused_at_its_first_use(reopen: Reopen) -> None:
    with reopen() as store:
        store.add_texts(["a"])
    uses: list[Callable[[CaptionStore], object]] = [
        lambda store: store.similarity_search("a"),
        lambda store: store.search_products("a"),
        lambda store: store.add_texts(["b"]),
        lambda store: store.put_products([shown(Product(id="1"))]),
    ]
    for use in uses:
        with pytest.raises(StoreModelError, match="another model of the name 'hash-embeddings-256'"):
            use(reopen(embeddings=SameIdentity()))
    assert reopen().stats().text_vectors == 1


def test_a_model_with_vectors_of_another_length_is_refused(reopen: Reopen) -> None:
    class Shorter(HashEmbeddings):
        identity = HashEmbeddings().identity  # an attribute instead of a property

    with reopen() as store:
        store.add_texts(["a"])
    with pytest.raises(StoreModelError, match="length 256, not 32"):
        reopen(embeddings=Shorter(32)).similarity_search("a")


def test_the_second_of_two_models_in_an_empty_store_is_refused(reopen: Reopen) -> None:
    one, other = reopen(), reopen(embeddings=HashEmbeddings(identity="other"))
    one.add_texts(["a"])
    with pytest.raises(StoreModelError):
        other.add_texts(["b"])
    with pytest.raises(StoreModelError):
        other.similarity_search("a")
    assert one.stats().text_vectors == 1


def test_an_empty_store_accepts_any_model(reopen: Reopen) -> None:
    assert reopen().similarity_search("a") == []
    reopen(embeddings=HashEmbeddings(identity="other")).add_texts(["a"])


def test_the_identity_of_a_model_is_its_class_and_model_name() -> None:
    from caslie_tools.store.spaces import identity_of

    class Plain(HashEmbeddings):
        identity = None  # type: ignore[assignment] # no identity

    class Named(Plain):
        model = "text-embedding-9"
        api_key = "sk-secret"

    assert identity_of(Plain()) == "Plain"
    assert identity_of(Named()) == "Named(text-embedding-9)"
    assert identity_of(HashEmbeddings()) == "hash-embeddings-256"


# --- several writers --------------------------------------------------------------------------------------------------


def test_a_locked_store_can_be_read_but_not_written(reopen: Reopen, path: Path) -> None:
    store = reopen(busy_timeout_seconds=0.05)
    store.add_texts(["a"], ids=["a"])
    writer = sqlite3.connect(path / "store.sqlite", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    for write in (
        lambda: store.add_texts(["b"]),
        lambda: store.put_products([shown(Product(id="1"))]),
        lambda: store.put_captions([caption("a" * 64, "x")]),
        lambda: store.put_observation("a" * 64, "model", {}),
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


def test_a_store_with_an_exclusive_lock_cannot_be_opened(reopen: Reopen, path: Path) -> None:
    path.mkdir()
    owner = sqlite3.connect(path / "store.sqlite", isolation_level=None)
    owner.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreBusyError):
        reopen(busy_timeout_seconds=0.05)
    owner.execute("ROLLBACK")
    owner.close()
    reopen()


def test_a_thread_waits_for_another_thread_that_writes(reopen: Reopen) -> None:
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


def test_threads_can_write_and_search_concurrently(reopen: Reopen) -> None:
    store = reopen(busy_timeout_seconds=HANG_SECONDS)
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
