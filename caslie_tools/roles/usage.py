"""Counts the tokens and the time of model calls, also across tasks and threads.

::

    with track_usage() as usage:
        await pipeline.caption(image, context)
    print(usage.prompt_tokens)

Endpoints and chat models record their tokens. Models that count no tokens, such as the embedded ones, record nothing.
Outside of a ``track_usage`` block, nothing is counted.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass
class Usage:
    """The total of what was recorded in a block. Several threads may record at the same time."""

    calls: int = 0
    """Calls that recorded tokens."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Tokens of the prompts that were in the server's prefix cache, if the server reports them."""
    seconds: float = 0.0
    """Time that was recorded for calls. The times of concurrent calls are added."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(
        self,
        *,
        calls: int = 0,
        prompt_tokens: int = 0,
        completion_tokens: int = 0,
        cached_tokens: int = 0,
        seconds: float = 0.0,
    ) -> None:
        """Adds to the totals."""
        with self._lock:
            self.calls += calls
            self.prompt_tokens += prompt_tokens
            self.completion_tokens += completion_tokens
            self.cached_tokens += cached_tokens
            self.seconds += seconds


_active: ContextVar[tuple[Usage, ...]] = ContextVar("_active", default=())


@contextmanager
def track_usage() -> Iterator[Usage]:
    """Records all model calls in this block, including those of tasks and threads that the block starts.

    Threads inherit the block from ``asyncio.to_thread`` and ``run_sync``. Blocks can be nested: a call counts in each
    of them.
    """
    usage = Usage()
    token = _active.set((*_active.get(), usage))
    try:
        yield usage
    finally:
        _active.reset(token)


def record_tokens(*, prompt: int | None, completion: int | None, cached: int | None) -> None:
    """Records the tokens of one call.

    Args:
        prompt: Tokens of the prompt; ``None`` if unknown.
        completion: Tokens of the response; ``None`` if unknown. If both are unknown, the call is not counted.
        cached: Tokens of the prompt that were in the server's prefix cache; ``None`` if unknown.
    """
    if prompt is None and completion is None:
        return
    for usage in _active.get():
        usage.add(calls=1, prompt_tokens=prompt or 0, completion_tokens=completion or 0, cached_tokens=cached or 0)


def record_seconds(seconds: float) -> None:
    """Records the time of calls."""
    for usage in _active.get():
        usage.add(seconds=seconds)
