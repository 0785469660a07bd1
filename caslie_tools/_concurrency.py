"""Async inside, sync derived: the one bridge between the two, and a bound on parallelism that survives many loops."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.utils import Input, Output

from caslie_tools.exceptions import InputError

T = TypeVar("T")


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end from synchronous code, also where an event loop already runs (a notebook)."""
    if not _in_event_loop():
        return asyncio.run(coroutine)
    context = contextvars.copy_context()
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(context.run, asyncio.run, coroutine).result()


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class AsyncRunnable(Runnable[Input, Output]):
    """A runnable written once, as ``ainvoke``; the synchronous side is derived."""

    def invoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:  # noqa: A002 (LangChain's name)
        """Runs :meth:`ainvoke` to its end."""
        return run_sync(self.ainvoke(input, config, **kwargs))

    async def ainvoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:  # noqa: A002
        """Does the work; subclasses write this."""
        raise NotImplementedError

    def batch(
        self,
        inputs: list[Input],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any | None,
    ) -> list[Output]:
        """Runs :meth:`abatch` to its end: on one event loop, where bounds hold and equal calls meet."""
        return run_sync(self.abatch(inputs, config, return_exceptions=return_exceptions, **kwargs))


@dataclass
class _Places:
    semaphore: asyncio.Semaphore
    users: int = 0


class Bound:
    """At most so many at once, on each event loop it is used on.

    An ``asyncio.Semaphore`` belongs to one loop, while a step outlives loops when it is called synchronously. Loops do
    not wait for each other: one that is blocked by a synchronous call would wait for itself.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise InputError(f"a bound on parallelism is at least 1, not {limit}")
        self.limit = limit
        self._lock = threading.Lock()
        self._places: dict[asyncio.AbstractEventLoop, _Places] = {}

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        """Waits for a place and holds it."""
        loop = asyncio.get_running_loop()
        with self._lock:
            places = self._places.setdefault(loop, _Places(asyncio.Semaphore(self.limit)))
            places.users += 1
        try:
            async with places.semaphore:
                yield
        finally:
            with self._lock:
                places.users -= 1
                if places.users == 0:  # a semaphore that was waited for keeps its loop alive
                    del self._places[loop]


@dataclass
class _Flight(Generic[T]):
    task: asyncio.Task[T]
    waiters: int = 0


class SingleFlight(Generic[T]):
    """Equal calls that meet share one execution; it is cancelled only when nobody waits for it any more."""

    def __init__(self) -> None:
        self._flights: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Flight[T]]] = WeakKeyDictionary()

    async def __call__(self, key: str, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Returns what ``make()`` returns, run once for all callers of the same key at the same time."""
        flights = self._flights.setdefault(asyncio.get_running_loop(), {})
        flight = flights.get(key)
        if flight is None:
            flight = flights[key] = _Flight(asyncio.create_task(make()))
        flight.waiters += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiters -= 1
            if flight.waiters == 0:
                flight.task.cancel()  # nothing happens if it is done
                if flights.get(key) is flight:
                    del flights[key]
