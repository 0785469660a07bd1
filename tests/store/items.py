"""Images, products and captions for tests of the store."""

from collections.abc import Sequence
from pathlib import Path

from caslie_tools.domain import GENERAL_TASK, Caption, ImageRef, Product, QueryContext, caption_key
from caslie_tools.images.loading import LoadedImage
from caslie_tools.store import CaptionStore
from tests.doubles import draw_picture, load_picture


def picture(colour: str, text: str = "") -> LoadedImage:
    """Returns an image of one colour with a text."""
    return load_picture(draw_picture(text, colour))


def shown(product: Product, *images: LoadedImage | None) -> tuple[Product, list[LoadedImage | None]]:
    """Returns a product with one image reference for each image, and the images."""
    references = tuple(ImageRef(path=Path(f"{product.id}-{position}.png")) for position in range(len(images)))
    return product.model_copy(update={"images": references}), list(images)


def caption(image: LoadedImage | str, text: str, focus: str = "", **changes: str) -> Caption:
    """Returns a caption of an image: one for a question, or without a question a general one."""
    sha256 = image if isinstance(image, str) else image.sha256
    context = QueryContext(task="product_qa" if focus else GENERAL_TASK, focus=focus)
    captioner, prompt = changes.get("captioner", "camera"), changes.get("prompt_version", "1")
    return Caption(
        key=caption_key(sha256, context, captioner, prompt),
        text=text,
        image=sha256,
        context=context,
        captioner=captioner,
        prompt_version=prompt,
    )


def put_kept(store: CaptionStore, captions: Sequence[Caption]) -> None:
    """Stores captions that a jury has kept."""
    store.put_captions(captions, verdicts={item.key: True for item in captions})
