import asyncio
import sys

import pytest

from caslie_tools._concurrency import run_sync
from caslie_tools.backends.endpoints.endpoint import Endpoint
from caslie_tools.backends.endpoints.settings import EndpointSettings
from caslie_tools.exceptions import (
    EndpointAnswerError,
    EndpointError,
    EndpointRefusedError,
    EndpointTimeoutError,
    EndpointUnavailableError,
    MissingExtraError,
    ModelError,
)
from caslie_tools.testing import Fault, FaultyServer
from tests.backends.endpoints.calls import MESSAGES, SHORT_SECONDS, ask
from tests.backends.endpoints.connecting import Connect, RecordedSleep


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault.HTTP_400, "longer than the context"),
        (Fault.HTTP_401, "set its API key"),
        (Fault.HTTP_404, "check the model's name"),
        (Fault.HTTP_422, "max_tokens is not a number"),
        (Fault.REDIRECT, "redirects to another address"),
    ],
)
async def test_a_refused_request_is_not_retried(
    server: FaultyServer, connect: Connect, fault: Fault, message: str
) -> None:
    server.faults = [fault]
    with pytest.raises(EndpointRefusedError, match=message) as caught:
        await ask(connect(server))
    assert len(server.requests) == 1
    assert "\n" not in str(caught.value)
    assert server.url.split("/")[2] in str(caught.value)
    assert "'model'" in str(caught.value)


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault.HTTP_408, Fault.HTTP_429, Fault.HTTP_500, Fault.HTTP_503),
        *(Fault.RESET, Fault.TRUNCATED, Fault.NO_RESPONSE),
    ],
)
async def test_a_temporary_failure_is_retried(
    server: FaultyServer, connect: Connect, sleep: RecordedSleep, fault: Fault
) -> None:
    server.faults = [fault, fault]
    assert await ask(connect(server, max_attempts=3)) == "a free answer"
    assert len(server.requests) == 3
    assert len(sleep.seconds) == 2
    assert 0 <= sleep.seconds[0] <= 0.25  # random, up to a limit that grows
    assert 0 <= sleep.seconds[1] <= 0.5

    server.faults = [fault] * 3
    with pytest.raises(EndpointUnavailableError, match="check that the server runs") as caught:
        await ask(connect(server, max_attempts=3))
    assert server.url.split("/")[2] in str(caught.value)
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault.GARBAGE, "it is not JSON"),
        (Fault.BINARY, "it is not JSON"),
        (Fault.WRONG_SCHEMA, "does not match the schema of OpenAI's API: choices.0"),
        (Fault.EMPTY_CHOICES, "does not match the schema of OpenAI's API: choices"),
        (Fault.HUGE, "larger than 100,000 bytes"),
        (Fault.COMPRESSED, "it is compressed"),
    ],
)
@pytest.mark.parametrize("raw", [False, True])
async def test_an_unusable_response_is_described_and_not_retried(
    server: FaultyServer, connect: Connect, fault: Fault, message: str, raw: bool
) -> None:
    endpoint = connect(server, max_response_bytes=100_000)
    server.faults = [fault]
    with pytest.raises(EndpointAnswerError, match=message):
        await (endpoint.complete("a", max_tokens=1) if raw else ask(endpoint))
    assert len(server.requests) == 1
    assert await ask(endpoint) == "a free answer"


@pytest.mark.parametrize("fault", [Fault.GARBAGE, Fault.WRONG_SCHEMA, Fault.EMPTY_CHOICES])
async def test_unusable_embeddings_and_models_are_errors(server: FaultyServer, connect: Connect, fault: Fault) -> None:
    server.faults_at = {"/v1/embeddings": [fault], "/v1/models": [Fault.GARBAGE]}
    endpoint = connect(server)
    with pytest.raises(EndpointAnswerError, match="cannot be used"):
        await endpoint.embed(["one"])
    with pytest.raises(EndpointAnswerError, match="not JSON"):
        await endpoint.models()


async def test_an_ignored_constraint_is_an_error(server: FaultyServer, connect: Connect) -> None:
    server.faults = [Fault.UNCONSTRAINED]
    with pytest.raises(EndpointAnswerError, match="the server ignored the constraint"):
        await ask(connect(server), choice=["yes", "no"])


async def test_missing_log_probabilities_are_no_error(server: FaultyServer, connect: Connect) -> None:
    server.faults = [Fault.NO_LOGPROBS]
    assert (await connect(server).chat(MESSAGES, max_tokens=1, top_logprobs=2)).top_logprobs == ()


@pytest.mark.virtual_time
@pytest.mark.parametrize("fault", [Fault.HANG, Fault.DRIP])
async def test_a_slow_response_ends_at_the_deadline(server: FaultyServer, connect: Connect, fault: Fault) -> None:
    server.faults = [fault]
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(
        EndpointTimeoutError, match=r"did not finish within 0\.3 s; the last step was waiting for the server"
    ):
        await ask(connect(server, timeout_seconds=SHORT_SECONDS))
    assert loop.time() - began == pytest.approx(SHORT_SECONDS)
    await server.requests[0].disconnected.wait()


