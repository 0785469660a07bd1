"""Pictures of a dataset: checked, and kept under the name of their content, so that the dataset needs nothing else."""

import asyncio
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from caslie_tools._concurrency import ConcurrencyLimit, run_together
from caslie_tools.domain import ImageRef
from caslie_tools.exceptions import ImageError
from caslie_tools.images.loading import ImageLoader

_PARALLEL_READS = 4

FOLDER = "images"
"""Beside the dataset's file."""

_NAME = re.compile(r"([0-9a-f]{64})\.[a-z]+")


class PictureShelf:
    """Keeps pictures in a folder until it is known which of them are needed.

    Args:
        loader: Reads and checks them.
        folder: An empty folder.
    """

    def __init__(self, loader: ImageLoader, folder: Path) -> None:
        self._loader = loader
        self._folder = folder
        self._names: dict[str, str] = {}
        self._reading = ConcurrencyLimit(_PARALLEL_READS)

    async def put(self, references: Iterable[ImageRef]) -> dict[ImageRef, str | ImageError]:
        """Reads pictures; returns each one's SHA-256 (hex), or why it cannot be read."""
        wanted = list(dict.fromkeys(references))
        return dict(zip(wanted, await run_together(self._put(reference) for reference in wanted), strict=True))

    def path(self, picture: str) -> str:
        """Returns a picture's path relative to the dataset's file.

        Args:
            picture: SHA-256 (hex) of one that was put.
        """
        return f"{FOLDER}/{self._names[picture]}"

    def hand_over(self, pictures: Collection[str], folder: Path) -> None:
        """Moves the pictures that are needed beside the dataset's file; the shelf is used up."""
        beside = folder / FOLDER
        beside.mkdir(parents=True, exist_ok=True)
        for picture in sorted(pictures):
            (self._folder / self._names[picture]).replace(beside / self._names[picture])

    async def _put(self, reference: ImageRef) -> str | ImageError:
        async with self._reading():
            try:
                image = await self._loader.load(reference)
            except ImageError as error:
                return error
            name = f"{image.sha256}.{image.media_type.removeprefix('image/').replace('jpeg', 'jpg')}"
            if self._names.setdefault(image.sha256, name) == name:
                await asyncio.to_thread((self._folder / name).write_bytes, image.data)
            return image.sha256


def remove_others(pictures: Collection[str], folder: Path) -> None:
    """Removes the pictures of a build before; what is not named as a picture of a build is somebody else's, and stays.

    Args:
        pictures: SHA-256 (hex) of those that stay.
        folder: Where the dataset's file is.
    """
    for path in sorted((folder / FOLDER).iterdir()):
        if (name := _NAME.fullmatch(path.name)) and name[1] not in pictures and path.is_file():
            path.unlink()
