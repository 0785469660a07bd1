"""The two graphs: the outer graph answers one request, the inner graph captions and judges one image."""

from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import RetryPolicy

from caslie_tools.graphs.checkpoints import with_state_types
from caslie_tools.graphs.context import Context
from caslie_tools.graphs.nodes import Nodes, as_node, is_retryable
from caslie_tools.graphs.state import ImageOutput, ImageState, Input, Output, State
from caslie_tools.pipeline.pipeline import Pipeline

RETRY = RetryPolicy(initial_interval=0.5, max_interval=8.0, max_attempts=3, retry_on=is_retryable)
"""Failed calls of models are retried. Errors in the input are not."""


def build_image_graph(pipeline: Pipeline, *, retry: RetryPolicy = RETRY) -> CompiledStateGraph[Any, Context, Any, Any]:
    """Builds the inner graph: captions one image and lets the jury decide about the caption."""
    nodes = Nodes(pipeline, attempts=retry.max_attempts)
    builder = StateGraph(ImageState, context_schema=Context, output_schema=ImageOutput)
    builder.add_node("caption", as_node(nodes.caption), retry_policy=retry)
    builder.add_node("gate", as_node(nodes.gate))
    builder.add_edge(START, "caption")
    builder.add_conditional_edges("caption", lambda state: "gate" if state.get("caption") else END, ["gate", END])
    builder.add_edge("gate", END)
    return builder.compile(name="image")


def build_graph(
    pipeline: Pipeline,
    *,
    checkpointer: BaseCheckpointSaver[Any] | None = None,
    retry: RetryPolicy = RETRY,
) -> CompiledStateGraph[State, Context, Input, Output]:
    """Builds the state machine that answers one request.

    Args:
        pipeline: Store, models and limits.
        checkpointer: A checkpointer of LangGraph. With it, a run can be resumed after a crash and can wait for a
            person. LangGraph saves a step while the next step runs. To save it before, call the graph with
            ``durability="sync"``.
        retry: How often and when calls of models are retried.
    """
    nodes = Nodes(pipeline, attempts=retry.max_attempts)
    builder = StateGraph(State, context_schema=Context, input_schema=Input, output_schema=Output)
    builder.add_node("validate", as_node(nodes.validate))
    builder.add_node("retrieve", as_node(nodes.retrieve))
    builder.add_node("image", build_image_graph(pipeline, retry=retry), input_schema=ImageState)
    builder.add_node("review", as_node(nodes.review))
    builder.add_node("predict", as_node(nodes.predict), retry_policy=retry)
    builder.add_node("save_captions", as_node(nodes.save_captions))
    builder.add_edge(START, "validate")
    builder.add_edge("validate", "retrieve")
    if pipeline.text_first is None:
        builder.add_conditional_edges("retrieve", nodes.fan_out, ["image", "predict"])
    else:
        builder.add_node("answer_from_text", as_node(nodes.answer_from_text), retry_policy=retry)
        builder.add_edge("retrieve", "answer_from_text")
        builder.add_conditional_edges("answer_from_text", nodes.fan_out, ["image", "predict"])
    builder.add_edge("image", "review")
    builder.add_edge("review", "predict")
    builder.add_edge("predict", "save_captions")
    builder.add_edge("save_captions", END)
    return builder.compile(checkpointer=checkpointer and with_state_types(checkpointer), name="caslie")
