"""The types that the graphs store in checkpoints. LangGraph warns about a type that it does not know."""

import copy
from typing import Any, Final

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from pydantic import SecretStr

from caslie_tools.domain import Caption, GateDecision, ImageRef, Prediction, QueryContext
from caslie_tools.graphs.context import Context
from caslie_tools.pipeline.pipeline import ImageResult, Request
from caslie_tools.pipeline.response import Timing
from caslie_tools.tasks import Instance, PlacedImage

STATE_TYPES: Final[tuple[type, ...]] = (
    Caption,
    Context,
    GateDecision,
    ImageRef,
    ImageResult,
    Instance,
    PlacedImage,
    Prediction,
    QueryContext,
    Request,
    SecretStr,
    Timing,
)
"""The types of the values in the state. For a graph of your own that contains this one, pass them to its checkpointer:
``serde=JsonPlusSerializer(allowed_msgpack_modules=STATE_TYPES)``."""


def with_state_types(checkpointer: BaseCheckpointSaver[Any]) -> BaseCheckpointSaver[Any]:
    """Returns a copy of a checkpointer, over the same storage, that loads the state's types without a warning.

    A checkpointer with another serializer than LangGraph's default is returned as it is.
    """
    serializer = checkpointer.serde
    if type(serializer) is not JsonPlusSerializer:
        return checkpointer
    registered = serializer.with_msgpack_allowlist(STATE_TYPES)
    if registered is serializer:  # it allows every type, with a warning
        registered = JsonPlusSerializer(pickle_fallback=serializer.pickle_fallback, allowed_msgpack_modules=STATE_TYPES)
    copied = copy.copy(checkpointer)
    copied.serde = registered
    return copied
