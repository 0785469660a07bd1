"""The picture files of a dataset: validated, and named by their content, so that the dataset is self-contained."""

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
"""The pictures' folder, next to the dataset file."""

_NAME = re.compile(r"([0-9a-f]{64})\.[a-z]+")


class PictureStaging:
    """Keeps pictures in a temporary folder until the build determines which ones the dataset needs.

    Args:
        loader: Reads and validates the pictures.
        folder: An empty folder.
    """

    def __init__(self, loader: ImageLoader, folder: Path) -> None:
        self._loader = loader
        self._folder = folder
        self._names: dict[str, str] = {}
        self._reading = ConcurrencyLimit(_PARALLEL_READS)

    async def add(self, references: Iterable[ImageRef]) -> dict[ImageRef, str | ImageError]:
        """Reads pictures. Returns the SHA-256 (hex) of each picture, or the error if it cannot be read."""
        wanted = list(dict.fromkeys(references))
        return dict(zip(wanted, await run_together(self._add(reference) for reference in wanted), strict=True))

    def path(self, picture: str) -> str:
        """Returns a picture's path relative to the dataset file.

        Args:
            picture: SHA-256 (hex) of a picture that was added.
        """
        return f"{FOLDER}/{self._names[picture]}"

    def move_to(self, folder: Path, pictures: Collection[str]) -> None:
        """Moves the needed pictures next to the dataset file. Call it once.

        Args:
            folder: The folder of the dataset file.
            pictures: SHA-256 (hex) of the needed pictures.
        """
        target = folder / FOLDER
        target.mkdir(parents=True, exist_ok=True)
        for picture in sorted(pictures):
            (self._folder / self._names[picture]).replace(target / self._names[picture])

    async def _add(self, reference: ImageRef) -> str | ImageError:
        async with self._reading():
            try:
                image = await self._loader.load(reference)
            except ImageError as error:
                return error
            name = f"{image.sha256}.{image.media_type.removeprefix('image/').replace('jpeg', 'jpg')}"
            if self._names.setdefault(image.sha256, name) == name:
                await asyncio.to_thread((self._folder / name).write_bytes, image.data)
            return image.sha256


def remove_stale_pictures(folder: Path, pictures: Collection[str]) -> None:
    """Removes the pictures of an earlier build. Files whose name is not that of a built picture are kept.

    Args:
        folder: The folder of the dataset file.
        pictures: SHA-256 (hex) of the pictures to keep.
    """
    for path in sorted((folder / FOLDER).iterdir()):
        if (name := _NAME.fullmatch(path.name)) and name[1] not in pictures and path.is_file():
            path.unlink()
