"""The state machines: LangGraph graphs that answer requests.

They only call the steps of :class:`~caslie_tools.pipeline.pipeline.Pipeline`.
"""

from caslie_tools.graphs.context import Context
from caslie_tools.graphs.graph import build_graph, build_image_graph
from caslie_tools.graphs.state import ImageState, Input, Output, State
from caslie_tools.pipeline.response import Timing

__all__ = ["Context", "ImageState", "Input", "Output", "State", "Timing", "build_graph", "build_image_graph"]
