"""Async inside, sync derived: the one bridge between the two, and a bound on parallelism that survives many loops."""

import asyncio
import contextvars
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.utils import Input, Output

from caslie_tools.exceptions import InputError

T = TypeVar("T")


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end from synchronous code, also where an event loop already runs (a notebook).

    All synchronous calls share one loop in the background: so a bound holds over all threads, and a client that
    belongs to the loop it was first used on lives on from call to call.
    """
    loop = _background_loop()
    # A model that calls back synchronously, at any depth: the loop cannot wait for itself.
    if loop is _running_loop() or _called_back.get():
        context = contextvars.copy_context()
        context.run(_called_back.set, True)
        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(context.run, asyncio.run, coroutine).result()
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        return future.result()
    except BaseException:
        future.cancel()  # the caller was interrupted; nothing happens if it is done
        raise


async def run_together(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Runs coroutines together; when one fails the others are stopped before its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except BaseExceptionGroup as errors:
        first = errors.exceptions[0]
    else:
        return [task.result() for task in tasks]
    raise first


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


_called_back = contextvars.ContextVar("_called_back", default=False)
_starting = threading.Lock()
_background: list[asyncio.AbstractEventLoop] = []


def _background_loop() -> asyncio.AbstractEventLoop:
    with _starting:
        if not _background:
            loop = asyncio.new_event_loop()
            threading.Thread(target=_run_for_good, args=(loop,), name="caslie-loop", daemon=True).start()
            _background.append(loop)
        return _background[0]


def _run_for_good(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        # These two reach the caller through its future; they must not end the loop for everybody else.
        with suppress(KeyboardInterrupt, SystemExit):
            loop.run_forever()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_background.clear)  # a child has the loop, but not its thread


class AsyncRunnable(Runnable[Input, Output]):
    """A runnable written once, as ``ainvoke``; the synchronous side is derived."""

    def invoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Runs :meth:`ainvoke` to its end."""
        return run_sync(self.ainvoke(input, config, **kwargs))

    async def ainvoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
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


class AsyncEmbeddings(Embeddings):
    """Embeddings written once, as ``aembed_documents``; everything else is derived."""

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Does the work; subclasses write this."""
        raise NotImplementedError

    async def aembed_query(self, text: str) -> list[float]:
        """Embeds one text."""
        return (await self.aembed_documents([text]))[0]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Synchronous twin of :meth:`aembed_documents`."""
        return run_sync(self.aembed_documents(texts))

    def embed_query(self, text: str) -> list[float]:
        """Synchronous twin of :meth:`aembed_query`."""
        return run_sync(self.aembed_query(text))


_requester: contextvars.ContextVar[Hashable] = contextvars.ContextVar("_requester", default=None)


@contextmanager
def requested_by(requester: Hashable) -> Iterator[None]:
    """Says who all that is done inside is for, so that :class:`Bound` can be fair between requesters."""
    token = _requester.set(requester)
    try:
        yield
    finally:
        _requester.reset(token)


class _Places:
    """The places on one event loop: whoever waits gets one in turn, a requester at a time."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.users = 0
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    async def take(self) -> None:
        if self.free:
            self.free -= 1
            return
        requester = _requester.get()
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(requester, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():
                self.give()  # it was given in the same moment
            raise

    def give(self) -> None:
        while self._waiting:
            requester = next(iter(self._waiting))
            places = self._waiting.pop(requester)
            place = places.popleft()
            if places:
                self._waiting[requester] = places  # the last in turn again
            if not place.cancelled():
                place.set_result(None)
                return
        self.free += 1


class ConcurrencyLimit:
    """At most so many at once, on each event loop it is used on; fair between requesters (:func:`on_behalf_of`).

    Where some wait, requesters take turns, so that one question is not behind all the pictures of a catalogue; those of
    one requester come in their order.

    Places belong to one loop, while a step outlives loops when it is called synchronously. Loops do not wait for each
    other: one that is blocked by a synchronous call would wait for itself.
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
            places = self._places.setdefault(loop, _Places(self.limit))
            places.users += 1
        try:
            await places.take()
            try:
                yield
            finally:
                places.give()
        finally:
            with self._lock:
                places.users -= 1
                if places.users == 0:  # nobody keeps a loop alive that is over
                    del self._places[loop]


@dataclass
class _Flight(Generic[T]):
    task: asyncio.Task[T]
    waiters: int = 0


class SingleFlight(Generic[T]):
    """Equal calls that meet share one execution; it is cancelled only when nobody waits for it any more."""

    def __init__(self) -> None:
        self._flights: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, _Flight[T]]] = WeakKeyDictionary()

    async def __call__(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
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
