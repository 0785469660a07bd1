"""Models that installed packages contain: importing the packages, and finding and verifying the model files."""

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
        module: Name of the module.
        purpose: What the module is needed for, as the start of a sentence.

    Raises:
        MissingExtraError: The module is not installed.
    """
    return _optional.require(module, "embedded", purpose)


def require_torch(purpose: str) -> Any:
    """Imports torch. Limits its threads, unless the program imported torch before.

    Args:
        purpose: What torch is needed for, as the start of a sentence.

    Raises:
        MissingExtraError: torch is not installed.
    """
    return torch_for_small_models("embedded", purpose)


def packaged_file(package: ModuleType, *parts: str) -> Path:
    """Returns the path of a file inside a package.

    Raises:
        ModelError: The package has no files.
    """
    if package.__file__ is None:
        raise ModelError(f"the package {package.__name__} has no files; install it again")
    return Path(package.__file__).parent.joinpath(*parts)


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
