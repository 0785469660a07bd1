"""An event loop with a clock of its own, for tests of time limits.

The clock stands still while the loop has something to do, and jumps to the next timer when it has not. A test of a time
limit therefore takes no time, and its result does not depend on the speed of the machine. ``await asyncio.sleep(1)``
returns when nothing else can continue.

Mark a test with ``@pytest.mark.virtual_time`` to run it on this loop. All clients and servers of the test must run on
this loop or in threads of its executors: the loop does not wait for other processes or threads.
"""

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final, TypeVar, TypeVarTuple, Unpack

_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")

_POLLS: Final = 10
_POLL_SECONDS: Final = 0.002
"""Real time. Data between two sockets of this process may need a moment in the operating system."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """The event loop. Its clock starts at 0 seconds."""

    def __init__(self) -> None:
        self._now = 0.0
        self._calls_in_threads = 0
        super().__init__(_Selector(self))

    @property
    def waits_for_threads(self) -> bool:
        """Whether a call is running in an executor. It takes real time, so the clock stands still."""
        return self._calls_in_threads > 0

    def time(self) -> float:
        """Returns the time of the loop's clock in seconds."""
        return self._now

    def jump(self, seconds: float) -> None:
        """Moves the clock forward."""
        self._now += seconds

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[_Arguments]], _Result], *args: *_Arguments
    ) -> "asyncio.Future[_Result]":
        """Runs a function in a thread."""
        call = super().run_in_executor(executor, func, *args)
        self._calls_in_threads += 1
        call.add_done_callback(self._end_call)
        return call

    def _end_call(self, _: "asyncio.Future[_Result]") -> None:
        self._calls_in_threads -= 1


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        if timeout is None or self._loop.waits_for_threads:
            return super().select(None)
        for _ in range(_POLLS):
            if ready := super().select(_POLL_SECONDS):
                return ready
        self._loop.jump(timeout)
        return []
