"""Where the images may be that a catalogue names by path: in its folder. A feed of others could name any file."""

import os
from pathlib import Path


class ImagePaths:
    """Checks the paths of the images of one catalogue.

    Args:
        folder: The folder of the catalogue.
        trusted: Allow any path.
    """

    def __init__(self, folder: Path, *, trusted: bool) -> None:
        self._trusted = trusted
        self._root = os.path.realpath(folder)
        self._inside: dict[str, bool] = {}
        """Whether a folder is inside, by its name. Most images share a few folders."""

    def check(self, path: Path) -> None:
        """Checks that a path stays in the folder, also if it leads over symbolic links.

        Raises:
            ValueError: If it leads out of the folder.
        """
        if self._trusted:
            return
        folder, name = os.path.split(path)
        if folder not in self._inside:
            self._inside[folder] = self._contains(os.path.realpath(folder))
        inside = self._inside[folder] and name != ".."
        if inside and os.path.islink(path):  # noqa: PTH114 (called for every image, and pathlib takes longer)
            inside = self._contains(os.path.realpath(path))
        if not inside:
            raise ValueError("leads out of the folder of the catalogue; use --trust-paths if the catalogue is your own")

    def _contains(self, path: str) -> bool:
        return path == self._root or path.startswith(self._root.rstrip(os.sep) + os.sep)
