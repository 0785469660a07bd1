"""A small record of each task, with images and captions for it."""

from collections.abc import Mapping
from typing import Any

from caslie_tools.domain import Caption, ImageRef, QueryContext
from caslie_tools.tasks import FusedInstance, get_task
from caslie_tools.tasks.fusion import fuse

RECORDS: dict[str, dict[str, Any]] = {
    "ap": {"input": {"question": "Does the lid fit?", "document": ["Sturdy lid.", "Fits well."]}},
    "cc": {"input": {"title": "Kettle"}, "options": ["A: Toasters", "B: Kettles"]},
    "prp": {"input": {"product 1": "Tripod", "product 2": "Ball head"}},
    "psi": {"input": {"query": "usb-c charger", "product title": "USB-A charger"}},
    "mpc": {"input": {"query": "usb-c charger", "product title": "USB-A charger"}},
    "sa": {"input": {"review": "The seam came apart."}},
    "sr": {"input": ["1: Tent", "2: Stove"], "options": ["A: Gas", "B: Lamp", "C: Mug"]},
}
"""Records by the abbreviation of their task."""
COMPLETE: dict[str, dict[str, Any]] = {
    short: {"instruction": "Do it.", "options": get_task(short).fixed_options} | record
    for short, record in RECORDS.items()
}
"""The records with an instruction and options of their own, as the wire format ``paper`` needs them."""
REFS = tuple(ImageRef(data=bytes([number])) for number in range(1, 6))
"""Images that no test loads."""


def caption(text: str) -> Caption:
    return Caption(
        key=text, text=text, image="0" * 64, context=QueryContext(task="t"), captioner="c", prompt_version="1"
    )


def fused(task: str, record: Mapping[str, Any] | None = None) -> FusedInstance:
    """Fuses a record without captions. The default is the small record of the task."""
    definition = get_task(task)
    instance = definition.read(RECORDS[task] if record is None else record)
    return fuse(definition, instance, [None for _ in instance.images])
