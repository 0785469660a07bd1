"""Writes files atomically: readers see the old content or the new one, never a part."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Opens a temporary file next to ``path``, which replaces ``path`` if the block ends without an error.

    Raises:
        OSError: If the file cannot be written.
    """
    # The temporary name is unique, because two threads or processes may write the same file at the same time.
    part = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
