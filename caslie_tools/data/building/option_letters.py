"""Options under letters, in an order that tells nothing."""

from collections.abc import Callable, Sequence
from random import Random

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_TRIES = 40
"""Draws for every one that is wanted, before the candidates count as used up."""


def lettered(texts: Sequence[str]) -> tuple[str, ...]:
    """Returns options as the dataset writes them: ``A: ...``."""
    return tuple(f"{letter}: {text}" for letter, text in zip(LETTERS, texts, strict=False))


def drawn(chance: Random, candidates: Sequence[str], count: int, fits: Callable[[str], bool]) -> list[str]:
    """Draws up to so many different candidates that fit, without looking at all of a large catalogue.

    Args:
        chance: The draws.
        candidates: In an order of their own.
        count: How many are wanted.
        fits: Whether a candidate may be taken; asked once for each that is drawn.
    """
    if len(candidates) <= _TRIES * count:
        return [name for name in chance.sample(candidates, len(candidates)) if fits(name)][:count]
    found: dict[str, bool] = {}
    for _ in range(_TRIES * count):
        name = chance.choice(candidates)
        if name not in found:
            found[name] = fits(name)
            if sum(found.values()) == count:
                break
    return [name for name, fit in found.items() if fit]
