"""The state machines: product sight as a LangGraph graph.

A thin wrapper around :class:`caslie_tools.sight.Sight`: state, context, nodes, graph, each in a module of its name.
"""

from caslie_tools.graphs.context import Context
from caslie_tools.graphs.graph import build_graph, build_look_graph
from caslie_tools.graphs.state import Input, LookState, Output, State, Timing

__all__ = ["Context", "Input", "LookState", "Output", "State", "Timing", "build_graph", "build_look_graph"]
