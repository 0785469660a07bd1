"""A task that the package does not have. Tests add it by this one definition."""

from typing import Annotated, Any

from pydantic import Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from caslie_tools.tasks import ImageSlot, Metric, Task


@with_config(extra="forbid")
class CareQuestion(TypedDict):
    """The input: the product's title. The washing temperature is on the picture of the care label only."""

    title: Annotated[str, Field(min_length=1)]


CARE_LABEL = Task(
    name="care_label",
    abbreviation="cl",
    instruction="Choose how to wash the product. Answer with the letter of the option.",
    input=TypeAdapter(CareQuestion),
    image_slots=(
        ImageSlot(
            name="care label",
            focus="wash label: {title}",
            known="{title}",
            aim="choosing the washing temperature of the product",
            question="Does the information from the image help to choose the washing temperature?",
            key="information on the care label",
        ),
    ),
    answers="letter",
    options=("A: 30 degrees", "B: 60 degrees"),
    metric=Metric(name="f1", positive="B"),
)


def care_record(title: str, output: str, image: str | None, **fields: Any) -> dict[str, Any]:
    """Returns a record of the task in the dataset's own form."""
    record = {"task": "care_label", "split": "test", "input": {"title": title}, "output": output, "images": [image]}
    return record | fields
