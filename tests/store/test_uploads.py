import hashlib
import os
import time
from pathlib import Path

import pytest

from caslie_tools.domain import ImageRef
from caslie_tools.exceptions import ImageError, StoreError
from caslie_tools.images.loading import ImageLoader
from caslie_tools.store import CaptionStore
from caslie_tools.store.uploads import MAX_SECONDS, Uploads
from tests.doubles import light_products


def kept(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_equal_images_are_kept_once_under_a_key_that_tells_nothing(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path / "uploads")
    ref = uploads.put(b"image")
    assert uploads.put(b"image") == ref
    assert kept(tmp_path / "uploads") == {digest(b"image")}
    assert ref.label == "5 bytes"
    found = uploads.find(ref.stored or "")
    assert found is not None
    assert found.path is not None
    assert found.path.read_bytes() == b"image"


def test_old_ones_are_removed_and_then_the_ones_that_were_used_longest_ago(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path, max_total_bytes=12)
    for number, data in enumerate((b"1111", b"2222", b"old!")):
        uploads.put(data)
        age(tmp_path / digest(data), 100 - number if data != b"old!" else MAX_SECONDS + 60)
    uploads.find(f"upload/{digest(b'1111')}")  # a use, after which 2222 is the oldest
    uploads.put(b"33333")
    assert kept(tmp_path) == {digest(b"1111"), digest(b"33333")}
    uploads.put(b"larger than the limit")
    assert kept(tmp_path) == {digest(b"larger than the limit")}


def test_one_that_is_gone_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"not kept any more \(after 7 days\); send it again"):
        Uploads(tmp_path).find(f"upload/{digest(b'1')}")


@pytest.mark.parametrize("key", ["", "upload/", "upload/../../etc/passwd", "upload/" + "A" * 64, "product/0/mug"])
def test_any_other_key_is_none_of_an_upload(tmp_path: Path, key: str) -> None:
    assert Uploads(tmp_path).find(key) is None


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "uploads").write_text("a file")
    with pytest.raises(StoreError, match="cannot keep an uploaded image"):
        Uploads(tmp_path / "uploads").put(b"image")


class TestResolving:
    async def test_an_image_of_a_product_is_found_by_its_position(self, store: CaptionStore, tmp_path: Path) -> None:
        jacket = next(product for product in light_products(tmp_path) if product.id == "jacket")
        store.put_products([(jacket, [None, None])])
        for position, ref in enumerate(jacket.images):
            stored = jacket.stored_image(position)
            assert stored.label == ref.label
            assert store.resolve_image(stored) == ref
        loaded = await ImageLoader(resolve=store.resolve_image).load(jacket.stored_image(1))
        assert loaded.sha256 == (await ImageLoader().load(jacket.images[1])).sha256

    def test_another_reference_stays_as_it_is(self, store: CaptionStore) -> None:
        ref = ImageRef(path=Path("mug.png"))
        assert store.resolve_image(ref) is ref

    @pytest.mark.parametrize("key", ["product/0/mug", "product/9/jacket", "product/x/jacket", "nonsense", "", "//"])
    def test_one_that_the_store_does_not_have(self, store: CaptionStore, tmp_path: Path, key: str) -> None:
        jacket = next(product for product in light_products(tmp_path) if product.id == "jacket")
        store.put_products([(jacket, [None, None])])
        with pytest.raises(ImageError, match="is not in the store any more"):
            store.resolve_image(ImageRef(stored=key))

    async def test_a_loader_without_a_store(self) -> None:
        with pytest.raises(ImageError, match="is in a store; load it with the loader of a pipeline"):
            await ImageLoader().load(ImageRef(stored="product/0/mug"))
