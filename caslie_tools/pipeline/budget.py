"""The budget of one request: what exceeds it is refused before anything is loaded."""

from collections.abc import Iterable
from typing import Any, Final

from caslie_tools.domain import ImageRef
from caslie_tools.exceptions import InputError
from caslie_tools.images.reading import is_data_url
from caslie_tools.settings import Settings

MAX_QUESTION_CHARACTERS: Final = 4000
MAX_RECORD_CHARACTERS: Final = 1_000_000
"""Characters of all texts of an instance. The longest of MMECInstruct have some 50,000."""


def check_images(refs: Iterable[ImageRef | None], settings: Settings) -> None:
    """Checks the images that a request brings: the size of those that are sent as bytes, and that paths are allowed.

    Raises:
        InputError: If they are too large together, or if a path is not allowed.
    """
    given = [ref for ref in refs if ref is not None]
    size = sum(map(_inline_bytes, given))
    if size > settings.max_request_bytes:
        raise InputError(
            f"the images of the request have {size:,} bytes, more than {settings.max_request_bytes:,}; send smaller "
            "ones, or raise CASLIE_MAX_REQUEST_BYTES"
        )
    if not settings.allow_local_paths and any(ref.path is not None for ref in given):
        raise InputError(
            "paths of images are not allowed here; send a URL or bytes, or set CASLIE_ALLOW_LOCAL_PATHS=true"
        )


def check_question(question: str, images: int, settings: Settings) -> None:
    """Checks the text of a question, and the number of images that come with it.

    Raises:
        InputError: If the text is empty or too long, or if there are too many images.
    """
    if images > settings.max_images:
        raise InputError(
            f"the question has {images} images, more than {settings.max_images}; send fewer, or raise CASLIE_MAX_IMAGES"
        )
    if not question:
        raise InputError("the question is empty; ask something about a product")
    if len(question) > MAX_QUESTION_CHARACTERS:
        raise InputError(
            f"the question has {len(question)} characters; shorten it to at most {MAX_QUESTION_CHARACTERS}"
        )


def check_record(record: Any) -> None:
    """Checks the size of an instance.

    Raises:
        InputError: If its texts are too long together.
    """
    if (size := _characters(record)) > MAX_RECORD_CHARACTERS:
        raise InputError(f"the instance has {size:,} characters; shorten it to at most {MAX_RECORD_CHARACTERS:,}")


def _inline_bytes(ref: ImageRef) -> int:
    if ref.data is not None:
        return len(ref.data)
    return len(ref.url) * 3 // 4 if ref.url is not None and is_data_url(ref.url) else 0


def _characters(record: Any) -> int:
    """Returns the number of characters of all texts, without the images."""
    total = 0
    waiting = [record]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [*value, *(part for name, part in value.items() if name != "images")]
        elif isinstance(value, list | tuple):
            waiting += value
        elif isinstance(value, str):
            total += len(value)
    return total
