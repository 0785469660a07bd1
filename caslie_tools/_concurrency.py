"""Helpers for concurrency: synchronous calls of async code, limits on parallelism, and sharing of equal calls."""

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
    """Runs a coroutine from synchronous code and returns its result. Works inside a running event loop as well.

    All synchronous calls share one event loop in a background thread. Limits therefore hold over all threads, and a
    client that is bound to the loop of its first call works in later calls.
    """
    loop = _background_loop()
    # A model may call this function synchronously, at any depth. The background loop cannot wait for itself.
    if loop is _running_loop() or _inside_call.get():
        context = contextvars.copy_context()
        context.run(_inside_call.set, True)
        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(context.run, asyncio.run, coroutine).result()
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        return future.result()
    except BaseException:
        future.cancel()  # the caller was interrupted; no effect on a finished future
        raise


async def run_together(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Runs coroutines concurrently. If one fails, the others are cancelled before its error is raised."""
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


_inside_call = contextvars.ContextVar("_inside_call", default=False)
_starting = threading.Lock()
_background: list[asyncio.AbstractEventLoop] = []


def _background_loop() -> asyncio.AbstractEventLoop:
    with _starting:
        if not _background:
            loop = asyncio.new_event_loop()
            threading.Thread(target=_run_forever, args=(loop,), name="caslie-loop", daemon=True).start()
            _background.append(loop)
        return _background[0]


def _run_forever(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        # These two reach the caller through its future. They must not stop the loop for other callers.
        with suppress(KeyboardInterrupt, SystemExit):
            loop.run_forever()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_background.clear)  # a child process inherits the loop without its thread


class AsyncRunnable(Runnable[Input, Output]):
    """A runnable that implements ``ainvoke``. The synchronous methods call it."""

    def invoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Synchronous version of :meth:`ainvoke`."""
        return run_sync(self.ainvoke(input, config, **kwargs))

    async def ainvoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Subclasses implement this method."""
        raise NotImplementedError

    def batch(
        self,
        inputs: list[Input],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any | None,
    ) -> list[Output]:
        """Synchronous version of :meth:`abatch`. All inputs run on one event loop, so that limits hold."""
        return run_sync(self.abatch(inputs, config, return_exceptions=return_exceptions, **kwargs))


class AsyncEmbeddings(Embeddings):
    """Embeddings that implement ``aembed_documents``. The other methods call it."""

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Subclasses implement this method."""
        raise NotImplementedError

    async def aembed_query(self, text: str) -> list[float]:
        """Embeds one text."""
        return (await self.aembed_documents([text]))[0]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Synchronous version of :meth:`aembed_documents`."""
        return run_sync(self.aembed_documents(texts))

    def embed_query(self, text: str) -> list[float]:
        """Synchronous version of :meth:`aembed_query`."""
        return run_sync(self.aembed_query(text))


_requester: contextvars.ContextVar[Hashable] = contextvars.ContextVar("_requester", default=None)


@contextmanager
def requested_by(requester: Hashable) -> Iterator[None]:
    """Marks all work in this block as requested by ``requester``, for the fairness of :class:`ConcurrencyLimit`."""
    token = _requester.set(requester)
    try:
        yield
    finally:
        _requester.reset(token)


class _Slots:
    """The slots of a limit on one event loop. Waiting requesters receive a free slot in turn."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.users = 0
        """Number of tasks that hold a slot or wait for one."""
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    async def acquire(self) -> None:
        if self.free:
            self.free -= 1
            return
        requester = _requester.get()
        slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(requester, deque()).append(slot)
        try:
            await slot
        except asyncio.CancelledError:
            if not slot.cancelled():
                self.release()  # this task received the slot and was cancelled at the same moment
            raise

    def release(self) -> None:
        while self._waiting:
            requester = next(iter(self._waiting))
            slots = self._waiting.pop(requester)
            slot = slots.popleft()
            if slots:
                self._waiting[requester] = slots  # now the last in the queue of requesters
            if not slot.cancelled():
                slot.set_result(None)
                return
        self.free += 1


class ConcurrencyLimit:
    """Limits how many tasks run at the same time on one event loop.

    Waiting tasks are served fairly between requesters (:func:`requested_by`): requesters take turns, so that one
    question does not wait for all images of a catalogue. The tasks of one requester are served in their order.

    Each event loop has its own slots. Slots cannot be shared between loops: a loop that is blocked by a synchronous
    call would wait for itself.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise InputError(f"a limit on parallelism must be at least 1; it is {limit}")
        self.limit = limit
        self._lock = threading.Lock()
        self._slots: dict[asyncio.AbstractEventLoop, _Slots] = {}

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        """Waits for a free slot and holds it during the block."""
        loop = asyncio.get_running_loop()
        with self._lock:
            slots = self._slots.setdefault(loop, _Slots(self.limit))
            slots.users += 1
        try:
            await slots.acquire()
            try:
                yield
            finally:
                slots.release()
        finally:
            with self._lock:
                slots.users -= 1
                if slots.users == 0:  # otherwise the limit would keep a finished loop alive
                    del self._slots[loop]


@dataclass
class _Flight(Generic[T]):
    task: asyncio.Task[T]
    waiters: int = 0


class SingleFlight(Generic[T]):
    """Shares one execution between simultaneous equal calls. It is cancelled when no caller waits for it any more."""

    def __init__(self) -> None:
        self._flights: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, _Flight[T]]] = WeakKeyDictionary()

    async def __call__(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Returns the result of ``make()``, which runs once for all simultaneous callers with the same key."""
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
                flight.task.cancel()  # no effect on a finished task
                if flights.get(key) is flight:
                    del flights[key]
