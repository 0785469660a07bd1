"""What a task is: data, from which everything task-specific is derived.

A :class:`Task` declares how its input looks, which picture belongs to which text, what a caption of that picture must
help with (EC3), what the judges are asked (CQE), where a kept caption goes (uniM3), the answers there are and the
metric. Nothing outside :mod:`caslie_tools.tasks` asks which task it has before it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, JsonValue, TypeAdapter, ValidationError, field_validator

from caslie_tools.domain import Caption, FrozenModel, ImageRef, QueryContext
from caslie_tools.exceptions import InstanceError
from caslie_tools.tasks.answers import option_label, parse_label, parse_yes_no


class PlacedImage(FrozenModel):
    """An image of an instance and the text it belongs to."""

    ref: ImageRef | None
    """``None`` for an image that is known to be missing: normal input, not an error."""
    place: int = Field(ge=0)
    """Index into the task's places for this instance."""
    product: str | None = None
    """Id of the catalogue product it shows, if it is one."""
    sha256: str | None = None
    """SHA-256 (hex) of its bytes, where the store knows it: a cached caption is found without reading the image."""


class Instance(FrozenModel):
    """One task instance, in the dataset's own form."""

    task: str
    input: dict[str, JsonValue] | list[JsonValue]
    options: tuple[str, ...] = ()
    instruction: str = ""
    """Empty for the task's own."""
    images: tuple[PlacedImage, ...] = ()
    output: str | None = None
    """The right answer, where it is known."""

    @field_validator("input", "options", mode="before")
    @classmethod
    def _from_json_text(cls, value: object) -> object:
        return _from_json(value) if isinstance(value, str) else value


class FusedCaption(FrozenModel):
    """A kept caption and where it went."""

    caption: Caption
    place: str
    """The place's name, such as ``product 1``."""
    product: str | None = None


