"""Pictures: from a reference to checked, decoded pixels.

A picture comes from anywhere, so nothing about it is believed: its size is capped before it is read, its pixels are
counted before they are decoded, only a short list of formats is tried, and all of it is decoded once at load, so that
a broken file fails here and not in the middle of a model.
"""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import io
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import unquote_to_bytes

from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import Field

from caslie_tools._concurrency import run_sync
from caslie_tools.domain import FrozenModel, ImageRef
from caslie_tools.exceptions import ImageError, InputError
from caslie_tools.images.fetching import fetch

MEDIA_TYPES: Final = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
}
"""The formats that are read at all, by Pillow's names: none of them can run a program or name another file."""

_MPO: Final = "MPO"  # what Pillow calls a JPEG that turns out to carry several pictures, as many phones write it
_LOSSY: Final = {"image/jpeg", "image/webp", "image/avif"}
_KEPT_PIXELS: Final = 12_000_000  # 4 bytes each in Pillow; a larger picture is decoded again when it is asked for


class ImageLimits(FrozenModel):
    """How much a picture may cost, and where it may come from."""

    max_bytes: int = Field(default=20 * 1024 * 1024, gt=0)
    """Of the encoded picture."""
    max_pixels: int = Field(default=50_000_000, gt=0)
    """Width times height."""
    timeout_seconds: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    """Deadline of a whole fetch, redirects and body included."""
    allow_private_addresses: bool = False
    """Whether a URL may lead to a private, loopback or link-local address."""
    max_redirects: int = Field(default=5, ge=0)


@dataclass(frozen=True)
class LoadedImage:
    """A picture as it came, and what is known of it."""

    data: bytes = field(repr=False)
    """The encoded picture, byte for byte as it came."""
    sha256: str
    """SHA-256 (hex) of ``data``."""
    media_type: str
    width: int
    """In pixels, after the rotation that EXIF asks for; so is the height."""
    height: int
    decoded: Image.Image | None = field(default=None, repr=False, compare=False)
    """The normalised pixels, where they are kept; read them with :meth:`rgb`."""

    def rgb(self) -> Image.Image:
        """Returns the normalised pixels: upright, first frame, transparency on white, mode RGB.

        The caller owns the answer and may change it.

        Raises:
            ImageError: ``data`` is not a sound image; never for an image from an :class:`ImageLoader`.
        """
        return self.decoded.copy() if self.decoded is not None else _decode(self.data, label=self.sha256[:12])[1]

    def reduced(self, max_side: int) -> Image.Image:
        """Returns the normalised pixels, scaled down to a longest side; a smaller picture stays as it is.

        Args:
            max_side: In pixels.

        Raises:
            InputError: ``max_side`` is not positive.
        """
        if max_side < 1:
            raise InputError(f"max_side is {max_side}; it must be at least 1 pixel")
        picture = self.rgb()
        picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
        return picture

    def data_url(self, max_side: int | None = None) -> str:
        """Returns the normalised pixels as a data URL, for models that see; without the original's metadata.

        Args:
            max_side: Longest side in pixels; a larger picture is scaled down, a smaller one stays as it is.

        Raises:
            InputError: ``max_side`` is not positive.
        """
        picture = self.rgb() if max_side is None else self.reduced(max_side)
        encoded = io.BytesIO()
        if self.media_type in _LOSSY:
            media_type = "image/jpeg"
            picture.save(encoded, "JPEG", quality=90)
        else:  # drawings and screenshots keep their sharp edges
            media_type = "image/png"
            picture.save(encoded, "PNG")
        return f"data:{media_type};base64,{base64.b64encode(encoded.getvalue()).decode('ascii')}"


class ImageLoader:
    """Loads pictures from files, bytes, data URLs and the web, within limits.

    Args:
        limits: What a picture may cost; the defaults when left out.
    """

    def __init__(self, limits: ImageLimits | None = None) -> None:
        self.limits = limits or ImageLimits()

    async def load(self, ref: ImageRef) -> LoadedImage:
        """Reads, checks and decodes one picture; files and pixels are handled off the event loop.

        Raises:
            ImageError: It is missing, not an image, broken or over a limit.
            ImageFetchError: Its URL cannot be fetched, or must not be.
        """
        if ref.url is not None and not _is_data_url(ref.url):
            data = await fetch(
                ref.url,
                max_bytes=self.limits.max_bytes,
                timeout_seconds=self.limits.timeout_seconds,
                allow_private_addresses=self.limits.allow_private_addresses,
                max_redirects=self.limits.max_redirects,
            )
            return await asyncio.to_thread(self._decode, data, ref.label)
        return await asyncio.to_thread(lambda: self._decode(self._read(ref), ref.label))

    def load_sync(self, ref: ImageRef) -> LoadedImage:
        """Does what :meth:`load` does, from synchronous code."""
        return run_sync(self.load(ref))

    def digest(self, ref: ImageRef) -> str:
        """Returns the SHA-256 (hex) of a picture's bytes without decoding it, to see whether it changed.

        Args:
            ref: Anything but an ``http(s)`` URL.

        Raises:
            ImageError: It is missing or over a limit.
        """
        return hashlib.sha256(self._read(ref)).hexdigest()

    def _read(self, ref: ImageRef) -> bytes:
        if ref.path is not None:
            return _read_file(ref.path, ref.label, self.limits.max_bytes)
        data = ref.data if ref.data is not None else _read_data_url(ref.url or "", self.limits.max_bytes)
        if len(data) > self.limits.max_bytes:
            raise _too_many_bytes(ref.label, self.limits.max_bytes)
        return data

    def _decode(self, data: bytes, label: str) -> LoadedImage:
        media_type, picture = _decode(data, label=label, max_pixels=self.limits.max_pixels)
        return LoadedImage(
            data=data,
            sha256=hashlib.sha256(data).hexdigest(),
            media_type=media_type,
            width=picture.width,
            height=picture.height,
            decoded=picture if picture.width * picture.height <= _KEPT_PIXELS else None,
        )


