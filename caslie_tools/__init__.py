"""Product sight for LLM agents: CASLIE as LangChain tools inside LangGraph state machines.

``Caslie`` is the front door. The steps ``EC3``, ``CQE`` and ``UniM3``, the ``CaptionStore`` and the tools also work
alone. ``__init__.pyi`` lists the public names; each is imported when it is first used, so the import itself is fast.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
