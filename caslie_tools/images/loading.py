"""Loading an image: from a reference to validated, decoded pixels.

Images are untrusted input. The size of the encoded image is limited before it is read, and the number of pixels before
they are decoded. The whole image is decoded when it is loaded, so that a broken file fails here and not inside a model.
"""

import asyncio
import base64
import contextlib
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from PIL import Image
from pydantic import Field

from caslie_tools._concurrency import run_sync
from caslie_tools.domain import FrozenModel, ImageRef
from caslie_tools.exceptions import ImageError, InputError, StoreError
from caslie_tools.images.decoding import decode
from caslie_tools.images.fetching import fetch
from caslie_tools.images.reading import is_data_url, read_bytes

_LOSSY: Final = {"image/jpeg", "image/webp", "image/avif"}
_MAX_CACHED_PIXELS: Final = 12_000_000  # 4 bytes each in Pillow; a larger image is decoded again when it is needed


class ImageLimits(FrozenModel):
    """Limits on the size and the origin of an image."""

    max_bytes: int = Field(default=20 * 1024 * 1024, gt=0)
    """Maximum size of the encoded image in bytes."""
    max_pixels: int = Field(default=50_000_000, gt=0)
    """Maximum of width times height."""
    timeout_seconds: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    """Deadline of a whole fetch in seconds, including redirects and body."""
    allow_private_addresses: bool = False
    """Whether a URL may lead to a private, loopback or link-local address."""
    max_redirects: int = Field(default=5, ge=0)
    """Maximum number of redirects of a fetch."""


@dataclass(frozen=True)
class LoadedImage:
    """An image that was decoded without error."""

    data: bytes = field(repr=False)
    """The encoded image, unchanged."""
    sha256: str
    """SHA-256 (hex) of ``data``."""
    media_type: str
    width: int
    """In pixels, after the rotation given by the EXIF metadata."""
    height: int
    """In pixels, after the rotation given by the EXIF metadata."""
    decoded: Image.Image | None = field(default=None, repr=False, compare=False)
    """The normalised pixels, or ``None`` for a large image. Read the pixels with :meth:`rgb`."""

    def rgb(self) -> Image.Image:
        """Returns the normalised pixels: upright, first frame, transparency on white, mode RGB, at most 16 megapixels.

        The caller owns the returned image and may change it.

        Raises:
            ImageError: ``data`` cannot be decoded. This never happens for an image from an :class:`ImageLoader`.
        """
        return self.decoded.copy() if self.decoded is not None else decode(self.data, label=self.sha256[:12]).image

    def reduced(self, max_side: int) -> Image.Image:
        """Returns the normalised pixels, scaled down so that no side is longer than ``max_side``.

        A smaller image keeps its size.

        Args:
            max_side: Maximum length of a side in pixels.

        Raises:
            InputError: ``max_side`` is not positive.
        """
        if max_side < 1:
            raise InputError(f"max_side is {max_side}; it must be at least 1 pixel")
        image = self.rgb()
        image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
        return image

    def data_url(self, max_side: int | None = None) -> str:
        """Returns the normalised pixels as a data URL for vision-language models, without the original metadata.

        Args:
            max_side: Maximum length of a side in pixels. A larger image is scaled down, a smaller image keeps its
                size.

        Raises:
            InputError: ``max_side`` is not positive.
        """
        image = self.rgb() if max_side is None else self.reduced(max_side)
        encoded = io.BytesIO()
        if self.media_type in _LOSSY:
            media_type = "image/jpeg"
            image.save(encoded, "JPEG", quality=90)
        else:  # PNG keeps the sharp edges of drawings and screenshots
            media_type = "image/png"
            image.save(encoded, "PNG")
        return f"data:{media_type};base64,{base64.b64encode(encoded.getvalue()).decode('ascii')}"


class ImageLoader:
    """Loads images from files, bytes, data URLs and the web, within limits.

    Args:
        limits: Limits on size and origin. By default, those of :class:`ImageLimits`.
        resolve: Returns the location of an image in a store. Without it, such an image cannot be loaded.
    """

    def __init__(
        self, limits: ImageLimits | None = None, *, resolve: Callable[[ImageRef], ImageRef] | None = None
    ) -> None:
        self.limits = limits or ImageLimits()
        self._resolve = resolve

    async def load(self, ref: ImageRef) -> LoadedImage:
        """Reads, validates and decodes one image. Files and pixels are processed outside the event loop.

        Raises:
            ImageError: The image is missing, broken, over a limit or in an unsupported format.
            ImageFetchError: Its URL cannot be fetched, or must not be.
        """
        with _typed_errors(ref):
            return await self._load(ref)

    def load_sync(self, ref: ImageRef) -> LoadedImage:
        """Loads one image from synchronous code. See :meth:`load`."""
        return run_sync(self.load(ref))

    def digest(self, ref: ImageRef) -> str:
        """Returns the SHA-256 (hex) of an image's bytes without decoding it, for example to detect a change.

        Args:
            ref: Any reference except an ``http(s)`` URL.

        Raises:
            ImageError: The image is missing, cannot be read or is over a limit.
        """
        with _typed_errors(ref):
            return hashlib.sha256(read_bytes(ref, self.limits.max_bytes)).hexdigest()

    async def _load(self, ref: ImageRef) -> LoadedImage:
        if ref.stored is not None and self._resolve is not None:
            ref = await asyncio.to_thread(self._resolve, ref)
        if ref.url is not None and not is_data_url(ref.url):
            data = await fetch(
                ref.url,
                max_bytes=self.limits.max_bytes,
                timeout_seconds=self.limits.timeout_seconds,
                allow_private_addresses=self.limits.allow_private_addresses,
                max_redirects=self.limits.max_redirects,
            )
            return await asyncio.to_thread(self._decode, data, ref.label)
        return await asyncio.to_thread(lambda: self._decode(read_bytes(ref, self.limits.max_bytes), ref.label))

    def _decode(self, data: bytes, label: str) -> LoadedImage:
        decoded = decode(data, label=label, max_pixels=self.limits.max_pixels)
        pixels = decoded.image.width * decoded.image.height
        return LoadedImage(
            data=data,
            sha256=hashlib.sha256(data).hexdigest(),
            media_type=decoded.media_type,
            width=decoded.size[0],
            height=decoded.size[1],
            decoded=decoded.image if pixels <= _MAX_CACHED_PIXELS else None,
        )


@contextlib.contextmanager
def _typed_errors(ref: ImageRef) -> Iterator[None]:
    """Turns any error of reading an image into an ``ImageError``: one bad image must not end a run over many."""
    try:
        yield
    except (ImageError, StoreError):
        raise
    except Exception as error:
        raise ImageError(f"image {ref.label!r} cannot be read: unexpected {type(error).__name__}") from error
