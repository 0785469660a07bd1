"""Model files that come with packages: found, and checked before they are used."""

import hashlib
from pathlib import Path
from types import ModuleType
from typing import Any

from caslie_tools import _optional
from caslie_tools._torch import torch_for_small_models
from caslie_tools.exceptions import ModelError


def require(module: str, purpose: str) -> Any:
    """Imports a module of the extra ``embedded``.

    Args:
        module: The module's name.
        purpose: What it is for, as the start of a sentence.

    Raises:
        MissingExtraError: If it is not installed.
    """
    return _optional.require(module, "embedded", purpose)


def torch_module(purpose: str) -> Any:
    """Imports torch; its threads are limited unless the program had imported it before us."""
    return torch_for_small_models("embedded", purpose)


def packaged(module: ModuleType, *parts: str) -> Path:
    """Returns the path of a file inside a package."""
    if module.__file__ is None:
        raise ModelError(f"the package {module.__name__} has no files; install it again")
    return Path(module.__file__).parent.joinpath(*parts)


def verified(path: Path, sha256: str) -> Path:
    """Returns a model file's path if its content is what it should be.

    Args:
        path: The file.
        sha256: What its SHA-256 (hex) must be.

    Raises:
        ModelError: If it is missing or has other content.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"the model file {path.name} cannot be read: {error.strerror}; install its package") from error
    if found != sha256:
        raise ModelError(f"the model file {path.name} is not the published one; install its package again")
    return path
