"""torch, imported when it is first needed, and the threads its calls take."""

import importlib
import sys
from typing import Any, Final

from caslie_tools.exceptions import MissingExtraError

SMALL_MODEL_THREADS: Final = 1
"""Threads of one call of a small model. Two pictures side by side use two cores better than one picture on both, which
slows down many times when anything else wants a core."""

_own_threads: list[int] = []


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


def torch_for_small_models(extra: str, purpose: str) -> Any:
    """Imports torch; its threads are limited unless the program had imported it before us."""
    ours = "torch" not in sys.modules
    torch = require("torch", extra, purpose)
    if ours:
        _own_threads.append(torch.get_num_threads())
        torch.set_num_threads(SMALL_MODEL_THREADS)
    return torch


def use_all_threads(torch: Any) -> None:
    """Gives calls of a large model, on the calling thread, the threads that torch itself would take."""
    if _own_threads:
        torch.set_num_threads(_own_threads[0])
