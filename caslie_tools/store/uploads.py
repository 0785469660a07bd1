"""Images that requests brought as bytes, kept as files beside the database for a limited time.

The state of a graph refers to them by a key. A run that waits for a person, or resumes after a crash, finds them again.
"""

import contextlib
import hashlib
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Final

from caslie_tools.domain import ImageRef
from caslie_tools.exceptions import ImageError, StoreError

MAX_SECONDS: Final = 7 * 24 * 3600
"""An upload is kept for this time after its last use."""
MAX_TOTAL_BYTES: Final = 256 * 1024 * 1024
"""Above this total, the uploads that were used longest ago are removed."""

_KEY: Final = re.compile(r"upload/([0-9a-f]{64})")


class Uploads:
    """The uploaded images of one store.

    Args:
        folder: Where they are kept. It is created with the first upload.
        max_total_bytes: Most bytes that are kept.
    """

    def __init__(self, folder: Path, *, max_total_bytes: int = MAX_TOTAL_BYTES) -> None:
        self._folder = folder
        self._max_total_bytes = max_total_bytes

    def put(self, data: bytes) -> ImageRef:
        """Keeps an image and returns a reference to it. Equal bytes are kept once.

        Raises:
            StoreError: If the image cannot be written.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        path = self._folder / sha256
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if path.exists():
                os.utime(path)
            else:
                with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".", delete=False) as file:
                    file.write(data)
                Path(file.name).replace(path)  # another process never reads half an image
            self._prune(path)
        except OSError as error:
            raise StoreError(f"cannot keep an uploaded image in {self._folder}: {error.strerror}") from error
        return ImageRef(stored=f"upload/{sha256}", name=f"{len(data)} bytes")

    def find(self, key: str) -> ImageRef | None:
        """Returns the location of an upload, or ``None`` if the key is not one of an upload.

        Raises:
            ImageError: If the upload is not kept any more.
        """
        match = _KEY.fullmatch(key)
        if match is None:
            return None
        path = self._folder / match[1]
        try:
            os.utime(path)
        except OSError as error:
            days = MAX_SECONDS // (24 * 3600)
            raise ImageError(f"an uploaded image is not kept any more (after {days} days); send it again") from error
        return ImageRef(path=path)

    def _prune(self, added: Path) -> None:
        """Removes uploads that are too old, and the oldest ones above the limit of bytes; never the one just added."""
        total = 0
        oldest = time.time() - MAX_SECONDS
        files: list[tuple[os.stat_result, Path]] = []
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process has just removed it
                files.append((path.stat(), path))
        for status, path in sorted(files, key=lambda item: (item[1] != added, -item[0].st_mtime)):
            total += status.st_size
            if path != added and (status.st_mtime < oldest or total > self._max_total_bytes):
                path.unlink(missing_ok=True)
