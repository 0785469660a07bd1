"""Draws, loads and stores images for tests of the embedded models."""

import hashlib
import io

from PIL import Image, ImageDraw, ImageFont

from caslie_tools.domain import ImageRef, Product
from caslie_tools.images.loading import ImageLoader, LoadedImage
from caslie_tools.sample import catalogue_path
from caslie_tools.store import CaptionStore


def loaded(image: Image.Image) -> LoadedImage:
    """Encodes an image as PNG and loads it."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return ImageLoader().load_sync(ImageRef(data=file.getvalue()))


def label(*lines: str, colour: str = "#2c66b0", ink: str = "#ffffff", size: int = 320) -> LoadedImage:
    """Draws a coloured box with lines of text on a white background."""
    image = Image.new("RGB", (size, size), "#ffffff")
    draw = ImageDraw.Draw(image)
    draw.rectangle((40, 30, size - 40, size - 30), fill=colour)
    for index, line in enumerate(lines):
        font = ImageFont.load_default(34)
        draw.text((size / 2, 90 + 46 * index), line, fill=ink, font=font, anchor="mm")
    return loaded(image)


def sample_image(name: str) -> LoadedImage:
    """Loads an image of the sample catalogue."""
    return ImageLoader().load_sync(ImageRef(path=catalogue_path().parent / "images" / f"{name}.png"))


def sha(text: str) -> str:
    """Returns the SHA-256 of a text, as the hash of an image that does not exist."""
    return hashlib.sha256(text.encode()).hexdigest()


def put(store: CaptionStore, id_: str, *images: LoadedImage, category: str = "", title: str = "") -> None:
    """Stores a product with its images."""
    refs = tuple(ImageRef(data=image.data) for image in images)
    store.put_products([(Product(id=id_, title=title or id_, category=category, images=refs), list(images))])