class FusedInstance(FrozenModel):
    """What uniM3 sees: the instance with the kept captions in its text."""

    task: str
    instruction: str
    input: dict[str, JsonValue] | list[JsonValue]
    options: tuple[str, ...] = ()
    captions: tuple[FusedCaption, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where in an instance a caption goes."""

    part: Literal["input", "options"]
    path: tuple[str | int, ...]
    """Keys and indexes from the part to the place; the last is the key to set, or the text to append to."""
    append: bool = False


@dataclass(frozen=True, kw_only=True)
class Place:
    """A picture's place in one instance: the text it belongs to and where its caption goes."""

    name: str
    context: QueryContext
    target: Target


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Declares the place of a picture, or of one picture per item of a list.

    ``focus``, ``known`` and ``name`` are templates over the input's fields; with ``each`` also over ``item``,
    ``number`` (from 1) and ``label`` (an option's letter).
    """

    name: str
    focus: str
    """What the caption must help with: the question, the query, the review ..."""
    known: str
    """The text that says what is pictured."""
    aim: str
    """Ends the sentence "a caption that helps with ..."."""
    question: str
    """The judges' yes/no question."""
    key: str = ""
    """The key a caption is set under; empty to append it to the item's own text."""
    each: Literal["", "input", "options", "products"] = ""
    """One place for each item of: the input itself, the options, the input's ``products``."""

    def places(self, task: str, instance: Instance) -> list[Place]:
        """Returns this declaration's places in one instance."""
        fields = (
            {key: _text(value) for key, value in instance.input.items()} if isinstance(instance.input, dict) else {}
        )
        if not self.each:
            return [self._place(task, fields, Target(part="input", path=(self.key,)))]
        items, part, above = self._items(instance)
        return [
            self._place(
                task,
                fields | {"item": _text(item), "number": str(index + 1), "label": option_label(str(item)) or ""},
                Target(part=part, path=(*above, index, *([self.key] if self.key else [])), append=not self.key),
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

    def _place(self, task: str, fields: Mapping[str, str], target: Target) -> Place:
        context = QueryContext(
            task=task,
            aim=self.aim,
            focus=self.focus.format_map(fields),
            known=self.known.format_map(fields),
            question=self.question,
        )
        return Place(name=self.name.format_map(fields), context=context, target=target)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A task's headline metric (spec: MMECInstruct's own)."""

    name: Literal["f1", "macro_f1", "accuracy", "recall@1"]
    positive: str | None = None
    """The class an ``f1`` is of."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task, declared."""

    name: str
    short: str
    """The paper's abbreviation, or the name's initials."""
    instruction: str
    input: TypeAdapter[Any]
    """What the input must look like, in the dataset's own form."""
    pictures: tuple[Picture, ...]
    answers: Literal["letter", "yes_no", "text"]
    options: tuple[str, ...] | Literal["given"] = ()
    """The fixed options, or ``given`` if every instance brings its own."""
    metric: Metric | None = None

    def check(self, instance: Instance) -> Instance:
        """Returns the instance, validated, with the task's instruction and options filled in.

        Raises:
            InstanceError: If the input has another form, options are missing or unreadable, or an image belongs to
                no text.
        """
        try:
            self.input.validate_python(instance.input)
        except ValidationError as error:
            raise InstanceError(f"{self.name}: {_reason(error)}") from error
        options = instance.options or (self.options if self.options != "given" else ())
        if self.options == "given" and not options:
            raise InstanceError(f"{self.name}: options are missing; give them as a list such as ['A: ...', 'B: ...']")
        if self.answers == "letter":
            labels = [option_label(option) for option in options]
            if None in labels or len(set(labels)) != len(labels):
                raise InstanceError(f"{self.name}: every option starts with a letter of its own, such as 'A: ...'")
        checked = instance.model_copy(
            update={"options": tuple(options), "instruction": instance.instruction or self.instruction}
        )
        places = len(self.places(checked))
        for image in checked.images:
            if image.place >= places:
                raise InstanceError(f"{self.name}: image {image.place + 1} belongs to no text; there are {places}")
        return checked

    def places(self, instance: Instance) -> list[Place]:
        """Returns the places of an instance's pictures, in the dataset's order of images."""
        return [place for picture in self.pictures for place in picture.places(self.name, instance)]

    def read(self, record: Mapping[str, Any], images: Sequence[ImageRef | None] = ()) -> Instance:
        """Reads an instance from the dataset's own form (fields ``input``, ``options`` ... as JSON or JSON text).

        Args:
            record: The record, or only its input.
            images: Its images in the dataset's order, instead of the record's own. If the task has one place for
                pictures, all of them belong to it.

        Raises:
            InstanceError: If it is not an instance of this task.
        """
        if "input" not in record:
            record = {"input": record}
        own = _json_list(record, "images")
        try:
            refs = list(images) or [ImageRef.parse(str(image)) if image else None for image in own]
            bare = Instance(
                task=self.name,
                input=record["input"],
                options=tuple(_json_list(record, "options")),
                instruction=str(record.get("instruction") or ""),
                output=None if record.get("output") is None else str(record["output"]),
            )
        except ValueError as error:
            raise InstanceError(f"{self.name}: not an instance of this task: {_reason(error)}") from error
        bare = self.check(bare)
        alone = len(self.places(bare)) == 1
        placed = tuple(PlacedImage(ref=ref, place=0 if alone else index) for index, ref in enumerate(refs))
        return self.check(bare.model_copy(update={"images": placed}))

    def labels(self, instance: Instance | FusedInstance) -> tuple[str, ...]:
        """Returns the closed set of answers; empty for an open question."""
        if self.answers == "text":
            return ()
        if self.answers == "yes_no":
            return ("yes", "no")
        return tuple(label for option in instance.options if (label := option_label(option)))

    def parse(self, answer: str, instance: Instance | FusedInstance) -> str | None:
        """Returns the label an answer names; ``None`` if it names none, or if the question is open."""
        if self.answers == "text":
            return None
        return parse_yes_no(answer) if self.answers == "yes_no" else parse_label(answer, instance.options)


def _json_list(record: Mapping[str, Any], field: str) -> list[Any]:
    value = record.get(field) or []
    try:
        value = _from_json(value) if isinstance(value, str) else value
    except ValueError as error:
        raise InstanceError(f"{field} is not JSON: {_reason(error)}") from error
    if not isinstance(value, list | tuple):
        raise InstanceError(f"{field} is not a list")
    return list(value)


def _text(value: object) -> str:
    """A field's value as a model should read it."""
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {_text(item)}" for key, item in value.items() if key != "id" and item is not None)
    if isinstance(value, list | tuple):
        return "\n".join(_text(item) for item in value)
    return str(value)


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _reason(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        where = " > ".join(str(part) for part in first["loc"]) or "input"
        return f"{where}: {first['msg']}"
    return str(error).split("\n", 1)[0]
