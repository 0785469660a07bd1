"""Task definitions.

A :class:`Task` declares the form of its input, the places of its images, its answers and its metric. All code that
handles tasks works from these declarations; it does not ask which task it has.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema

from caslie_tools.domain import ImageRef, Product
from caslie_tools.exceptions import InstanceError, TaskDefinitionError
from caslie_tools.tasks.answers import option_label, parse_label, parse_yes_no
from caslie_tools.tasks.instances import FusedInstance, Instance, PlacedImage, WireFormat, parse_json
from caslie_tools.tasks.places import ImageSlot, Place

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")

Decision: TypeAlias = Literal[
    "choice", "answerability", "relevance", "substitution", "relation", "sentiment", "next_item"
]
"""What a closed answer decides. A predictor without a language model has one method for each kind of decision:

- ``choice``: which option fits the texts best, or whether they agree with the instruction (yes or no).
- ``answerability``: whether the input's other texts answer its ``question``.
- ``relevance``: how well a product fits the input's ``query``: exact, substitute, complement or irrelevant.
- ``substitution``: whether a product is a substitute for what the input's ``query`` asks for.
- ``relation``: whether ``product 1`` and ``product 2`` are bought together, viewed together, or similar.
- ``sentiment``: how the writer of the input's ``review`` feels, in five steps from very positive to very negative.
- ``next_item``: which option continues the list that is the input.
"""

QuestionForm: TypeAlias = Callable[[str, Sequence[Product], Sequence[ImageRef]], Instance]
"""Builds an instance from a question, the products it is about, and the shopper's own images."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """The main metric of a task."""

    name: Literal["f1", "macro_f1", "accuracy", "recall@1"]
    positive: str | None = None
    """The label that ``f1`` is computed for; ``None`` for the other metrics."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """The definition of one task.

    Raises:
        TaskDefinitionError: If the fields contradict each other.
    """

    name: str
    """Lowercase letters, digits and underscores."""
    abbreviation: str
    """A second, short name, such as the paper's abbreviation. Same characters as ``name``."""
    instruction: str
    """What a model is asked to do. An instance may bring its own instruction."""
    input: TypeAdapter[Any]
    """Validates the input, in the dataset's own form. None of its fields may have the name ``input``."""
    image_slots: tuple[ImageSlot, ...]
    answers: Literal["letter", "yes_no", "text"]
    """The letter of an option, ``yes`` or ``no``, or free text. With free text the question is open."""
    options: tuple[str, ...] | Literal["given"] = ()
    """The fixed options, such as ``A: positive``; or ``given`` if every instance has its own options."""
    metric: Metric | None = None
    """``None`` for an open question: its score is the share of right answers."""
    decision: Decision = "choice"
    """What a closed answer decides."""
    published: bool = False
    """Whether the published CASLIE models were tuned on this task. The wire format ``paper`` then follows the reference
    implementation in every detail: see :func:`caslie_tools.tasks.fusion.fuse`."""
    input_description: str = ""
    """Describes the input to an agent that calls the tool ``predict_product_task``. If it is empty, the names of the
    fields are listed."""
    from_question: QuestionForm | None = None
    """Builds the instance of a request that asks a question about products of the store. ``None`` if a request must
    bring an instance."""

    def __post_init__(self) -> None:
        problem = next(self._problems(), None)
        if problem is not None:
            raise TaskDefinitionError(f"the task {self.name!r} cannot be defined: {problem}")

    @property
    def is_open(self) -> bool:
        """Whether the answer is free text instead of a label."""
        return self.answers == "text"

    @property
    def fixed_labels(self) -> tuple[str, ...]:
        """The labels that all instances share; empty if every instance has its own options, or the question is open."""
        if self.answers == "yes_no":
            return ("yes", "no")
        return _labels(self.fixed_options) if self.answers == "letter" else ()

    @property
    def fixed_options(self) -> tuple[str, ...]:
        """The options that all instances share; empty if there are none, or every instance has its own."""
        return () if self.options == "given" else self.options

    def check(self, instance: Instance) -> Instance:
        """Validates an instance.

        Returns:
            The instance with the task's instruction and options where it has none of its own.

        Raises:
            InstanceError: If the input has another form, options are missing or unreadable, or an image belongs to
                no place.
        """
        try:
            self.input.validate_python(instance.input)
        except ValidationError as error:
            raise InstanceError(f"{self.name}: {_reason(error)}") from error
        options = instance.options or self.fixed_options
        if self.options == "given" and not options:
            raise InstanceError(f"{self.name}: options are missing; give them as a list such as ['A: ...', 'B: ...']")
        if self.answers == "letter" and not _are_lettered(options):
            raise InstanceError(f"{self.name}: every option must start with its own letter, such as 'A: ...'")
        filled_in = {*instance.filled_in}
        if not instance.instruction:
            filled_in.add("instruction")
        if options and not instance.options:
            filled_in.add("options")
        checked = instance.model_copy(
            update={
                "options": tuple(options),
                "instruction": instance.instruction or self.instruction,
                "filled_in": tuple(sorted(filled_in)),
            }
        )
        places = len(self.places(checked))
        for image in checked.images:
            if image.place >= places:
                raise InstanceError(
                    f"{self.name}: image {image.place + 1} belongs to no text; the instance has {places} for images"
                )
        return checked

    def places(self, instance: Instance, wire: WireFormat = "corrected") -> list[Place]:
        """Returns the places of an instance's images, in the dataset's order of images.

        Args:
            instance: The instance.
            wire: The wire format. It decides what captioner and judges are told in one task.

        Raises:
            InstanceError: If an image slot names a field that the input does not have.
        """
        return [place for slot in self.image_slots for place in slot.places(self.name, instance, wire)]

    def read(self, record: Mapping[str, Any], images: Sequence[ImageRef | None] = ()) -> Instance:
        """Reads an instance from the dataset's own form.

        The fields ``input``, ``options``, ``images`` and so on are JSON values or JSON text.

        Args:
            record: The record, or only its input.
            images: Images in the dataset's order, instead of the record's own images. If the instance has one place,
                all images belong to it.

        Raises:
            InstanceError: If the record is not an instance of this task.
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
        """Returns the labels that an answer can have; empty for an open question."""
        return _labels(instance.options) if self.answers == "letter" else self.fixed_labels

    def parse(self, answer: str, instance: Instance | FusedInstance) -> str | None:
        """Returns the label that an answer names; ``None`` if it names no label, or if the question is open."""
        if self.is_open:
            return None
        return parse_yes_no(answer) if self.answers == "yes_no" else parse_label(answer, instance.options)

    def describe_input(self) -> str:
        """Returns a description of the input for an agent, such as ``{'query', 'product title'}``."""
        if self.input_description:
            return self.input_description
        fields = ", ".join(map(repr, self._schema().get("properties", {})))
        return f"{{{fields}}}" if fields else "a list" if self._schema().get("type") == "array" else "an object"

    def _schema(self) -> Mapping[str, Any]:
        try:
            return self.input.json_schema()
        except PydanticInvalidForJsonSchema:  # such as a type with a validator of its own
            return {}

    def _problems(self) -> Iterator[str]:
        for name in (self.name, self.abbreviation):
            if not _NAME.fullmatch(name):
                yield f"{name!r} must start with a lowercase letter and hold only lowercase letters, digits and _"
        if self.answers == "letter" and self.options != "given" and not _are_lettered(self.options):
            yield "every option must start with its own letter, such as 'A: ...'; or options must be 'given'"
        elif self.answers == "letter" and len(self.fixed_options) == 1:
            yield "one option is no choice; give at least two"
        if self.is_open != (self.metric is None):
            yield "an open question has no metric" if self.is_open else "a metric is missing"
        elif self.metric is not None and (self.metric.name == "f1") != (self.metric.positive is not None):
            yield "the metric f1 needs a positive label, and no other metric has one"
        elif self.metric is not None and self.metric.positive not in (None, *self.fixed_labels):
            yield f"the positive label {self.metric.positive!r} is not a label of every instance"
        for slot in self.image_slots:
            if slot.each == "options" and slot.key:
                yield f"the image slot {slot.name!r} cannot have a key, because an option is a text"
            elif not slot.each and not slot.key:
                yield f"the image slot {slot.name!r} needs a key to write captions under"
            elif not slot.each and slot.key in self._schema().get("properties", {}):
                yield f"the image slot {slot.name!r} would write captions over the input's field {slot.key!r}"
        keys = [(slot.each, slot.key) for slot in self.image_slots]
        if len(set(keys)) != len(keys):
            yield "two image slots would write captions to the same place; give them different keys"


def _labels(options: Sequence[str]) -> tuple[str, ...]:
    return tuple(label for option in options if (label := option_label(option)))


def _are_lettered(options: Sequence[str]) -> bool:
    labels = _labels(options)
    return 0 < len(options) == len(set(labels))


def _json_list(record: Mapping[str, Any], field: str) -> list[Any]:
    value = record.get(field) or []
    try:
        value = parse_json(value) if isinstance(value, str) else value
    except ValueError as error:
        raise InstanceError(f"{field} is not JSON: {_reason(error)}") from error
    if not isinstance(value, list | tuple):
        raise InstanceError(f"{field} is not a list")
    return list(value)


def _reason(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        where = " > ".join(str(part) for part in first["loc"]) or "input"
        return f"{where}: {first['msg']}"
    return str(error).split("\n", 1)[0]
