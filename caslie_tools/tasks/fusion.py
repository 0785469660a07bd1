"""Fusion: writes kept captions into the text of an instance, which is the input of uniM3.

There are two wire formats. In ``corrected``, a rejected caption leaves no trace. In ``paper``, a rejected caption is a
``null`` under its key: this is, byte for byte, what the published models were tuned on.
"""

import copy
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from caslie_tools.domain import Caption
from caslie_tools.tasks.definition import Task
from caslie_tools.tasks.instances import FusedCaption, FusedInstance, Instance
from caslie_tools.tasks.places import Place

WireFormat: TypeAlias = Literal["corrected", "paper"]


def fuse(
    task: Task, instance: Instance, captions: Sequence[Caption | None], *, wire: WireFormat = "corrected"
) -> FusedInstance:
    """Fuses the kept captions of an instance into its text.

    Args:
        task: The instance's task.
        instance: A checked instance. It is not changed.
        captions: One entry for each of ``instance.images``: the caption if it is kept, else ``None``.
        wire: How a rejected caption is written.

    Returns:
        A new fused instance.
    """
    places = task.places(instance)
    parts: dict[str, Any] = {"input": copy.deepcopy(instance.input), "options": list(instance.options)}
    fused = []
    texts: list[list[str]] = [[] for _ in places]
    for image, caption in zip(instance.images, captions, strict=True):
        if caption is None:
            continue
        texts[image.place].append(caption.text)
        fused.append(FusedCaption(caption=caption, place=places[image.place].name, product=image.product))
    pictured = {image.place for image in instance.images}
    for index, (place, kept) in enumerate(zip(places, texts, strict=True)):
        if kept or (wire == "paper" and index in pictured):
            _write(parts, place, " ".join(dict.fromkeys(kept)) or None)  # equal captions are written once
    return FusedInstance(
        task=instance.task,
        instruction=instance.instruction,
        input=parts["input"],
        options=tuple(parts["options"]),
        captions=tuple(fused),
    )


def _write(parts: dict[str, Any], place: Place, text: str | None) -> None:
    container: Any = parts[place.target.part]
    *above, last = place.target.path
    for step in above:
        container = container[step]
    if not place.target.append:
        container[last] = text
    elif text is not None:
        container[last] = f"{container[last]} {text}"
