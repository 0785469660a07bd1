"""Names the products that an instance is about, so that the instances of one product can be kept together."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from caslie_tools.data.records import Record
from caslie_tools.domain import ImageRef
from caslie_tools.exceptions import ImageError
from caslie_tools.images.reading import is_data_url, read_bytes
from caslie_tools.tasks import get_task
from caslie_tools.tasks.answers import option_label, option_text
from caslie_tools.tasks.places import Place
from caslie_tools.tasks.product_qa import SHOPPERS_IMAGE

ImageResolver: TypeAlias = Callable[[ImageRef], ImageRef | None]
"""Returns the reference to load for an image, such as a file that was fetched before. ``None`` if there is no image."""

_MAX_PICTURE_BYTES: Final = 64 * 1024 * 1024


def product_names(record: Record, resolve: ImageResolver = lambda ref: ref) -> tuple[str, ...]:
    """Returns a name for each product that an instance is about. Equal products have equal names.

    The name is the product's id, if the data has one. Otherwise it is made from the content of the picture. Without a
    picture, it is made from the text about the product. An instance that chooses among products is about the right one.

    Args:
        record: The instance. Picture files are read, unless the data has ids.
        resolve: Finds the reference to load for an image.
    """
    places = get_task(record.task).places(record.instance)
    offered = [number for number, place in enumerate(places) if place.target.part == "options"]
    subjects = [number for number in offered if _is_right(record, places[number])] if offered else range(len(places))
    return tuple(dict.fromkeys(name for number in subjects for name in _names(record, places, number, resolve)))


def _is_right(record: Record, place: Place) -> bool:
    return option_label(record.instance.options[int(place.target.path[0])]) == record.output


def _names(record: Record, places: Sequence[Place], number: int, resolve: ImageResolver) -> Sequence[str]:
    images = [image for image in record.instance.images if image.place == number]
    listed = () if record.instance.images else record.products
    ids = [image.product for image in images] or (listed if len(places) == 1 else listed[number : number + 1])
    if known := [product for product in ids if product] or [*_id_in_text(record, places[number])]:
        return known
    if pictures := [f"picture:{name}" for image in images if image.ref and (name := _picture(image.ref, resolve))]:
        return pictures
    text = " ".join(option_text(places[number].context.known).casefold().split())
    return [f"text:{_digest(text.encode('utf-8', 'replace'))}"] if text else []


def _id_in_text(record: Record, place: Place) -> Iterator[str]:
    """Yields the id of a product that the input describes by its fields."""
    item: Any = record.instance.input if place.target.part == "input" else ()
    for step in place.target.path[:-1] if item else ():
        item = item[step]
    if isinstance(item, Mapping) and item.get("id") not in (None, "", SHOPPERS_IMAGE):
        yield str(item["id"])


def _picture(ref: ImageRef, resolve: ImageResolver) -> str:
    """Returns a name for a picture, from its content or its URL. Empty if the picture is missing."""
    found = resolve(ref) or ref
    if found.url is not None and not is_data_url(found.url):
        return _digest(found.url.encode("utf-8", "replace"))
    try:
        return _digest(read_bytes(found, _MAX_PICTURE_BYTES))
    except ImageError:
        return ""


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
