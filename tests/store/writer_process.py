"""A process that writes products to a store, and prints a line after each write that was committed.

Usage: ``python -m tests.store.writer_process DIRECTORY PREFIX COUNT``. In the middle, the process waits for a line
or the end of its standard input.
"""

import sys
from collections.abc import Iterator, Sequence

from caslie_tools.domain import Product
from caslie_tools.images.loading import LoadedImage
from caslie_tools.store import CaptionStore
from tests.doubles import HashEmbeddings, HashPictures
from tests.store.items import caption, picture, shown
from tests.time_limits import HANG_SECONDS


def product(name: str, revision: int, images: Sequence[LoadedImage]) -> tuple[Product, list[LoadedImage | None]]:
    """Returns a product with the revision in every part."""
    described = Product(id=name, title=f"{name} revision{revision}", price=revision, attributes={"revision": revision})
    return shown(described, *images, None)


def pictures(name: str, revision: int) -> tuple[LoadedImage, LoadedImage]:
    """Returns an image that all products share, and an image of this product only."""
    return picture("grey"), picture("red", f"{name}.{revision}")


def steps(prefix: str, count: int) -> Iterator[tuple[str, int]]:
    """Yields names and revisions: each of a few products is written repeatedly."""
    return ((f"{prefix}{step % 7}", step) for step in range(count))


def main(directory: str, prefix: str, count: str) -> None:
    with CaptionStore.open(
        directory, HashEmbeddings(16), image_embeddings=HashPictures(), busy_timeout_seconds=HANG_SECONDS
    ) as store:
        for name, revision in steps(prefix, int(count)):
            if revision == int(count) // 2:
                sys.stdin.readline()
            images = pictures(name, revision)
            store.put_products([product(name, revision, images)])
            print("product", name, revision, flush=True)  # noqa: T201 (the acknowledgement of the write)
            store.put_captions([caption(images[1], f"caption of {name} {revision}")])
            print("caption", name, revision, flush=True)  # noqa: T201 (as above)
            if revision % 5 == 0:
                store.checkpoint()


if __name__ == "__main__":
    main(*sys.argv[1:])
