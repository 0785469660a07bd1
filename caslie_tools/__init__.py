"""Captions of product images for LLM agents: CASLIE as LangChain tools and LangGraph state machines.

``Caslie`` is the main class. The steps ``EC3``, ``CQE`` and ``UniM3``, the ``CaptionStore`` and the tools can also be
used separately. ``__init__.pyi`` lists the public names. Each of them is imported on first use, so that importing the
package is fast.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
