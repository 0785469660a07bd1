"""Killed processes and concurrent processes: acknowledged writes are complete, and no other write is incomplete."""

import itertools
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from caslie_tools.domain import Product
from caslie_tools.exceptions import ModelError, StoreModelError
from caslie_tools.store import CaptionStore
from tests.doubles import HashEmbeddings, HashPictures
from tests.paths import ROOT
from tests.store.items import shown
from tests.store.writer_process import pictures, product
from tests.time_limits import HANG_SECONDS


def _start(path: Path, prefix: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.store.writer_process", str(path), prefix, str(count)]
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _open(path: Path) -> CaptionStore:
    return CaptionStore.open(
        path, HashEmbeddings(16), image_embeddings=HashPictures(), busy_timeout_seconds=HANG_SECONDS
    )


def _check_consistent(store: CaptionStore, path: Path) -> None:
    with closing(sqlite3.connect(path / "store.sqlite")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        count = "SELECT count(*) FROM entries WHERE kind = '{}' AND key NOT IN (SELECT {} FROM {})"
        for kind, column, table in [
            ("product", "id", "products"),
            ("image", "sha256", "images"),
            ("caption", "key", "captions"),
        ]:
            assert connection.execute(count.format(kind, column, table)).fetchone() == (0,)
    shown_images = set()
    for name in store.product_ids():
        stored = store.get_product(name)
        revision = int(stored.attributes["revision"])
        expected, images = product(name, revision, pictures(name, revision))
        assert stored == expected
        hashes = [image.sha256 if image is not None else None for image in images]
        assert store.images_of(name) == hashes
        assert store.product_ids({"revision": revision, "id": name}) == [name]
        assert store.search_products(stored.text, k=1)[0].product == stored
        own = images[1]
        assert own is not None
        assert store.nearest_pictures(own, k=1, where={"id": name})[0].products == (stored,)
        assert {found.text for found in store.captions(image=own.sha256)} <= {f"caption of {name} {revision}"}
        shown_images |= {image for image in hashes if image is not None}
    stats = store.stats()
    assert stats.images == stats.picture_vectors == len(shown_images)
    assert stats.text_vectors == stats.products + stats.captions


def test_a_killed_writer_loses_no_acknowledged_write(tmp_path: Path) -> None:
    path = tmp_path / "store"
    chance = random.Random(20_240)  # noqa: S311 (a fixed seed)
    latest: dict[str, int] = {}
    captioned: dict[str, int] = {}
    for kill in range(5):
        with _start(path, f"round{kill}-", 100_000) as writer:
            assert writer.stdout is not None
            for _ in range(chance.randint(1, 40)):
                kind, name, written = writer.stdout.readline().split()
                (latest if kind == "product" else captioned)[name] = int(written)
            writer.kill()
        assert writer.returncode == -9
        with _open(path) as store:
            _check_consistent(store, path)
            # At most one more write can be committed without having been acknowledged.
            for name, revision in latest.items():
                assert store.get_product(name).attributes["revision"] in (revision, revision + 7)
            for name, revision in captioned.items():
                if store.get_product(name).attributes["revision"] == revision:
                    assert [found.text for found in store.captions(image=pictures(name, revision)[1].sha256)] == [
                        f"caption of {name} {revision}"
                    ]
            assert set(latest) <= set(store.product_ids())
            assert store.stats().products <= len(latest) + kill + 1


def test_processes_can_write_and_read_concurrently(tmp_path: Path) -> None:
    path = tmp_path / "store"
    writers = [_start(path, prefix, 30) for prefix in ("left", "right")]  # both try to create the store
    with _open(path) as store:

        def write_and_search(step: int) -> set[str]:
            store.put_products([shown(Product(id=f"here{step % 3}", title=f"here {step}", attributes={"revision": 0}))])
            hits = store.search_products("revision5", k=30)
            found = {hit.product.id for hit in hits}
            assert len(found) == len(hits)
            return found

        step = itertools.count()
        while not write_and_search(next(step)) & {f"left{number}" for number in range(7)}:
            assert all(writer.poll() is None for writer in writers)
        for writer in writers:  # they wait in the middle of their work
            assert writer.stdin is not None
            writer.stdin.write("\n")
            writer.stdin.flush()
        while any(writer.poll() is None for writer in writers):
            write_and_search(next(step))
        for writer in writers:
            output, _ = writer.communicate()
            assert writer.returncode == 0, output
            assert [line.split()[0] for line in output.splitlines()] == ["product", "caption"] * 30
        store.delete_products([f"here{number}" for number in range(3)])
        _check_consistent(store, path)
        names = [f"{prefix}{number}" for prefix in ("left", "right") for number in range(7)]
        assert store.product_ids() == names
        # Each product has its last revision, after 30 steps over 7 names.
        last = {f"{prefix}{step % 7}": step for prefix in ("left", "right") for step in range(30)}
        assert {name: store.get_product(name).attributes["revision"] for name in names} == last


class _Failing(HashPictures):
    def embed_images(self, images: object) -> list[list[float]]:
        raise MemoryError("no more")


class _Shorter(HashPictures):
    """Returns vectors of another length than the stored vectors, which is detected in the transaction."""

    def embed_images(self, images: object) -> list[list[float]]:
        return [[1.0, 0.0]]


@pytest.mark.parametrize(("pictures_model", "error"), [(_Failing, ModelError), (_Shorter, StoreModelError)])
def test_a_write_that_fails_is_rolled_back(
    tmp_path: Path, pictures_model: type[HashPictures], error: type[Exception]
) -> None:
    path = tmp_path / "store"
    with _open(path) as store:
        store.put_products([product("kept", 1, pictures("kept", 1))])
        before = store.stats().model_copy(update={"bytes": 0})
    with CaptionStore.open(path, HashEmbeddings(16), image_embeddings=pictures_model()) as store:
        with pytest.raises(error):
            store.put_products([shown(Product(id="new"), pictures("new", 1)[1])])
        assert store.stats().model_copy(update={"bytes": 0}) == before
        assert store.product_ids() == ["kept"]
