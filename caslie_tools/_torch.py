"""Helpers for PyTorch: importing it on first use, limiting its threads, and pooling token vectors."""

import sys
from typing import Any, Final

from caslie_tools._optional import require

SMALL_MODEL_THREADS: Final = 1
"""Threads of one call of a small model. Two images on one core each are faster than one image on both cores. The latter
slows down many times when another process needs a core."""

_default_threads: list[int] = []


def torch_for_small_models(extra: str, purpose: str) -> Any:
    """Imports torch and limits its threads, unless the program imported torch before.

    Args:
        extra: The extra that installs torch.
        purpose: What needs torch, as the start of a sentence.

    Raises:
        MissingExtraError: If torch is not installed.
    """
    first_import = "torch" not in sys.modules
    torch = require("torch", extra, purpose)
    if first_import:
        _default_threads.append(torch.get_num_threads())
        torch.set_num_threads(SMALL_MODEL_THREADS)
    return torch


def use_all_threads(torch: Any) -> None:
    """Restores torch's default number of threads for calls of a large model on the calling thread."""
    if _default_threads:
        torch.set_num_threads(_default_threads[0])


def mean_pooled(torch: Any, hidden: Any, mask: Any) -> Any:
    """Returns the normalised mean of the token vectors of each text.

    Args:
        torch: The ``torch`` module.
        hidden: Tensor of shape (texts, tokens, numbers).
        mask: Tensor of shape (texts, tokens): 1 for a token, 0 for padding.

    Returns:
        Tensor of shape (texts, numbers).
    """
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    mean = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
    return torch.nn.functional.normalize(mean, dim=1)
