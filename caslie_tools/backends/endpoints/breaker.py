"""A circuit breaker: a server that keeps failing is left alone for a while, then tried by one request."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Breaker:
    """Lets requests through until too many in a row have failed.

    Closed, it lets everything through. After ``failures`` failures in a row it is open and lets nothing through.
    ``seconds`` later it is half open: one request goes through, and its end closes or opens it again. It may be used
    from several threads.

    Args:
        failures: Failures in a row that open it.
        seconds: How long it stays open.
        clock: Seconds on a clock that is never set back, such as ``time.monotonic``.
    """

    def __init__(self, failures: int, seconds: float, clock: Callable[[], float]) -> None:
        self._limit = failures
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._opened: float | None = None
        self._trying = False

    def lets_through(self) -> bool:
        """Whether a request may go; whoever gets a yes tells its end by one of the three methods below."""
        with self._lock:
            if self._opened is None:
                return True
            if self._trying or self._clock() < self._opened + self._seconds:
                return False
            self._trying = True
            return True

    def remaining(self) -> float:
        """Seconds until it lets a request through again; 0 if it does now, or does once the one on trial ends."""
        with self._lock:
            return 0.0 if self._opened is None else max(0.0, self._opened + self._seconds - self._clock())

    def succeeded(self) -> None:
        """The request ended well, or at least the server is alive."""
        with self._lock:
            self._failures, self._opened, self._trying = 0, None, False

    def failed(self) -> None:
        """The request failed by the server's fault."""
        with self._lock:
            self._failures += 1
            self._trying = False
            if self._failures >= self._limit:
                self._opened = self._clock()

    def abandoned(self) -> None:
        """The request was given up, which says nothing about the server."""
        with self._lock:
            self._trying = False


class Replica:
    """One of the servers behind an endpoint: how busy it is, and its breaker.

    Args:
        url: Its base URL, ending in ``/v1``.
        name: Its host and port, for messages.
        breaker: Its own.
    """

    def __init__(self, url: str, name: str, breaker: Breaker) -> None:
        self.url = url
        self.name = name
        self.breaker = breaker
        self._lock = threading.Lock()
        self._under_way = 0

    @property
    def under_way(self) -> int:
        """Requests to it that are not answered yet."""
        return self._under_way

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Counts one request as under way."""
        with self._lock:
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1
