"""Task instances: the input, options and images of one question, before and after captions are fused into its text."""

import json
from typing import Any, Literal, Self, TypeAlias

from pydantic import Field, JsonValue, field_validator

from caslie_tools.domain import Caption, FrozenModel, ImageRef

WireFormat: TypeAlias = Literal["corrected", "paper"]
"""The form of the fused text and of its prompt. See :mod:`caslie_tools.tasks.fusion`."""


class PlacedImage(FrozenModel):
    """An image of an instance and the place it belongs to."""

    ref: ImageRef | None
    """``None`` for a missing image, which is normal input and not an error."""
    place: int = Field(ge=0)
    """Index into the instance's places (:meth:`~caslie_tools.tasks.Task.places`)."""
    product: str | None = None
    """Id of the catalogue product in the image, if there is one."""
    sha256: str | None = None
    """SHA-256 (hex) of the image's bytes, if the store has it. A cached caption is then found without reading the
    image."""


class Instance(FrozenModel):
    """One instance of a task, in the dataset's own form."""

    task: str
    input: dict[str, JsonValue] | list[JsonValue]
    options: tuple[str, ...] = ()
    instruction: str = ""
    """Empty for the task's own instruction."""
    images: tuple[PlacedImage, ...] = ()
    output: str | None = None
    """The right answer; ``None`` if the record has none."""
    filled_in: tuple[Literal["instruction", "options"], ...] = ()
    """The fields that the instance lacked, so that they were taken from the definition of its task."""

    def with_image(self, index: int) -> Self:
        """Returns the instance with one of its images only."""
        return self.model_copy(update={"images": (self.images[index],)})

    @field_validator("input", "options", mode="before")
    @classmethod
    def _from_json_text(cls, value: object) -> object:
        return parse_json(value) if isinstance(value, str) else value


class FusedCaption(FrozenModel):
    """A kept caption and the place that it was fused into."""

    caption: Caption
    place: str
    """The name of the place, such as ``product 1``."""
    product: str | None = None
    """Id of the catalogue product in the image, if there is one."""


class FusedInstance(FrozenModel):
    """The input of uniM3: an instance with the kept captions in its text."""

    task: str
    instruction: str
    input: dict[str, JsonValue] | list[JsonValue]
    options: tuple[str, ...] = ()
    captions: tuple[FusedCaption, ...] = ()
    wire_format: WireFormat = "corrected"
    """The form that the text was fused in. The prompt is rendered in the same form."""


def parse_json(text: str) -> Any:
    """Returns the value of a JSON text.

    Raises:
        ValueError: If the text is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
