"""The two graphs: one request, and inside it one image."""

from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import RetryPolicy

from caslie_tools.graphs.context import Context
from caslie_tools.graphs.nodes import Nodes, as_node, worth_another_try
from caslie_tools.graphs.state import Input, LookOutput, LookState, Output, State
from caslie_tools.sight import Sight

RETRY = RetryPolicy(initial_interval=0.5, max_interval=8.0, max_attempts=3, retry_on=worth_another_try)
"""Models are asked again; what is wrong with the input stays wrong, and is not retried."""


def build_look_graph(sight: Sight, *, retry: RetryPolicy = RETRY) -> CompiledStateGraph[Any, Context, Any, Any]:
    """Builds the inner graph: one image, from the picture to the jury's decision."""
    nodes = Nodes(sight, attempts=retry.max_attempts)
    builder = StateGraph(LookState, context_schema=Context, output_schema=LookOutput)
    builder.add_node("caption", as_node(nodes.caption), retry_policy=retry)
    builder.add_node("gate", as_node(nodes.gate))
    builder.add_edge(START, "caption")
    builder.add_conditional_edges("caption", lambda state: "gate" if state.get("caption") else END, ["gate", END])
    builder.add_edge("gate", END)
    return builder.compile(name="look")


def build_graph(
    sight: Sight,
    *,
    checkpointer: BaseCheckpointSaver[Any] | None = None,
    retry: RetryPolicy = RETRY,
) -> CompiledStateGraph[State, Context, Input, Output]:
    """Builds the state machine that answers one request.

    Args:
        sight: Store, models and limits.
        checkpointer: Any of LangGraph's; with one a run survives a crash, and can wait for a person. LangGraph saves a
            step while the next one runs; with ``durability="sync"`` at the call, before.
        retry: How model calls are repeated.
    """
    nodes = Nodes(sight, attempts=retry.max_attempts)
    builder = StateGraph(State, context_schema=Context, input_schema=Input, output_schema=Output)
    builder.add_node("understand", as_node(nodes.understand))
    builder.add_node("recall", as_node(nodes.recall))
    builder.add_node("look", build_look_graph(sight, retry=retry), input_schema=LookState)
    builder.add_node("review", as_node(nodes.review))
    builder.add_node("predict", as_node(nodes.predict), retry_policy=retry)
    builder.add_node("remember", as_node(nodes.remember))
    builder.add_edge(START, "understand")
    builder.add_edge("understand", "recall")
    builder.add_conditional_edges("recall", nodes.spread, ["look", "predict"])
    builder.add_edge("look", "review")
    builder.add_edge("review", "predict")
    builder.add_edge("predict", "remember")
    builder.add_edge("remember", END)
    return builder.compile(checkpointer=checkpointer, name="caslie")
