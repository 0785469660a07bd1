"""Sends requests to the replicas of an endpoint, with one deadline, retries and circuit breakers.

Only failures that another attempt can overcome are retried: connections that fail, and the statuses 408, 429 and 5xx.
Repeating a request is safe, because generating text changes nothing on the server. Refused requests and complete but
unusable responses are not retried.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import httpx

from caslie_tools._concurrency import ConcurrencyLimit
from caslie_tools._optional import require
from caslie_tools.backends.endpoints.breaker import CircuitBreaker
from caslie_tools.backends.endpoints.failures import RetryableError, error_for_status, sanitize, without_key
from caslie_tools.backends.endpoints.http_clients import HttpClients
from caslie_tools.backends.endpoints.replicas import Replica, preferred_order
from caslie_tools.backends.endpoints.responses import UnusableResponseError
from caslie_tools.backends.endpoints.settings import EndpointSettings
from caslie_tools.exceptions import (
    EndpointAnswerError,
    EndpointError,
    EndpointTimeoutError,
    EndpointUnavailableError,
    InputError,
)

if TYPE_CHECKING:
    import tenacity

T = TypeVar("T")
Result: TypeAlias = bytes | RetryableError | EndpointError
"""The body of a response, or why there is none."""


@dataclass(frozen=True, kw_only=True)
class _Request:
    path: str
    body: Mapping[str, Any] | None
    content: bytes | None
    """The body as JSON. ``None`` makes a GET request."""


class Connection:
    """The connection to one model behind one or more replicas.

    A call has one deadline for everything: waiting for its turn, the request, pauses between attempts, and further
    attempts. An attempt tries one replica after the other, without a pause, until one of them does not fail. As long as
    other replicas are left to try, a replica gets only its share of the remaining time.

    The connection may be used on several event loops, also at the same time. Each loop has its own HTTP client. The
    limit on concurrency holds for each loop, over all replicas, and is fair between requesters
    (:class:`~caslie_tools._concurrency.ConcurrencyLimit`).

    Args:
        settings: Where the model is, and the limits of a call.
        clock: Returns the seconds of a clock that never goes back, for the circuit breakers.
        sleep: Waits between attempts.

    Raises:
        MissingExtraError: If the extra ``endpoints`` is not installed.
    """

    # Errors are returned and raised outside of ``except`` blocks: an error of the HTTP library must not become the
    # context of ours, because it holds the whole request and response.

    def __init__(
        self,
        settings: EndpointSettings,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        require("tenacity", "endpoints", f"Model {settings.model!r} behind an endpoint")
        self._settings = settings
        self._sleep = sleep
        self._limit = ConcurrencyLimit(settings.max_concurrency)
        self._clients = HttpClients(settings)
        self._replicas = [
            Replica(url, CircuitBreaker(settings.breaker_failures, settings.breaker_seconds, clock))
            for url in settings.urls
        ]

    @property
    def label(self) -> str:
        """The model and where it is, for messages."""
        return f"model {self._settings.model!r} at {', '.join(replica.name for replica in self._replicas)}"

    async def request(self, path: str, body: Mapping[str, Any] | None, read: Callable[[bytes], T]) -> T:
        """Sends a request and returns what ``read`` makes of the body of the response.

        Args:
            path: Path below the base URL.
            body: The JSON document to send; ``None`` makes a GET request.
            read: Reads the response; raises an ``UnusableResponseError`` if it cannot.

        Raises:
            InputError: If the body cannot be written as JSON in UTF-8.
            EndpointUnavailableError: If no replica can be reached, all keep failing, or all breakers are open.
            EndpointTimeoutError: If the deadline passes.
            EndpointRefusedError: If the server refuses the request.
            EndpointAnswerError: If the response cannot be used.
        """
        request = _Request(path=path, body=body, content=None if body is None else _encode(body))
        failure: EndpointError
        step = "waiting for its turn behind other calls"
        try:
            async with asyncio.timeout(self._settings.timeout_seconds) as deadline, self._limit():
                step = "waiting for the server"
                async for attempt in self._attempts(deadline):
                    with attempt:
                        return await self._attempt(request, deadline, read)
        except TimeoutError:
            failure = EndpointTimeoutError(
                f"{self.label} did not finish within {self._settings.timeout_seconds:g} s; the last step was {step}: "
                "allow more time, send fewer requests at once, or add a replica"
            )
        except RetryableError as error:
            failure = EndpointUnavailableError(
                f"{self.label} cannot be used; the last failure: {error}; "
                "check that the server runs and can handle the load"
            )
        raise failure

    async def aclose(self) -> None:
        """Closes the connections of all event loops. A call in progress is retried on a new connection."""
        await self._clients.aclose()

    def _attempts(self, deadline: asyncio.Timeout) -> "tenacity.AsyncRetrying":
        import tenacity

        backoff = tenacity.wait_random_exponential(multiplier=0.25, max=8)  # up to 0.25 s, 0.5 s, 1 s, ...

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome and state.outcome.exception()
            return max(backoff(state), error.retry_after if isinstance(error, RetryableError) else 0.0)

        def stop(state: tenacity.RetryCallState) -> bool:
            end = deadline.when()
            too_late = end is not None and asyncio.get_running_loop().time() + state.upcoming_sleep >= end
            return too_late or state.attempt_number >= self._settings.max_attempts

        return tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(RetryableError),
            stop=stop,
            wait=wait,
            sleep=self._sleep,
            reraise=True,
        )

    async def _attempt(self, request: _Request, deadline: asyncio.Timeout, read: Callable[[bytes], T]) -> T:
        """Tries one replica after the other until one does not fail."""
        failures: list[RetryableError] = []
        replicas = self._ordered_replicas(request)
        for number, replica in enumerate(replicas, start=1):
            if not replica.breaker.allow_request():
                continue
            left_to_try = sum(other.breaker.seconds_until_trial() == 0 for other in replicas[number:])
            result = await self._ask(replica, request, deadline, left_to_try=left_to_try)
            if isinstance(result, bytes):
                return self._read(replica, result, read)
            if not isinstance(result, RetryableError):
                raise result
            failures.append(result)
        if failures:
            retry_after = min(failure.retry_after for failure in failures)
            raise RetryableError("; ".join(map(str, failures)), retry_after=retry_after)
        seconds = min(replica.breaker.seconds_until_trial() for replica in self._replicas)
        raise EndpointUnavailableError(
            f"{self.label} failed too often in a row and gets no requests for another {seconds:.0f} s; "
            "check that the server runs"
        )

    def _ordered_replicas(self, request: _Request) -> list[Replica]:
        if len(self._replicas) == 1:
            return self._replicas
        return preferred_order(self._replicas, _shared_prefix(request.body))

    async def _ask(self, replica: Replica, request: _Request, deadline: asyncio.Timeout, *, left_to_try: int) -> Result:
        """Sends the request to one replica and records the result in its breaker."""
        result: Result
        end = deadline.when()
        seconds = (
            None if end is None or not left_to_try else (end - asyncio.get_running_loop().time()) / (left_to_try + 1)
        )
        with replica.count_request():
            try:
                async with asyncio.timeout(seconds):
                    result = await self._send(replica, request)
            except TimeoutError:
                result = RetryableError(f"{replica.name} did not respond within {seconds:.3g} s")
            except BaseException:
                # Cancelled: by the deadline, because the server hangs, or by a caller who needs no response any more.
                if deadline.expired():
                    replica.breaker.record_failure()
                else:
                    replica.breaker.record_cancellation()
                raise
        if isinstance(result, RetryableError) and not result.is_overloaded:
            replica.breaker.record_failure()
        else:
            replica.breaker.record_success()
        return result

    async def _send(self, replica: Replica, request: _Request) -> Result:
        settings = self._settings
        client = await self._clients.get()
        try:
            if request.content is None:
                response = await client.get(replica.url + request.path)
            else:
                response = await client.post(
                    replica.url + request.path,
                    content=request.content,
                    headers={"Content-Type": "application/json"},
                )
        except UnusableResponseError as error:
            return self._unusable(replica, str(error))
        except (httpx.HTTPError, OSError) as error:
            reason = sanitize(str(error), settings.api_key) or type(error).__name__
            return RetryableError(f"the connection to {replica.name} failed ({reason})")
        if response.is_success:
            return without_key(response.content, settings.api_key)
        return error_for_status(
            response.status_code,
            response.headers,
            response.content,
            model=settings.model,
            server=replica.name,
            api_key=settings.api_key,
        )

    def _read(self, replica: Replica, content: bytes, read: Callable[[bytes], T]) -> T:
        try:
            return read(content)
        except UnusableResponseError as error:
            failure = self._unusable(replica, str(error))
        raise failure

    def _unusable(self, replica: Replica, problem: str) -> EndpointAnswerError:
        problem = sanitize(problem, self._settings.api_key)
        return EndpointAnswerError(
            f"the response of model {self._settings.model!r} at {replica.name} cannot be used: {problem}"
        )


def _encode(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:  # such as half a surrogate pair
        problem = type(error).__name__
    raise InputError(f"a request to a model cannot be written as JSON in UTF-8 ({problem}); check its texts")


def _shared_prefix(body: Mapping[str, Any] | None) -> bytes:
    """Returns the start of the prompt that a server may have in its cache: the image, or else the whole text."""
    if body is None:
        return b""
    prefix: Any = body.get("messages") or body.get("prompt") or body.get("input")
    if body.get("messages") and isinstance(content := body["messages"][0]["content"], list):
        prefix = content[0]  # the image comes first
    return str(prefix).encode()
