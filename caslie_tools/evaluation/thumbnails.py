"""Small pictures inside a report, so that it needs no other files."""

import base64
import io
from typing import Final

from caslie_tools.domain import ImageRef
from caslie_tools.exceptions import ImageError
from caslie_tools.images.decoding import decode
from caslie_tools.images.loading import ImageLimits
from caslie_tools.images.reading import read_bytes

_MAX_SIDE: Final = 160
_LIMITS: Final = ImageLimits()


def thumbnail(ref: ImageRef) -> str:
    """Returns a small copy of a picture as a ``data:`` URL. Empty for a URL, which is not fetched, or a broken picture.

    Args:
        ref: The picture.
    """
    if ref.url is not None:
        return ""
    try:
        data = read_bytes(ref, _LIMITS.max_bytes)
        pixels = decode(data, label=ref.label, max_pixels=_LIMITS.max_pixels).image
    except ImageError:
        return ""
    pixels.thumbnail((_MAX_SIDE, _MAX_SIDE))
    written = io.BytesIO()
    pixels.save(written, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode('ascii')}"
