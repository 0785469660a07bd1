"""Raw records in MMECInstruct's form, one per task. Tests change single fields."""

import json
from pathlib import Path
from typing import Any

from caslie_tools.data.reading import read_records
from caslie_tools.data.records import BadRecord, Record

URL = "https://shop.example/a.jpg"

_FIELDS: dict[str, tuple[Any, list[str], str, int]] = {
    "answerability_prediction": ({"question": "Does the lid fit?", "document": ["Sturdy."]}, [], "yes", 1),
    "category_classification": ({"title": "Kettle"}, ["A: Toasters", "B: Kettles"], "B", 1),
    "product_relation_prediction": ({"product 1": "Tripod", "product 2": "Ball head"}, [], "A", 2),
    "product_substitute_identification": ({"query": "charger", "product title": "USB charger"}, [], "no", 1),
    "multiclass_product_classification": ({"query": "charger", "product title": "USB charger"}, [], "D", 1),
    "sentiment_analysis": ({"review": "The seam came apart."}, [], "E", 1),
    "sequential_recommendation": (["1: Tent", "2: Stove"], ["A: Gas", "B: Lamp"], "A", 4),
    "product_qa": ({"question": "Is it red?", "products": [{"id": "mug", "title": "Mug"}]}, [], "Yes, red.", 1),
}
TASKS = tuple(_FIELDS)


def raw(task: str = "category_classification", **changes: Any) -> dict[str, Any]:
    """A valid record of a task, with changed fields. A change that is not a string becomes JSON text; None removes."""
    text, options, output, images = _FIELDS[task]
    fields = {
        "task": task,
        "split": "test",
        "instruction": "Do it.",
        "input": text,
        "options": options,
        "output": output,
        "images": [f"https://shop.example/{number}.jpg" for number in range(images)],
        "caption_info": [f"Caption {number}." for number in range(images)],
    }
    changed = {name: value for name, value in (fields | changes).items() if value is not None}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in changed.items()}


def write_lines(path: Path, *rows: Any) -> Path:
    """Writes JSON Lines. A string is written as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def read(path: Path | str, **options: Any) -> tuple[list[Record], list[BadRecord]]:
    """Reads a source. Returns the valid records and the bad ones."""
    found = list(read_records(path, **options))
    return [one for one in found if isinstance(one, Record)], [one for one in found if isinstance(one, BadRecord)]