@pytest.mark.virtual_time
async def test_the_deadline_includes_waiting_for_a_turn(server: FaultyServer, connect: Connect) -> None:
    server.default_fault = Fault.HANG
    endpoint = connect(server, timeout_seconds=SHORT_SECONDS, max_concurrency=1)
    results = await asyncio.gather(ask(endpoint), ask(endpoint), return_exceptions=True)
    assert [type(result) for result in results] == [EndpointTimeoutError] * 2
    assert any("waiting for the server" in str(result) for result in results)


async def test_a_server_that_does_not_listen_is_unavailable(connect: Connect) -> None:
    async with FaultyServer() as server:
        endpoint = connect(server)
    with pytest.raises(EndpointUnavailableError, match=r"connection to 127\.0\.0\.1:[0-9]+ failed"):
        await ask(endpoint)


def test_every_endpoint_error_is_a_model_error() -> None:
    assert issubclass(EndpointError, ModelError)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tenacity", None)
    with pytest.raises(MissingExtraError, match=r"caslie-tools\[endpoints\]"):
        Endpoint(EndpointSettings(urls=("http://127.0.0.1:8000/v1",), model="model"))


async def test_a_retry_waits_as_long_as_the_server_asks(connect: Connect, sleep: RecordedSleep) -> None:
    async with FaultyServer(retry_after="2") as server:
        server.faults = [Fault.HTTP_429]
        assert await ask(connect(server)) == "a free answer"
    assert sleep.seconds == [2.0]


@pytest.mark.parametrize("retry_after", ["3600", "Fri, 31 Dec 2999 23:59:59 GMT"])
async def test_a_wait_beyond_the_deadline_is_not_started(
    connect: Connect, sleep: RecordedSleep, retry_after: str
) -> None:
    async with FaultyServer(retry_after=retry_after) as server:
        server.faults = [Fault.HTTP_429]
        with pytest.raises(EndpointUnavailableError, match="too many requests"):
            await ask(connect(server))
    assert sleep.seconds == []


@pytest.mark.parametrize("retry_after", ["soon", "-1", "nan", "Thu, 01 Jan 1970 00:00:00 GMT"])
async def test_an_unusable_retry_after_is_ignored(connect: Connect, sleep: RecordedSleep, retry_after: str) -> None:
    async with FaultyServer(retry_after=retry_after) as server:
        server.faults = [Fault.HTTP_503]
        assert await ask(connect(server)) == "a free answer"
    assert 0 <= sleep.seconds[0] <= 0.25


async def test_cancellation_reaches_the_server(server: FaultyServer, connect: Connect) -> None:
    server.faults = [Fault.HANG]
    endpoint = connect(server, breaker_failures=1)
    call = asyncio.create_task(ask(endpoint))
    await server.wait_for_requests(1)
    assert not server.requests[0].disconnected.is_set()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await server.requests[0].disconnected.wait()
    assert await ask(endpoint) == "a free answer"  # the breaker is closed, and the turn is free


async def test_concurrency_is_limited_and_calls_are_served_in_order(server: FaultyServer, connect: Connect) -> None:
    server.default_fault, server.faults_at = Fault.HANG, {"/v1/models": [Fault.OK]}
    endpoint = connect(server, max_concurrency=2)
    calls = [asyncio.create_task(endpoint.complete(str(number), max_tokens=1)) for number in range(6)]
    await server.wait_for_requests(2)
    await connect(server).models()  # sent after a third call would have been
    assert len(server.requests) == 2 + 1
    server.release()
    await asyncio.gather(*calls)
    order = [int(received.body["prompt"]) for received in server.requests if received.body]
    assert all(abs(position - number) <= 1 for position, number in enumerate(order))  # two concurrent calls may swap


async def test_connections_are_reused_until_the_endpoint_is_closed(server: FaultyServer, connect: Connect) -> None:
    endpoint = connect(server)
    for _ in range(3):
        await ask(endpoint)
    assert server.connections_made == 1
    await endpoint.aclose()
    assert await ask(endpoint) == "a free answer"  # on a new connection
    assert server.connections_made == 2


async def test_every_event_loop_has_its_own_connections(server: FaultyServer, connect: Connect) -> None:
    endpoint = connect(server)
    here = await ask(endpoint)
    for _ in range(2):  # a loop that left a connection open would cause a warning, which is an error here
        assert await asyncio.to_thread(asyncio.run, ask(endpoint)) == here
    assert await asyncio.to_thread(run_sync, ask(endpoint)) == here  # the background loop, which keeps running
    assert await ask(endpoint) == here
    assert server.connections_made == 4
    await endpoint.aclose()  # also closes the client of the background loop


async def test_a_call_in_progress_is_retried_when_the_endpoint_is_closed(
    server: FaultyServer, connect: Connect
) -> None:
    server.faults = [Fault.HANG]
    endpoint = connect(server)
    call = asyncio.create_task(ask(endpoint))
    await server.wait_for_requests(1)
    await endpoint.aclose()
    assert await call == "a free answer"
    assert len(server.requests) == 2
