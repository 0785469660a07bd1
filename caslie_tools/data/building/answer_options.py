"""Answer options with letters, and the random choice of wrong ones."""

from collections.abc import Callable, Sequence
from random import Random

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_DRAWS_PER_CANDIDATE = 40
"""Draws per requested candidate. After that many draws, the search gives up."""


def label_options(texts: Sequence[str]) -> tuple[str, ...]:
    """Returns options as the dataset writes them: ``A: ...``."""
    return tuple(f"{letter}: {text}" for letter, text in zip(LETTERS, texts, strict=False))


def sample_matching(chance: Random, candidates: Sequence[str], count: int, fits: Callable[[str], bool]) -> list[str]:
    """Draws up to ``count`` different candidates that fit. It does not test every candidate of a large catalogue.

    Args:
        chance: The random number generator.
        candidates: In a fixed order: the result depends on it.
        count: How many to draw.
        fits: Whether a candidate may be used. Called once per drawn candidate.
    """
    if len(candidates) <= _DRAWS_PER_CANDIDATE * count:
        return [name for name in chance.sample(candidates, len(candidates)) if fits(name)][:count]
    found: dict[str, bool] = {}
    for _ in range(_DRAWS_PER_CANDIDATE * count):
        name = chance.choice(candidates)
        if name not in found:
            found[name] = fits(name)
            if sum(found.values()) == count:
                break
    return [name for name, fit in found.items() if fit]
