"""Reproducible random choices: each depends on the seed and the item, never on the order of rows."""

import hashlib
import json
import random
from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def stable_hash(*parts: object) -> str:
    """Returns the SHA-256 (hex) of JSON values. It is equal in every process."""
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def pseudonym(seed: int, user: str) -> str:
    """Returns the name that a user has in a dataset, so that ids such as e-mail addresses are not written.

    It is no protection against somebody who has a list of the ids.
    """
    return stable_hash(seed, "user", user)[:16]


def hash_fraction(seed: int, *parts: object) -> float:
    """Returns a number in [0, 1) for an item. The numbers of many items are uniformly distributed."""
    return int(stable_hash(seed, *parts)[:13], 16) / 16**13


def seeded_random(seed: int, *parts: object) -> random.Random:
    """Returns a random number generator for one item."""
    return random.Random(int(stable_hash(seed, *parts)[:16], 16))  # noqa: S311 (repeatable draws, no secret)


def seeded_shuffle(items: Iterable[Item], seed: int, *parts: object) -> list[Item]:
    """Returns items in random order.

    Args:
        items: In a fixed order, such as sorted: the result depends on it.
        seed: The build's seed.
        parts: Identify the shuffle.
    """
    order = list(items)
    seeded_random(seed, *parts).shuffle(order)
    return order
