"""Chance by hash: what is drawn for an item depends on the seed and the item, never on the order of rows."""

import hashlib
import json
import random
from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def digest(*parts: object) -> str:
    """Returns the SHA-256 (hex) of JSON values, equal in every process and for every order of rows."""
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def share(seed: int, *parts: object) -> float:
    """Returns an item's number in [0, 1), spread evenly over items."""
    return int(digest(seed, *parts)[:13], 16) / 16**13


def draw(seed: int, *parts: object) -> random.Random:
    """Returns an item's own source of chance."""
    return random.Random(int(digest(seed, *parts)[:16], 16))  # noqa: S311 (repeatable draws, no secret)


def shuffled(items: Iterable[Item], seed: int, *parts: object) -> list[Item]:
    """Returns items in an order of chance; give them in an order of their own, such as sorted."""
    order = list(items)
    draw(seed, *parts).shuffle(order)
    return order
