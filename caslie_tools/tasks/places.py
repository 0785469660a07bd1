"""Image slots and places: which text of an instance an image belongs to, and where its caption goes.

A task declares :class:`ImageSlot` objects. In one instance, a slot gives one :class:`Place`, or one place for each item
of a list. An image belongs to a place. The place's context says what a caption of the image must help with (EC3) and
what the judges are asked (CQE); the place's target says where a kept caption is written (uniM3).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from caslie_tools.domain import QueryContext
from caslie_tools.exceptions import InstanceError
from caslie_tools.tasks.answers import option_label
from caslie_tools.tasks.instances import Instance, WireFormat


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where in an instance a caption is written."""

    part: Literal["input", "options"]
    path: tuple[str | int, ...]
    """Keys and indexes, from the part down. The last one is the key to set, or the text to append to."""
    append: bool = False
    """Whether the caption is appended to a text instead of set under a key."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The place of images in one instance."""

    name: str
    context: QueryContext
    target: Target


@dataclass(frozen=True, kw_only=True)
class ImageSlot:
    """Declares one place for images, or one place for each item of a list.

    ``name``, ``focus``, ``known`` and ``compared_with`` are templates over the fields of the input, such as
    ``{title}``. A slot with ``each`` can also use ``{item}``, ``{number}`` (from 1) and ``{label}`` (the letter of an
    option).
    """

    name: str
    known: str
    """The text that describes the pictured product already, so that a caption need not repeat it."""
    focus: str = ""
    """The text that a caption must help with: the question, the search query, the review. Empty for a task about the
    product as a whole: a title says what is known, and asks nothing."""
    known_in_paper: str | None = None
    """``known`` in the wire format ``paper``, where the reference implementation passes less. ``None``: the same."""
    compared_with: str = ""
    """The text of another product that the pictured one is compared with."""
    aim: str
    """Ends the sentence "A caption that helps with ..."."""
    question: str
    """The judges' yes/no question."""
    key: str = ""
    """The key that a caption is written under. If it is empty, the caption is appended to the item's own text."""
    each: str = ""
    """The list whose items have a place each: ``input``, ``options``, or the name of a list field of the input. Empty
    for a single place."""

    def places(self, task: str, instance: Instance, wire: WireFormat) -> list[Place]:
        """Returns the slot's places in one instance.

        Raises:
            InstanceError: If a template names a field that the input does not have.
        """
        fields = (
            {key: field_text(value) for key, value in instance.input.items()}
            if isinstance(instance.input, dict)
            else {}
        )
        if not self.each:
            return [self._place(task, fields, Target(part="input", path=(self.key,)), wire)]
        items, part, above = self._items(instance)
        return [
            self._place(
                task,
                fields | {"item": field_text(item), "number": str(index + 1), "label": option_label(str(item)) or ""},
                Target(part=part, path=(*above, index, *([self.key] if self.key else [])), append=not self.key),
                wire,
            )
            for index, item in enumerate(items)
        ]

    def _items(self, instance: Instance) -> tuple[Sequence[Any], Literal["input", "options"], tuple[str, ...]]:
        if self.each == "options":
            return instance.options, "options", ()
        if isinstance(instance.input, list):
            return instance.input, "input", ()
        items = instance.input.get(self.each)
        return (items if isinstance(items, list) else []), "input", (self.each,)

    def _place(self, task: str, fields: Mapping[str, str], target: Target, wire: WireFormat) -> Place:
        known = self.known_in_paper if wire == "paper" and self.known_in_paper is not None else self.known
        try:
            name, known, focus, compared_with = (
                text.format_map(fields) for text in (self.name, known, self.focus, self.compared_with)
            )
        except KeyError as error:
            raise InstanceError(
                f"{task}: the input has no field {error}, which the image slot {self.name!r} of the task uses"
            ) from error
        context = QueryContext(
            task=task, aim=self.aim, focus=focus, known=known, compared_with=compared_with, question=self.question
        )
        return Place(name=name, context=context, target=target)


def field_text(value: object) -> str:
    """Returns the value of an input's field as text for a model, without the ids of products."""
    if isinstance(value, Mapping):
        return "\n".join(
            f"{key}: {field_text(item)}" for key, item in value.items() if key != "id" and item is not None
        )
    if isinstance(value, list | tuple):
        return "\n".join(field_text(item) for item in value)
    return str(value)