def _read_file(path: Path, label: str, max_bytes: int) -> bytes:
    try:
        # Opened without waiting, or a named pipe would block for as long as nobody writes to it.
        with open(path, "rb", opener=_open_without_waiting) as file:
            return _read_regular(file, label, max_bytes)
    except ImageError:  # which is a ValueError too
        raise
    except FileNotFoundError as error:
        raise ImageError(f"image {label!r} does not exist; check its path") from error
    except IsADirectoryError as error:
        raise ImageError(f"image {label!r} is a folder; name a file in it") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or "not a path"
        raise ImageError(f"image {label!r} cannot be read: {reason}") from error


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _read_regular(file: BinaryIO, label: str, max_bytes: int) -> bytes:
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"image {label!r} is not a regular file")
    if status.st_size <= max_bytes:
        data = file.read(max_bytes + 1)  # it may have grown since
        if len(data) <= max_bytes:
            return data
    raise _too_many_bytes(label, max_bytes)


def _is_data_url(url: str) -> bool:
    return url[:5].lower() == "data:"


def _read_data_url(url: str, max_bytes: int) -> bytes:
    header, comma, payload = url[5:].partition(",")
    if not comma:
        raise ImageError("data URL is malformed: it has no comma before its data")
    if len(payload) > 4 * max_bytes:  # the most that base64 takes with every character percent-encoded
        raise _too_many_bytes("data URL", max_bytes)
    try:
        data = unquote_to_bytes(payload)
        if header.lower().endswith(";base64"):
            data = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError("data URL is malformed: its data are not sound base64") from error
    return data


def _too_many_bytes(label: str, max_bytes: int) -> ImageError:
    return ImageError(f"image {label!r} is larger than {max_bytes:,} bytes; make it smaller or raise the limit")


_pillow_lock = threading.Lock()


@contextlib.contextmanager
def _quiet_pillow() -> Iterator[None]:
    # One decoding at a time: warning filters belong to the whole process, and it bounds the memory that pixels take.
    with _pillow_lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def _decode(data: bytes, *, label: str, max_pixels: int | None = None) -> tuple[str, Image.Image]:
    """Decodes all of a picture; returns its media type and its normalised pixels."""
    try:
        with _quiet_pillow(), Image.open(io.BytesIO(data), formats=tuple(MEDIA_TYPES)) as picture:
            if max_pixels is not None and picture.width * picture.height > max_pixels:
                raise _too_many_pixels(label, max_pixels)
            picture.load()
            return MEDIA_TYPES["JPEG" if picture.format == _MPO else picture.format or ""], _normalised(picture, label)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"image {label!r} is not an image of a known format ({', '.join(MEDIA_TYPES)})") from error
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(label, max_pixels) from error
    except Exception as error:  # a broken file can make Pillow's readers raise nearly anything
        raise ImageError(f"image {label!r} is broken or cut off and cannot be decoded") from error


def _normalised(picture: Image.Image, label: str) -> Image.Image:
    upright: Image.Image = picture
    with contextlib.suppress(Exception):  # broken metadata do not spoil sound pixels
        upright = ImageOps.exif_transpose(picture)
    if upright.mode in {"I", "F"}:
        raise ImageError(f"image {label!r} holds measurements of 32 bits, not colours; save it with 8 or 16 bits")
    if upright.mode.startswith("I;16"):  # Pillow clips these where it should scale
        upright = upright.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if upright.has_transparency_data:
        white = Image.new("RGBA", upright.size, "white")
        white.alpha_composite(upright.convert("RGBA"))
        upright = white
    upright = upright.convert("RGB")
    upright.info.clear()  # or Pillow would write some of the metadata out again
    return upright


def _too_many_pixels(label: str, max_pixels: int | None) -> ImageError:
    allowed = f"more than {max_pixels:,}" if max_pixels is not None else "too many"
    return ImageError(f"image {label!r} has {allowed} pixels; scale it down or raise the limit")
