"""What the graph knows while it runs. Plain values and the domain's models only, so any checkpointer can keep it."""

import operator
from typing import Annotated, Any

from langgraph.channels import EphemeralValue
from typing_extensions import TypedDict

from caslie_tools.domain import Caption, GateDecision, Prediction, QueryContext
from caslie_tools.pipeline.pipeline import ImageResult, Request
from caslie_tools.pipeline.response import Timing
from caslie_tools.tasks import Instance, PlacedImage


class Input(TypedDict, total=False):
    """What a run starts from: ``question`` alone will do. See :class:`~caslie_tools.pipeline.pipeline.Request`.

    Seen by the first step only, so that a thread's next question does not inherit what this one left out.
    """

    question: Annotated[str, EphemeralValue]
    task: Annotated[str, EphemeralValue]
    record: Annotated[Any, EphemeralValue]
    images: Annotated[list[Any], EphemeralValue]
    """Each a path, an http(s) or data URL, or an ``ImageRef``; ``None`` for a missing one."""
    products: Annotated[list[str], EphemeralValue]
    where: Annotated[Any, EphemeralValue]
    max_products: Annotated[int, EphemeralValue]


class Output(TypedDict, total=False):
    """What a run ends with."""

    prediction: Prediction
    instance: Instance
    image_results: list[ImageResult]
    warnings: list[str]
    timings: list[Timing]


class State(Input, total=False):
    """Everything between the two."""

    request: Request
    instance: Instance
    image_results: Annotated[list[ImageResult], operator.add]
    prediction: Prediction
    warnings: Annotated[list[str], operator.add]
    timings: Annotated[list[Timing], operator.add]


class ImageOutput(TypedDict, total=False):
    """What comes of one image."""

    image_results: Annotated[list[ImageResult], operator.add]
    timings: Annotated[list[Timing], operator.add]


class ImageState(ImageOutput, total=False):
    """One image on its way: the state of the inner graph that runs once per image."""

    index: int
    image: PlacedImage
    context: QueryContext
    caption: Caption | None
    decision: GateDecision
