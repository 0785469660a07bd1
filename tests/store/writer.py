"""A process that writes products into a store until it is killed or done, and says each time what is stored.

Usage: ``python -m tests.store.writer DIRECTORY PREFIX COUNT``.
"""

import sys
from collections.abc import Iterator, Sequence

from caslie_tools.domain import Product
from caslie_tools.images.loading import LoadedImage
from caslie_tools.store import CaptionStore
from tests.doubles import HashEmbeddings, HashPictures
from tests.store.conftest import caption, picture, shown


def product(name: str, revision: int, images: Sequence[LoadedImage]) -> tuple[Product, list[LoadedImage | None]]:
    """A product of which every part tells the revision."""
    described = Product(id=name, title=f"{name} revision{revision}", price=revision, attributes={"revision": revision})
    return shown(described, *images, None)


def pictures(name: str, revision: int) -> tuple[LoadedImage, LoadedImage]:
    """One picture that all share, one of its own."""
    return picture("grey"), picture("red", f"{name}.{revision}")


def steps(prefix: str, count: int) -> Iterator[tuple[str, int]]:
    """Names with revisions: a few products, written again and again."""
    return ((f"{prefix}{step % 7}", step) for step in range(count))


def main(directory: str, prefix: str, count: str) -> None:
    with CaptionStore.open(directory, HashEmbeddings(16), pictures=HashPictures(), busy_timeout_seconds=60) as store:
        for name, revision in steps(prefix, int(count)):
            images = pictures(name, revision)
            store.put_products([product(name, revision, images)])
            print("product", name, revision, flush=True)  # noqa: T201 (this is how it acknowledges)
            store.put_captions([caption(images[1], f"caption of {name} {revision}")])
            print("caption", name, revision, flush=True)  # noqa: T201 (as above)
            if revision % 5 == 0:
                store.checkpoint()


if __name__ == "__main__":
    main(*sys.argv[1:])
