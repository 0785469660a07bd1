"""A folder with the images of a dataset: each URL is fetched once, and URLs that permanently fail are remembered.

An image is stored as ``<first two digits>/<sha256>.<extension>``. ``index.jsonl`` has one line per URL, which is
appended after the image is stored: ``{"url": ..., "file": ..., "when": ...}``. The line of a failed URL is
``{"url": ..., "error": ..., "passing": ..., "when": ...}``. A later line for a URL replaces an earlier one. An
incomplete line, for example after SIGKILL, is ignored.
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
    """A URL that could not be fetched as an image."""

    url: str
    """Without credentials and query."""
    error: str
    passing: bool
    """Whether the failure may be temporary. The next run then tries the URL again."""


class FetchReport(FrozenModel):
    """The result of :func:`fetch_images`."""

    urls: int
    """Number of different URLs."""
    known: int
    """Number of URLs that were settled before the run: their image was in the folder, or they had permanently
    failed."""
    fetched: int
    failed: tuple[FailedImage, ...]
    """URLs that failed in this run."""


class ImageCache:
    """The images in a folder, by URL. Create it with :meth:`open`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, str] = {}
        self._dead: set[str] = set()

    @classmethod
    def open(cls, folder: Path, *, create: bool = False) -> Self:
        """Reads a folder's index.

        Args:
            folder: The folder that :func:`fetch_images` wrote.
            create: Whether a missing folder counts as an empty one.

        Raises:
            DataError: If there is no index, or it cannot be read.
        """
        cache = cls(folder)
        try:
            with (folder / _INDEX).open("rb") as file:
                for line in file:
                    cache._apply(line)
        except FileNotFoundError as error:
            if not create:
                reason = "has no fetched images; fetch them with caslie data fetch-images"
                raise DataError(f"{folder}: {reason}") from error
        except OSError as error:
            raise DataError(f"{folder}: cannot be read: {error.strerror or error}") from error
        return cache

    def resolve(self, ref: ImageRef) -> ImageRef | None:
        """Returns the local file of a URL, or ``None`` for a dead URL. Returns other references unchanged."""
        if ref.url is None:
            return ref
        if ref.url in self._dead:
            return None
        path = self._path(ref.url)
        return ref if path is None else ImageRef(path=path)

    def is_settled(self, url: str, *, retry_dead: bool = False) -> bool:
        """Whether a URL need not be fetched: its image is in the folder, or the URL is dead."""
        return (url in self._dead and not retry_dead) or self._path(url) is not None

    def _path(self, url: str) -> Path | None:
        file = self._files.get(url)
        path = self._folder / file if file is not None else None
        return path if path is not None and path.is_file() else None

    def _apply(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(entry, dict) or not isinstance(url := entry.get("url"), str):
            return
        self._files.pop(url, None)
        self._dead.discard(url)
        file = entry.get("file")
        if isinstance(file, str) and _FILE.fullmatch(file):  # otherwise a foreign index could name any file
            self._files[url] = file
        elif file is None and not entry.get("passing"):
            self._dead.add(url)


def image_urls(records: Iterable[Record | BadRecord]) -> list[str]:
    """Returns the different ``http(s)`` URLs of records' images, in order."""
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
    """Fetches images into a folder. Images that are already there, and dead URLs, are skipped.

    An interrupted run resumes: the next run fetches only what is missing.

    Args:
        urls: URLs of images. Equal URLs count once.
        folder: Created if it does not exist.
        loader: Holds the limits and checks which addresses a URL may lead to. Default: a loader with default limits.
        parallel: Maximum number of parallel fetches.
        retry_dead: Whether to try dead URLs again.
        progress: Called with ``("fetching", URL, done, total)`` after a URL's line is written to the index.

    Raises:
        DataError: If the folder cannot be written.
    """
    cache = ImageCache.open(folder, create=True)
    wanted = dict.fromkeys(urls)
    missing = [url for url in wanted if not cache.is_settled(url, retry_dead=retry_dead)]
    failed: list[FailedImage] = []
    loader = loader or ImageLoader()
    waiting, done = iter(missing), 0

    async def work(index: BinaryIO) -> None:
        nonlocal done
        for url in waiting:  # all workers share the iterator: each takes the next URL
            try:
                file = await asyncio.to_thread(_write_image, folder, await loader.load(ImageRef(url=url)))
                entry: dict[str, Any] = {"url": url, "file": file}
            except ImageError as error:
                passing = isinstance(error, ImageFetchError) and error.transient
                entry = {"url": url, "error": str(error), "passing": passing}
                failed.append(FailedImage(url=ImageRef(url=url).label, error=str(error), passing=passing))
            _append(index, entry)
            done += 1
            if progress is not None:
                progress("fetching", ImageRef(url=url).label, done, len(missing))

    try:
        with _open_index(folder) as index:
            await run_together(work(index) for _ in range(min(parallel, len(missing))))
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return FetchReport(
        urls=len(wanted),
        known=len(wanted) - len(missing),
        fetched=len(missing) - len(failed),
        failed=tuple(failed),
    )


def _write_image(folder: Path, image: LoadedImage) -> str:
    """Writes an image under its hash. Returns its path relative to the folder."""
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
    """Opens the index for appending, unbuffered, so that each line is written at once."""
    folder.mkdir(parents=True, exist_ok=True)
    index = (folder / _INDEX).open("ab+", buffering=0)
    # An incomplete last line gets a line end, so that it does not spoil the next line.
    if index.seek(0, os.SEEK_END) and index.seek(-1, os.SEEK_END) >= 0 and index.read(1) != b"\n":
        index.write(b"\n")
    return index
