"""Records to tune a model with, and settings of such a run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from caslie_tools.tuning.settings import TuningSettings

Raw = dict[str, Any]
Make = Callable[..., TuningSettings]
"""Makes settings with some of them changed: the fixture ``make``."""


def substitute(number: int, split: str = "train", **fields: Any) -> Raw:
    """A record whose right answer depends only on its caption."""
    right = "yes" if number % 2 else "no"
    record = {
        "task": "product_substitute_identification",
        "split": split,
        "input": {"query": f"mug {number}", "product title": "mug"},
        "output": right,
        "images": ["https://shop.example/a.png"],
        "caption_info": ["A red mug." if right == "yes" else "A blue pot."],
        "votes": [True],
    }
    return record | fields


def write(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path
