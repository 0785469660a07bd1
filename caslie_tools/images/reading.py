"""Reading the encoded bytes of an image from a file, from memory or from a data URL, up to a size limit."""

import base64
import binascii
import os
import stat
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote_to_bytes

from caslie_tools.domain import ImageRef
from caslie_tools.exceptions import ImageError


def read_bytes(ref: ImageRef, max_bytes: int) -> bytes:
    """Returns the encoded bytes of an image.

    Args:
        ref: A path, bytes or a ``data:`` URL; not an ``http(s)`` URL.
        max_bytes: Maximum size of the encoded image in bytes.

    Raises:
        ImageError: The image is missing, cannot be read or is too large.
    """
    if ref.stored is not None:
        raise ImageError(f"image {ref.label!r} is in a store; load it with the loader of a pipeline over that store")
    if ref.path is not None:
        return _read_file(ref.path, ref.label, max_bytes)
    data = ref.data if ref.data is not None else _read_data_url(ref.url or "", max_bytes)
    if len(data) > max_bytes:
        raise _too_many_bytes(ref.label, max_bytes)
    return data


def is_data_url(url: str) -> bool:
    """Whether a URL contains its data instead of a location."""
    return url[:5].lower() == "data:"


def _read_file(path: Path, label: str, max_bytes: int) -> bytes:
    try:
        # Opening a named pipe without O_NONBLOCK would block until another process writes to it.
        with open(path, "rb", opener=_open_nonblocking) as file:
            return _read_regular_file(file, label, max_bytes)
    except ImageError:  # a subclass of ValueError, which is handled below
        raise
    except FileNotFoundError as error:
        raise ImageError(f"image {label!r} does not exist; check its path") from error
    except IsADirectoryError as error:
        raise ImageError(f"image {label!r} is a folder; name a file in it") from error
    except (OSError, ValueError) as error:  # ValueError: the path contains a NUL character
        reason = getattr(error, "strerror", None) or "its path is invalid"
        raise ImageError(f"image {label!r} cannot be read: {reason}") from error


def _open_nonblocking(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _read_regular_file(file: BinaryIO, label: str, max_bytes: int) -> bytes:
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"image {label!r} is not a regular file")
    if status.st_size <= max_bytes:
        data = file.read(max_bytes + 1) or b""  # the file may have grown since fstat; a device may return nothing
        if len(data) <= max_bytes:
            return data
    raise _too_many_bytes(label, max_bytes)


def _read_data_url(url: str, max_bytes: int) -> bytes:
    header, comma, payload = url[5:].partition(",")
    if not comma:
        raise ImageError("data URL is malformed: it has no comma before its data")
    # Base64 with every character percent-encoded takes four characters per byte.
    if len(payload) > 4 * max_bytes:
        raise _too_many_bytes("data URL", max_bytes)
    try:
        data = unquote_to_bytes(payload)
        if header.lower().endswith(";base64"):
            data = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError("data URL is malformed: its data are not valid base64") from error
    return data


def _too_many_bytes(label: str, max_bytes: int) -> ImageError:
    return ImageError(f"image {label!r} is larger than {max_bytes:,} bytes; make it smaller or raise the limit")
