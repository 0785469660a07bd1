"""Images, products and captions for tests of the store."""

from pathlib import Path

from caslie_tools.domain import Caption, ImageRef, Product, QueryContext, caption_key
from caslie_tools.images.loading import LoadedImage
from tests.doubles import draw_picture, load_picture


def picture(colour: str, text: str = "") -> LoadedImage:
    """Returns an image of one colour with a text."""
    return load_picture(draw_picture(text, colour))


def shown(product: Product, *images: LoadedImage | None) -> tuple[Product, list[LoadedImage | None]]:
    """Returns a product with one image reference for each image, and the images."""
    references = tuple(ImageRef(path=Path(f"{product.id}-{position}.png")) for position in range(len(images)))
    return product.model_copy(update={"images": references}), list(images)


def caption(image: LoadedImage | str, text: str, focus: str = "", **changes: str) -> Caption:
    """Returns a caption of an image."""
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
