"""Derives the async twins of blocking methods."""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from langchain_core.runnables.config import run_in_executor

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


def async_twin(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Returns the async twin of a method. It has the same arguments and result, and runs in a worker thread.

    Use it in a class body, as in ``aput = async_twin(put)``. The twin calls the method by its name, so a subclass that
    overrides ``put`` also changes ``aput``.
    """

    @functools.wraps(method)
    async def twin(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await run_in_executor(None, getattr(self, method.__name__), *args, **kwargs)

    twin.__name__ = f"a{method.__name__}"
    twin.__qualname__ = method.__qualname__.replace(method.__name__, twin.__name__)
    twin.__doc__ = f"Async twin of :meth:`{method.__name__}`."
    return twin
