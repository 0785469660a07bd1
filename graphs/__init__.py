"""The state machines: product sight as a LangGraph graph.

A thin wrapper around :class:`~caslie_tools.pipeline.pipeline.Pipeline`. State, context, nodes and graph each have a
module of that name.
"""

from caslie_tools.graphs.context import Context
from caslie_tools.graphs.graph import build_graph, build_image_graph
from caslie_tools.graphs.state import ImageState, Input, Output, State
from caslie_tools.pipeline.response import Timing

__all__ = ["Context", "ImageState", "Input", "Output", "State", "Timing", "build_graph", "build_image_graph"]
