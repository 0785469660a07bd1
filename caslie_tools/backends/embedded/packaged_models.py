"""Models that packages of the package index contain: importing packages, and finding and verifying model files."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from caslie_tools import _optional
from caslie_tools.exceptions import ModelError


@dataclass(frozen=True, kw_only=True)
class ModelPackage:
    """A package that contains a model."""

    requirement: str
    """The package and its version, as pip expects them."""
    module: str
    """Name of the module that contains the files."""
    files: Mapping[str, str]
    """From the path of a file inside the module to its expected SHA-256 (hex)."""

    def installed(self) -> Path | None:
        """Returns the folder of the module, or nothing if it is not installed. Does not import the module."""
        spec = find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            return None
        return Path(spec.submodule_search_locations[0])

    def verified(self, folder: Path) -> Path:
        """Returns the folder after verifying the content of its files.

        Raises:
            ModelError: A file cannot be read or has other content.
        """
        for path, sha256 in self.files.items():
            verified_file(folder / path, sha256)
        return folder


def require(module: str, purpose: str) -> Any:
    """Imports a module of the extra ``embedded``.

    Args:
        module: Name of the module.
        purpose: What the module is needed for, as the start of a sentence.

    Raises:
        MissingExtraError: The module is not installed.
    """
    return _optional.require(module, "embedded", purpose)


def verified_file(path: Path, sha256: str) -> Path:
    """Returns the path of a model file after verifying its content.

    Args:
        path: The file.
        sha256: Expected SHA-256 (hex) of the file.

    Raises:
        ModelError: The file cannot be read or has other content.
    """
    try:
        with path.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"the model file {path.name} cannot be read: {error.strerror}; install its package") from error
    if actual != sha256:
        raise ModelError(f"the model file {path.name} is not the published one; install its package again")
    return path
