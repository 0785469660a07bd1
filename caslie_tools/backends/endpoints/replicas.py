"""The servers of an endpoint: their addresses, their load, and the order in which a request tries them."""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx

from caslie_tools.backends.endpoints.breaker import CircuitBreaker


class Replica:
    """One of the equal servers of an endpoint.

    Args:
        url: Its base URL, ending in ``/v1``.
        breaker: Its circuit breaker.
    """

    def __init__(self, url: str, breaker: CircuitBreaker) -> None:
        self.url = url
        self.name = _host_and_port(url)
        """Its host and port, for messages."""
        self.breaker = breaker
        self._lock = threading.Lock()
        self._in_flight = 0

    @property
    def in_flight(self) -> int:
        """Number of requests that have no response yet."""
        return self._in_flight

    @contextmanager
    def count_request(self) -> Iterator[None]:
        """Counts one request as in flight."""
        with self._lock:
            self._in_flight += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1


def preferred_order(replicas: Sequence[Replica], prefix: bytes) -> list[Replica]:
    """Returns the replicas in the order in which a request tries them: the least busy first.

    Among equally busy replicas, requests with the same prefix get the same order, so that the first replica has the
    prefix in its cache. Different prefixes are spread over the replicas (rendezvous hashing).

    Args:
        replicas: The replicas.
        prefix: The start of the prompt that requests share, such as an image.
    """

    def rank(replica: Replica) -> tuple[int, bytes]:
        return replica.in_flight, hashlib.blake2b(prefix, key=replica.url.encode()[-64:]).digest()

    return sorted(replicas, key=rank)


def _host_and_port(url: str) -> str:
    parsed = httpx.URL(url)
    host = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
    return f"{host}:{parsed.port or (443 if parsed.scheme == 'https' else 80)}"
