"""A circuit breaker: it stops requests to a server that keeps failing, and tries one request after a pause."""

import threading
from collections.abc import Callable


class CircuitBreaker:
    """Decides whether a request may be sent to a server.

    Closed, it allows every request. After ``failures`` failed requests in a row it opens and allows none. After another
    ``seconds`` it is half open: it allows one trial request, and the result closes or opens it again.

    The caller reports the result of every allowed request with one of :meth:`record_success`, :meth:`record_failure`
    and :meth:`record_cancellation`. Several threads may use one breaker.

    Args:
        failures: Failed requests in a row that open the breaker.
        seconds: How long the breaker stays open.
        clock: Returns the seconds of a clock that never goes back, such as ``time.monotonic``.
    """

    def __init__(self, failures: int, seconds: float, clock: Callable[[], float]) -> None:
        self._max_failures = failures
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._opened_at: float | None = None
        self._trial_running = False

    def allow_request(self) -> bool:
        """Returns whether a request may be sent now."""
        with self._lock:
            if self._opened_at is None:
                return True
            if self._trial_running or self._clock() < self._opened_at + self._seconds:
                return False
            self._trial_running = True
            return True

    def seconds_until_trial(self) -> float:
        """Returns the seconds until the breaker allows a request; 0 if it is closed or half open."""
        with self._lock:
            if self._opened_at is None:
                return 0.0
            return max(0.0, self._opened_at + self._seconds - self._clock())

    def record_success(self) -> None:
        """Records that the server responded, even if it refused the request."""
        with self._lock:
            self._failures, self._opened_at, self._trial_running = 0, None, False

    def record_failure(self) -> None:
        """Records that the request failed because of the server."""
        with self._lock:
            self._failures += 1
            self._trial_running = False
            if self._failures >= self._max_failures:
                self._opened_at = self._clock()

    def record_cancellation(self) -> None:
        """Records that the caller cancelled the request, which gives no information about the server."""
        with self._lock:
            self._trial_running = False
