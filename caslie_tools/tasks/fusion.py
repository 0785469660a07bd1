"""Fusion: writes kept captions into the text of an instance, which is the input of uniM3.

There are two wire formats. In ``corrected``, a rejected caption leaves no trace. ``paper`` is, byte for byte, what the
published models were tuned on, in the tasks that they were tuned on (:attr:`~caslie_tools.tasks.Task.published`):

- A place whose caption is rejected or missing has a ``null`` under its key, also if it has no image.
- Only the first image of a place counts.
- A caption is written as it is. ``corrected`` writes each run of white space as one space.
- Nothing is filled in: an instance must bring its own instruction and options.
"""

import copy
import json
from collections.abc import Sequence
from typing import Any

from caslie_tools.domain import Caption
from caslie_tools.exceptions import InstanceError
from caslie_tools.tasks.definition import Task
from caslie_tools.tasks.instances import FusedCaption, FusedInstance, Instance, WireFormat
from caslie_tools.tasks.places import Place


def fuse(
    task: Task, instance: Instance, captions: Sequence[Caption | None], *, wire: WireFormat = "corrected"
) -> FusedInstance:
    """Fuses the kept captions of an instance into its text.

    Args:
        task: The instance's task.
        instance: A checked instance. It is not changed.
        captions: One entry for each of ``instance.images``: the caption if it is kept, else ``None``.
        wire: The form of the fused text.

    Returns:
        A new fused instance.

    Raises:
        InstanceError: As :func:`require_complete`.
    """
    require_complete(task, instance, wire)
    places = task.places(instance)
    parts: dict[str, Any] = {"input": copy.deepcopy(instance.input), "options": list(instance.options)}
    used = set(used_images(task, instance, wire))
    fused = []
    texts: list[list[str]] = [[] for _ in places]
    for index, (image, caption) in enumerate(zip(instance.images, captions, strict=True)):
        if caption is None or index not in used:
            continue
        texts[image.place].append(caption.text if wire == "paper" else " ".join(caption.text.split()))
        fused.append(FusedCaption(caption=caption, place=places[image.place].name, product=image.product))
    with_null = set(range(len(places)) if task.published else (image.place for image in instance.images))
    for index, (place, kept) in enumerate(zip(places, texts, strict=True)):
        if kept or (wire == "paper" and index in with_null):
            _write(parts, place, " ".join(dict.fromkeys(kept)) or None)  # equal captions are written once
    return FusedInstance(
        task=instance.task,
        instruction=instance.instruction,
        input=parts["input"],
        options=tuple(parts["options"]),
        captions=tuple(fused),
        wire_format=wire,
    )


def fused_text(fused: FusedInstance) -> str:
    """Returns the fused text as JSON."""
    return json.dumps(fused.input, ensure_ascii=False)


def used_images(task: Task, instance: Instance, wire: WireFormat) -> tuple[int, ...]:
    """Returns the positions of the images whose captions can be fused: in ``paper``, the first image of each place."""
    if wire == "corrected" or not task.published:
        return tuple(range(len(instance.images)))
    first: dict[int, int] = {}
    for index, image in enumerate(instance.images):
        first.setdefault(image.place, index)
    return tuple(first.values())


def require_complete(task: Task, instance: Instance, wire: WireFormat) -> None:
    """Checks that an instance has all texts that a wire format needs.

    Raises:
        InstanceError: If the instruction or the options of an instance were filled in from the task's definition, and
            the wire format is ``paper``. A published model was not tuned on the texts of the definition.
    """
    if wire == "paper" and task.published and instance.filled_in:
        raise InstanceError(
            f"{task.name}: missing {' and '.join(instance.filled_in)}; the wire format 'paper' fills in nothing: give "
            "the texts that the published model was tuned on, such as those of MMECInstruct"
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
