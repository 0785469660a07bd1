"""PyTorch: imported when it is first needed, with a bound on its threads, and pooling of token vectors."""

import sys
from typing import Any, Final

from caslie_tools._optional import require

SMALL_MODEL_THREADS: Final = 1
"""Threads of one call of a small model. Two pictures side by side use two cores better than one picture on both, which
slows down many times when anything else wants a core."""

_own_threads: list[int] = []


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


def mean_pooled(torch: Any, hidden: Any, mask: Any) -> Any:
    """Returns unit vectors in the direction of the mean over each text's tokens.

    Args:
        torch: The module.
        hidden: Tensor of shape (texts, tokens, numbers).
        mask: Tensor of shape (texts, tokens): 1 for a token, 0 for padding.

    Returns:
        Tensor of shape (texts, numbers).
    """
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    mean = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
    return torch.nn.functional.normalize(mean, dim=1)
