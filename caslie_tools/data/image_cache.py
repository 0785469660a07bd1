"""A folder that holds the pictures of a dataset: each URL is fetched once, and what is dead is known to be.

A picture lies at ``<first two digits>/<sha256>.<extension>``. ``index.jsonl`` has one line per URL, appended when the
picture lies there: ``{"url": ..., "file": ..., "when": ...}``, or ``{"url": ..., "error": ..., "passing": ..., "when":
...}``; a later line replaces an earlier one. A line that was cut off, as by SIGKILL, counts as not written.
"""

import asyncio
import json
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

from caslie_tools._concurrency import run_together
from caslie_tools.data.atomic_write import atomic_write
from caslie_tools.data.records import BadRecord, Record
from caslie_tools.domain import FrozenModel, ImageRef, ProgressCallback
from caslie_tools.exceptions import DataError, ImageError, ImageFetchError
from caslie_tools.images.loading import ImageLoader, LoadedImage

_INDEX: Final = "index.jsonl"
_FILE: Final = re.compile(r"([0-9a-f]{2})/(\1[0-9a-f]{62})\.[a-z]{3,4}")
_EXTENSIONS: Final = {"image/jpeg": "jpg", "image/tiff": "tif"}


class FailedImage(FrozenModel):
    """A URL that gave no picture."""

    url: str
    """Without credentials and query."""
    error: str
    passing: bool
    """Whether it may well go otherwise another time; it is then tried again by the next run."""


class FetchReport(FrozenModel):
    """What a run of :func:`fetch_images` did."""

    urls: int
    """Different ones."""
    known: int
    """Had before the run, dead ones included."""
    fetched: int
    failed: tuple[FailedImage, ...]
    """In this run."""


class ImageCache:
    """The pictures a folder holds, by their URL. Make one with :meth:`open`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, str] = {}
        self._dead: set[str] = set()

    @classmethod
    def open(cls, folder: Path, *, create: bool = False) -> Self:
        """Reads a folder's index.

        Args:
            folder: Where :func:`fetch_images` put them.
            create: Whether a folder that is not there yet counts as an empty one.

        Raises:
            DataError: If there is no index, or it cannot be read.
        """
        pictures = cls(folder)
        try:
            with (folder / _INDEX).open("rb") as file:
                for line in file:
                    pictures._learn(line)
        except FileNotFoundError as error:
            if not create:
                reason = "holds no pictures; fetch them there with caslie data fetch-images"
                raise DataError(f"{folder}: {reason}") from error
        except OSError as error:
            raise DataError(f"{folder}: cannot be read: {error.strerror or error}") from error
        return pictures

    def resolve(self, ref: ImageRef) -> ImageRef | None:
        """Returns the local file of a URL, and ``None`` for a dead one; anything it does not know as it is."""
        if ref.url is None:
            return ref
        if ref.url in self._dead:
            return None
        path = self._path(ref.url)
        return ref if path is None else ImageRef(path=path)

    def place(self, record: Record) -> Record:
        """Returns a record with its URLs resolved. Its key stays: it asks the same."""
        images = [
            image if image.ref is None else image.model_copy(update={"ref": self.resolve(image.ref)})
            for image in record.instance.images
        ]
        return record.model_copy(update={"instance": record.instance.model_copy(update={"images": tuple(images)})})

    def knows(self, url: str, *, retry_dead: bool = False) -> bool:
        """Whether nothing is left to do about a URL: its picture is here, or it is dead."""
        return (url in self._dead and not retry_dead) or self._path(url) is not None

    def _path(self, url: str) -> Path | None:
        file = self._files.get(url)
        path = self._folder / file if file is not None else None
        return path if path is not None and path.is_file() else None

    def _learn(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(entry, dict) or not isinstance(url := entry.get("url"), str):
            return
        self._files.pop(url, None)
        self._dead.discard(url)
        file = entry.get("file")
        if isinstance(file, str) and _FILE.fullmatch(file):  # or an index from elsewhere could name any file
            self._files[url] = file
        elif file is None and not entry.get("passing"):
            self._dead.add(url)


def image_urls(records: Iterable[Record | BadRecord]) -> list[str]:
    """Returns the different ``http(s)`` URLs of records' images, in their order."""
    urls: dict[str, None] = {}
    for record in records:
        for image in record.instance.images if isinstance(record, Record) else ():
            if image.ref is not None and image.ref.url is not None and image.ref.url[:5].lower() != "data:":
                urls[image.ref.url] = None
    return list(urls)


async def fetch_images(
    urls: Iterable[str],
    folder: Path,
    *,
    loader: ImageLoader | None = None,
    parallel: int = 8,
    retry_dead: bool = False,
    progress: ProgressCallback | None = None,
) -> FetchReport:
    """Fetches pictures into a folder; what is there already, or known to be dead, is left alone.

    Stopped at any moment, the next run goes on where it was.

    Args:
        urls: Of the pictures; equal ones count once.
        folder: Made if it is not there.
        loader: Brings the limits and the checks of where a URL may lead; the defaults when left out.
        parallel: Most fetches at once.
        retry_dead: Whether to try dead ones again.
        progress: Told ``("fetching", URL, done, total)`` when a URL's line is in the index.

    Raises:
        DataError: If the folder cannot be written.
    """
    pictures = ImageCache.open(folder, create=True)
    wanted = dict.fromkeys(urls)
    left = [url for url in wanted if not pictures.knows(url, retry_dead=retry_dead)]
    failed: list[FailedImage] = []
    loader = loader or ImageLoader()
    waiting, done = iter(left), 0

    async def work(index: BinaryIO) -> None:
        nonlocal done
        for url in waiting:  # one for all workers: each takes the next
            try:
                file = await asyncio.to_thread(_keep, folder, await loader.load(ImageRef(url=url)))
                entry: dict[str, Any] = {"url": url, "file": file}
            except ImageError as error:
                passing = isinstance(error, ImageFetchError) and error.passing
                entry = {"url": url, "error": str(error), "passing": passing}
                failed.append(FailedImage(url=ImageRef(url=url).label, error=str(error), passing=passing))
            _append(index, entry)
            done += 1
            if progress is not None:
                progress("fetching", ImageRef(url=url).label, done, len(left))

    try:
        with _open_index(folder) as index:
            await run_together(work(index) for _ in range(min(parallel, len(left))))
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return FetchReport(
        urls=len(wanted), known=len(wanted) - len(left), fetched=len(left) - len(failed), failed=tuple(failed)
    )


def _keep(folder: Path, image: LoadedImage) -> str:
    """Writes a picture under its hash, whole or not at all; returns where, seen from the folder."""
    extension = _EXTENSIONS.get(image.media_type) or image.media_type.removeprefix("image/")
    file = f"{image.sha256[:2]}/{image.sha256}.{extension}"
    path = folder / file
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as new:
            new.write(image.data)
    return file


def _append(index: BinaryIO, entry: dict[str, Any]) -> None:
    when = datetime.now(UTC).isoformat(timespec="seconds")
    index.write(json.dumps(entry | {"when": when}).encode("ascii") + b"\n")


def _open_index(folder: Path) -> BinaryIO:
    """Opens the index to append to; unbuffered, so that a line is written when it is said to be."""
    folder.mkdir(parents=True, exist_ok=True)
    index = (folder / _INDEX).open("ab+", buffering=0)
    # A last line that was cut off is ended, so that the next one stands for itself.
    if index.seek(0, os.SEEK_END) and index.seek(-1, os.SEEK_END) >= 0 and index.read(1) != b"\n":
        index.write(b"\n")
    return index
