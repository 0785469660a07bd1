"""One vector per text out of one per token (Reimers and Gurevych, 2019)."""

from typing import Any


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
