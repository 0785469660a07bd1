"""Decoding untrusted images with Pillow: a short list of formats, a limit on pixels, and normalised pixels."""

import contextlib
import functools
import importlib
import io
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageOps, UnidentifiedImageError, features

from caslie_tools.exceptions import ImageError


@dataclass(frozen=True, kw_only=True)
class _Format:
    media_type: str
    plugin: str
    """Module of Pillow that reads the format."""
    library: str | None = None
    """Library that the plugin needs, as named in ``PIL.features``."""


_FORMATS: Final = {
    "JPEG": _Format(media_type="image/jpeg", plugin="PIL.JpegImagePlugin", library="jpg"),
    "PNG": _Format(media_type="image/png", plugin="PIL.PngImagePlugin", library="zlib"),
    "WEBP": _Format(media_type="image/webp", plugin="PIL.WebPImagePlugin", library="webp"),
    "GIF": _Format(media_type="image/gif", plugin="PIL.GifImagePlugin"),
    "BMP": _Format(media_type="image/bmp", plugin="PIL.BmpImagePlugin"),
    "TIFF": _Format(media_type="image/tiff", plugin="PIL.TiffImagePlugin"),
    "AVIF": _Format(media_type="image/avif", plugin="PIL.AvifImagePlugin", library="avif"),
}
"""The only formats that are decoded, by their Pillow names. Files of these formats cannot run programs or refer to
other files."""

WORKING_PIXELS: Final = 16_000_000
"""A larger image is scaled down to so many pixels when it is decoded."""
MAX_ASPECT: Final = 200
"""The longer side of an image is at most so many times as long as the shorter one."""
_START_OF_SCAN: Final = b"\xff\xda"
"""Starts a scan of a JPEG. Inside the data of a scan, the byte ff is followed by 00."""
_FREE_SCANS: Final = 4
"""Scans that any JPEG may have: one of its own, and those of thumbnails and other images in the file."""
_MAX_SCANNED_PIXELS: Final = 500_000_000
"""Scans times pixels of a JPEG: about five seconds of decoding. Files of usual programs have ten scans."""
_MPO: Final = "MPO"  # Pillow's name for a JPEG that contains several images, as many phones write it
_pillow_lock = threading.Lock()


@functools.cache
def supported_formats() -> tuple[str, ...]:
    """Returns the formats that this installation of Pillow can decode, by their Pillow names.

    Pillow ignores a plugin that cannot be imported and then fails on every image with a ``KeyError``. Such a format is
    left out here, so that the other formats still work.
    """
    return tuple(name for name, form in _FORMATS.items() if _is_supported(name, form))


def _is_supported(name: str, form: _Format) -> bool:
    try:
        importlib.import_module(form.plugin)
    except ImportError:
        return False
    return name in Image.OPEN and (form.library is None or bool(features.check(form.library)))


@dataclass(frozen=True)
class Decoded:
    """A decoded image."""

    media_type: str
    image: Image.Image
    """The pixels: upright, first frame, transparency on white, mode RGB. A large image is scaled down."""
    size: tuple[int, int]
    """Width and height of the whole image in pixels, upright."""


def decode(data: bytes, *, label: str, max_pixels: int | None = None) -> Decoded:
    """Decodes a whole image.

    Args:
        data: The encoded image.
        label: Name of the image in error messages.
        max_pixels: Maximum of width times height, checked before the pixels are decoded.

    Raises:
        ImageError: The image is broken, its format is not supported, or it has too many pixels.
    """
    try:
        with _serialised_pillow(), Image.open(io.BytesIO(data), formats=supported_formats()) as image:
            if max_pixels is not None and image.width * image.height > max_pixels:
                raise _too_many_pixels(label, max_pixels)
            if max(image.size) > MAX_ASPECT * min(image.size):
                raise ImageError(f"image {label!r} is a strip of {image.width} x {image.height} pixels; crop it")
            if image.format in {"JPEG", _MPO}:
                _check_scans(data, image.size, label)
            media_type = _FORMATS["JPEG" if image.format == _MPO else image.format or ""].media_type
            size = image.size
            _scale_down(image)
            stored = image.size
            upright = _normalise(image, label)
            turned = stored != upright.size
            return Decoded(media_type, upright, size[::-1] if turned else size)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise _unsupported(label) from error
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(label, max_pixels) from error
    except ImportError as error:  # Pillow imports some of its modules only when an image needs them
        raise ImageError(
            f"image {label!r} cannot be decoded: Pillow cannot import {error.name or 'one of its modules'}; "
            "reinstall Pillow"
        ) from error
    except Exception as error:  # Pillow's decoders can raise nearly any exception for a broken file
        raise ImageError(f"image {label!r} is broken or truncated and cannot be decoded") from error


def _scale_down(image: Image.Image) -> None:
    """Decodes an image, and scales it down if it is large. Its copies would take a gigabyte. No model sees so much."""
    pixels = image.width * image.height
    if pixels > WORKING_PIXELS:
        scale = (WORKING_PIXELS / pixels) ** 0.5
        # A JPEG is decoded at a half, a quarter or an eighth of its size.
        image.thumbnail((max(1, int(image.width * scale)), max(1, int(image.height * scale))), Image.Resampling.BOX)
    else:
        image.load()


def _check_scans(data: bytes, size: tuple[int, int], label: str) -> None:
    """Refuses a progressive JPEG that takes long to decode: each scan, of a few bytes, goes over all pixels."""
    scans = data.count(_START_OF_SCAN)
    if scans > _FREE_SCANS and scans * size[0] * size[1] > _MAX_SCANNED_PIXELS:
        raise ImageError(f"image {label!r} is a JPEG of {scans} scans, which take too long to decode; save it again")


@contextlib.contextmanager
def _serialised_pillow() -> Iterator[None]:
    # Warning filters belong to the whole process, so only one thread may change them. One image at a time also bounds
    # the memory that pixels take.
    with _pillow_lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def _normalise(image: Image.Image, label: str) -> Image.Image:
    upright = _upright(image)
    if upright.mode in {"I", "F"}:
        raise ImageError(f"image {label!r} has 32-bit measurements instead of colours; save it with 8 or 16 bits")
    if upright.mode.startswith("I;16"):  # Pillow would clip 16-bit values instead of scaling them
        upright = upright.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if upright.has_transparency_data:
        white = Image.new("RGBA", upright.size, "white")
        white.alpha_composite(upright.convert("RGBA"))
        upright = white
    upright = upright.convert("RGB")
    upright.info.clear()  # Pillow would write some of this metadata when the image is saved
    return upright


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except ImportError:  # not broken metadata: ignoring it would return the image in a wrong orientation
        raise
    except Exception:  # noqa: BLE001 (broken metadata can raise any exception, but the pixels are usable)
        return image


def _unsupported(label: str) -> ImageError:
    supported = supported_formats()
    missing = [name for name in _FORMATS if name not in supported]
    note = f"; this installation of Pillow does not support {', '.join(missing)}" if missing else ""
    return ImageError(f"image {label!r} is not an image in a supported format ({', '.join(supported)}){note}")


def _too_many_pixels(label: str, max_pixels: int | None) -> ImageError:
    allowed = f"more than {max_pixels:,}" if max_pixels is not None else "too many"
    return ImageError(f"image {label!r} has {allowed} pixels; scale it down or raise the limit")
