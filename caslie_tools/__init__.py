"""Product sight for LLM agents: CASLIE as LangChain tools inside LangGraph state machines.

``Caslie`` is the front door; the steps ``EC3``, ``CQE`` and ``UniM3``, the ``CaptionStore`` and the tools can each be
used alone. Names are imported when they are first used, so importing the package costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

from caslie_tools._version import __version__

if TYPE_CHECKING:
    from caslie_tools.caslie import Caslie
    from caslie_tools.chat import ChatCaptioner, ChatJudge, ChatPredictor, CompletionPredictor
    from caslie_tools.cqe import CQE
    from caslie_tools.domain import (
        Answer,
        Caption,
        CaptionDraft,
        Citation,
        Evidence,
        GateDecision,
        ImageRef,
        Prediction,
        Product,
        QueryContext,
        Vote,
    )
    from caslie_tools.ec3 import EC3
    from caslie_tools.exceptions import CaslieError
    from caslie_tools.graphs import Context, build_graph
    from caslie_tools.indexing import IndexReport
    from caslie_tools.reply import Reply
    from caslie_tools.roles import CaptionRequest, JudgeRequest, Models, Profile
    from caslie_tools.settings import Settings
    from caslie_tools.sight import Look, Request, Sight
    from caslie_tools.store import CaptionStore, ProductHit
    from caslie_tools.tasks import TASKS, Instance, Task, get_task
    from caslie_tools.toolkit import CaslieToolkit
    from caslie_tools.unim3 import UniM3

_HOMES = {
    "caslie": ["Caslie"],
    "chat": ["ChatCaptioner", "ChatJudge", "ChatPredictor", "CompletionPredictor"],
    "cqe": ["CQE"],
    "domain": [
        "Answer",
        "Caption",
        "CaptionDraft",
        "Citation",
        "Evidence",
        "GateDecision",
        "ImageRef",
        "Prediction",
        "Product",
        "QueryContext",
        "Vote",
    ],
    "ec3": ["EC3"],
    "exceptions": ["CaslieError"],
    "graphs": ["Context", "build_graph"],
    "indexing": ["IndexReport"],
    "reply": ["Reply"],
    "roles": ["CaptionRequest", "JudgeRequest", "Models", "Profile"],
    "settings": ["Settings"],
    "sight": ["Look", "Request", "Sight"],
    "store": ["CaptionStore", "ProductHit"],
    "tasks": ["TASKS", "Instance", "Task", "get_task"],
    "toolkit": ["CaslieToolkit"],
    "unim3": ["UniM3"],
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "CQE",
    "EC3",
    "TASKS",
    "Answer",
    "Caption",
    "CaptionDraft",
    "CaptionRequest",
    "CaptionStore",
    "Caslie",
    "CaslieError",
    "CaslieToolkit",
    "ChatCaptioner",
    "ChatJudge",
    "ChatPredictor",
    "Citation",
    "CompletionPredictor",
    "Context",
    "Evidence",
    "GateDecision",
    "ImageRef",
    "IndexReport",
    "Instance",
    "JudgeRequest",
    "Look",
    "Models",
    "Prediction",
    "Product",
    "ProductHit",
    "Profile",
    "QueryContext",
    "Reply",
    "Request",
    "Settings",
    "Sight",
    "Task",
    "UniM3",
    "Vote",
    "__version__",
    "build_graph",
    "get_task",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
