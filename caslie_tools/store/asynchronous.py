"""Async twins of blocking methods, derived in one place."""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from langchain_core.runnables.config import run_in_executor

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


def asynchronous(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Makes the async twin of a method: the same arguments and result, run in a worker thread.

    Used in a class body as ``aput = asynchronous(put)``. A subclass that overrides ``put`` has changed ``aput`` too.
    """

    @functools.wraps(method)
    async def twin(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await run_in_executor(None, getattr(self, method.__name__), *args, **kwargs)

    twin.__name__ = f"a{method.__name__}"
    twin.__qualname__ = method.__qualname__.replace(method.__name__, twin.__name__)
    twin.__doc__ = f"Async twin of :meth:`{method.__name__}`."
    return twin
