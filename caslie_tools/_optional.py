"""Imports the dependencies of optional extras, when they are first needed."""

import importlib
from typing import Any

from caslie_tools.exceptions import MissingExtraError


def require(module: str, extra: str, purpose: str) -> Any:
    """Imports a module of an extra.

    Args:
        module: The module's name.
        extra: The extra that brings it.
        purpose: What it is for, as the start of a sentence.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(extra, purpose) from error
