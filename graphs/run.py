"""Runs the state machine on one request and returns its response."""

import time
import uuid
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph

from caslie_tools.graphs.context import Context
from caslie_tools.graphs.state import Input, State
from caslie_tools.pipeline.response import Response, TokenUsage
from caslie_tools.roles.usage import track_usage

CaslieGraph = CompiledStateGraph[State, Context, Input, Any]


async def run_graph(
    graph: CaslieGraph, request: Input, *, context: Context | None = None, config: RunnableConfig | None = None
) -> Response:
    """Runs the state machine on one request.

    Args:
        graph: The state machine.
        request: The request.
        context: The options of this run.
        config: Configuration of the run. By default, a graph with a checkpointer runs the request in a new thread.

    Raises:
        CaslieError: If a step of :class:`~caslie_tools.pipeline.pipeline.Pipeline` fails.
    """
    started = time.perf_counter()
    if config is None and graph.checkpointer:
        config = {"configurable": {"thread_id": uuid.uuid4().hex}}
    with track_usage() as used:
        state = await graph.ainvoke(request, config, context=context or Context())
    return Response(
        prediction=state["prediction"],
        instance=state["instance"],
        text_answer=state.get("text_answer"),
        image_results=tuple(state.get("image_results", ())),
        warnings=tuple(state.get("warnings", ())),
        timings=tuple(state.get("timings", ())),
        total_milliseconds=(time.perf_counter() - started) * 1000,
        usage=TokenUsage(
            calls=used.calls,
            prompt_tokens=used.prompt_tokens,
            completion_tokens=used.completion_tokens,
            cached_tokens=used.cached_tokens,
        ),
    )
