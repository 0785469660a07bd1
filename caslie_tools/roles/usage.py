"""What model calls took, told by the models to whoever listens, also across tasks and threads.

::

    with counted_usage() as usage:
        await pipeline.caption(image, context)
    print(usage.prompt_tokens)

Endpoints and chat models tell their tokens; models that count none, such as the embedded ones, tell nothing. Where
nobody listens nothing is counted.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass
class Usage:
    """What was told while it was listened to; listeners within one another all hear it."""

    calls: int = 0
    """Calls that told their tokens."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompts' tokens, those that the server had in its prefix cache, where it tells."""
    seconds: float = 0.0
    """Time that calls took, where somebody measures it; calls at the same time add up."""
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
        """Adds what was told; from any thread."""
        with self._lock:
            self.calls += calls
            self.prompt_tokens += prompt_tokens
            self.completion_tokens += completion_tokens
            self.cached_tokens += cached_tokens
            self.seconds += seconds


_listening: ContextVar[tuple[Usage, ...]] = ContextVar("_listening", default=())


@contextmanager
def track_usage() -> Iterator[Usage]:
    """Listens to all that is called inside: by tasks started there, and by ``run_sync`` and ``to_thread`` as well."""
    usage = Usage()
    token = _listening.set((*_listening.get(), usage))
    try:
        yield usage
    finally:
        _listening.reset(token)


def record_tokens(*, prompt: int | None, completion: int | None, cached: int | None) -> None:
    """Tells of one call's tokens, as far as they are known; ``None`` where they are not."""
    if prompt is None and completion is None:
        return
    for usage in _listening.get():
        usage.add(calls=1, prompt_tokens=prompt or 0, completion_tokens=completion or 0, cached_tokens=cached or 0)


def record_seconds(seconds: float) -> None:
    """Tells of the time that calls took."""
    for usage in _listening.get():
        usage.add(seconds=seconds)
