"""Imports the dependencies of optional extras when they are first used."""

import importlib
from typing import Any

from caslie_tools.exceptions import MissingExtraError


def require(module: str, extra: str, purpose: str) -> Any:
    """Imports and returns a module of an optional extra.

    Args:
        module: The module's name.
        extra: The extra that installs the module.
        purpose: What needs the module, as the start of a sentence.

    Raises:
        MissingExtraError: If the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(extra, purpose) from error
