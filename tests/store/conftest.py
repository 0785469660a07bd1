from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from caslie_tools.domain import Caption, ImageRef, Product, QueryContext, caption_key
from caslie_tools.images.loading import LoadedImage
from caslie_tools.store import CaptionStore
from tests.doubles import HashEmbeddings, HashPictures, draw_picture, load_picture


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def reopen(path: Path) -> Iterator[Callable[..., CaptionStore]]:
    """Opens the one store of a test, again and again if need be; all are closed at the end."""
    opened = []

    def open_store(**options: object) -> CaptionStore:
        arguments = {"embeddings": HashEmbeddings(), "pictures": HashPictures()} | options
        opened.append(CaptionStore.open(path, **arguments))  # type: ignore[arg-type]
        return opened[-1]

    yield open_store
    for store in opened:
        store.close()


@pytest.fixture
def store(reopen: Callable[..., CaptionStore]) -> CaptionStore:
    return reopen()


def picture(colour: str, text: str = "") -> LoadedImage:
    return load_picture(draw_picture(text, colour))


def shown(product: Product, *images: LoadedImage | None) -> tuple[Product, list[LoadedImage | None]]:
    """A product with one reference for each image."""
    references = tuple(ImageRef(path=Path(f"{product.id}-{position}.png")) for position in range(len(images)))
    return product.model_copy(update={"images": references}), list(images)


def caption(image: LoadedImage | str, text: str, focus: str = "", **changes: str) -> Caption:
    sha256 = image if isinstance(image, str) else image.sha256
    context = QueryContext(task="product_qa", focus=focus)
    captioner, prompt = changes.get("captioner", "camera"), changes.get("prompt_version", "1")
    return Caption(
        key=caption_key(sha256, context, captioner, prompt),
        text=text,
        image=sha256,
        context=context,
        captioner=captioner,
        prompt_version=prompt,
    )
