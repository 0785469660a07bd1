"""The state of the graphs: plain values and the data model only, so that any checkpointer can store it."""

import operator
from typing import Annotated, Any

from langgraph.channels import EphemeralValue
from typing_extensions import TypedDict

from caslie_tools.domain import Caption, GateDecision, Prediction, QueryContext
from caslie_tools.graphs.context import Context
from caslie_tools.pipeline.pipeline import ImageResult, Request
from caslie_tools.pipeline.response import Timing
from caslie_tools.pipeline.text_first import TextAnswer
from caslie_tools.tasks import Instance, PlacedImage


class Input(TypedDict, total=False):
    """The input of a run. ``question`` alone is enough. See :class:`~caslie_tools.pipeline.pipeline.Request`.

    Only the first step reads these values. The next request of a thread does not inherit them.
    """

    question: Annotated[str, EphemeralValue]
    task: Annotated[str, EphemeralValue]
    record: Annotated[Any, EphemeralValue]
    images: Annotated[list[Any], EphemeralValue]
    """Each a path, an http(s) or data URL, or an ``ImageRef``. ``None`` for a missing image."""
    products: Annotated[list[str], EphemeralValue]
    where: Annotated[Any, EphemeralValue]
    max_products: Annotated[int, EphemeralValue]


class Output(TypedDict, total=False):
    """The output of a run."""

    prediction: Prediction
    instance: Instance
    text_answer: TextAnswer | None
    image_results: list[ImageResult]
    warnings: list[str]
    timings: list[Timing]


class State(Input, total=False):
    """The state between the steps."""

    request: Request
    options: Context
    """The options of the request. A run that is resumed keeps them."""
    instance: Instance
    text_answer: TextAnswer | None
    image_results: Annotated[list[ImageResult], operator.add]
    prediction: Prediction
    warnings: Annotated[list[str], operator.add]
    timings: Annotated[list[Timing], operator.add]


class ImageOutput(TypedDict, total=False):
    """The output of the inner graph."""

    image_results: Annotated[list[ImageResult], operator.add]
    timings: Annotated[list[Timing], operator.add]


class ImageState(ImageOutput, total=False):
    """The state of the inner graph, which runs once per image."""

    index: int
    image: PlacedImage
    context: QueryContext
    ask_person: bool
    instance: Instance
    """The instance with this image as its only image."""
    text_answer: TextAnswer | None
    caption: Caption | None
    decision: GateDecision
