"""Fuses kept captions into an instance's text (uniM3's input), and nothing of the others.

Two wire formats. ``corrected``, ours: a caption that was not kept leaves no trace. ``paper``: byte for byte what the
published models were tuned on, where a rejected caption is a ``null`` under its key.
"""

import copy
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from caslie_tools.domain import Caption
from caslie_tools.tasks.definition import FusedCaption, FusedInstance, Instance, Place, Task

WireFormat: TypeAlias = Literal["corrected", "paper"]


def fuse(
    task: Task, instance: Instance, captions: Sequence[Caption | None], *, wire: WireFormat = "corrected"
) -> FusedInstance:
    """Fuses an instance's kept captions into it.

    Args:
        task: The instance's task.
        instance: A checked instance.
        captions: One for each of ``instance.images``: the caption if it was kept, else ``None``.
        wire: The form of a caption that was not kept.

    Returns:
        A new fused instance; ``instance`` stays as it is.
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
            _put(parts, place, " ".join(dict.fromkeys(kept)) or None)  # equal pictures say it once
    return FusedInstance(
        task=instance.task,
        instruction=instance.instruction,
        input=parts["input"],
        options=tuple(parts["options"]),
        captions=tuple(fused),
    )


def _put(parts: dict[str, Any], place: Place, text: str | None) -> None:
    container: Any = parts[place.target.part]
    *above, last = place.target.path
    for step in above:
        container = container[step]
    if not place.target.append:
        container[last] = text
    elif text is not None:
        container[last] = f"{container[last]} {text}"
