"""Circuit breakers and several replicas of one server."""

import asyncio

import pytest

from caslie_tools.exceptions import EndpointError, EndpointTimeoutError, EndpointUnavailableError
from caslie_tools.testing import Fault, FaultyServer
from caslie_tools.testing.openai_responses import images
from tests.backends.endpoints.calls import SHORT_SECONDS, ask, ask_about
from tests.backends.endpoints.connecting import Connect, RecordedSleep


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_the_breaker_opens_tries_one_request_and_closes(server: FaultyServer, connect: Connect) -> None:
    clock = Clock()
    endpoint = connect(server, clock=clock, max_attempts=1, breaker_failures=2, breaker_seconds=30)
    server.default_fault = Fault.HTTP_500
    for _ in range(2):
        with pytest.raises(EndpointUnavailableError, match=r"failed \(500\): 'EngineDeadError'"):
            await ask(endpoint)
    with pytest.raises(EndpointUnavailableError, match="gets no requests for another 30 s"):
        await ask(endpoint)
    assert len(server.requests) == 2  # open: no request is sent

    clock.now = 30
    with pytest.raises(EndpointUnavailableError, match="EngineDeadError"):
        await ask(endpoint)
    with pytest.raises(EndpointUnavailableError, match="gets no requests"):
        await ask(endpoint)
    assert len(server.requests) == 3  # half open: one request was sent, and the breaker opened again

    clock.now = 60
    server.default_fault = Fault.HANG
    trial = asyncio.create_task(ask(endpoint))
    await server.wait_for_requests(4)
    with pytest.raises(EndpointUnavailableError, match="gets no requests"):
        await ask(endpoint)  # only one trial at a time
    server.release()
    assert await trial == "a free answer"
    server.default_fault = Fault.OK
    server.faults = [Fault.HTTP_500]  # closed: one failure is not enough to open it again
    with pytest.raises(EndpointUnavailableError, match="EngineDeadError"):
        await ask(endpoint)
    assert await ask(endpoint) == "a free answer"


async def test_a_cancelled_trial_allows_another_trial(server: FaultyServer, connect: Connect) -> None:
    clock = Clock()
    endpoint = connect(server, clock=clock, max_attempts=1, breaker_failures=1, breaker_seconds=30)
    server.faults = [Fault.HTTP_500, Fault.HANG]
    with pytest.raises(EndpointUnavailableError):
        await ask(endpoint)
    clock.now = 30
    trial = asyncio.create_task(ask(endpoint))
    await server.wait_for_requests(2)
    trial.cancel()
    await asyncio.wait([trial])
    assert await ask(endpoint) == "a free answer"


@pytest.mark.virtual_time
async def test_a_server_that_hangs_opens_the_breaker(server: FaultyServer, connect: Connect) -> None:
    endpoint = connect(server, timeout_seconds=SHORT_SECONDS, breaker_failures=1)
    server.faults = [Fault.HANG]
    with pytest.raises(EndpointTimeoutError):
        await ask(endpoint)
    with pytest.raises(EndpointUnavailableError, match="gets no requests"):
        await ask(endpoint)


@pytest.mark.parametrize("fault", [Fault.HTTP_400, Fault.HTTP_429, Fault.GARBAGE])
async def test_a_server_that_responds_does_not_open_the_breaker(
    server: FaultyServer, connect: Connect, fault: Fault
) -> None:
    endpoint = connect(server, breaker_failures=1, max_attempts=1)
    server.faults = [fault]
    with pytest.raises(EndpointError):
        await ask(endpoint)
    assert await ask(endpoint) == "a free answer"


@pytest.mark.parametrize("fault", [Fault.HTTP_500, Fault.HTTP_429, Fault.RESET])
async def test_another_replica_is_tried_without_a_pause(
    server: FaultyServer, connect: Connect, sleep: RecordedSleep, fault: Fault
) -> None:
    async with FaultyServer() as other:
        endpoint = connect(server, other, max_attempts=1)
        server.faults = [fault]
        asked = 0
        while not server.requests:  # the prompt decides which replica is tried first
            asked += 1
            assert await ask_about(endpoint, asked) == "a free answer"
        assert len(other.requests) == asked
        assert sleep.seconds == []


async def test_a_dead_replica_gets_no_requests_while_the_other_one_works(
    server: FaultyServer, connect: Connect
) -> None:
    async with FaultyServer() as dead:
        endpoint = connect(dead, server, breaker_failures=2)
        dead.default_fault = Fault.RESET
        for number in range(64):
            await ask_about(endpoint, number)
        assert len(dead.requests) == 2
        assert len(server.requests) == 64


async def test_replicas_share_the_load(server: FaultyServer, connect: Connect) -> None:
    async with FaultyServer() as other:
        endpoint = connect(server, other)
        server.default_fault = other.default_fault = Fault.HANG
        calls = [asyncio.create_task(ask(endpoint)) for _ in range(6)]
        await server.wait_for_requests(3)
        await other.wait_for_requests(3)
        server.release()
        other.release()
        await asyncio.gather(*calls)
        assert len(server.requests) == len(other.requests) == 3


@pytest.mark.virtual_time
async def test_a_replica_that_hangs_leaves_time_for_the_other_one(server: FaultyServer, connect: Connect) -> None:
    async with FaultyServer() as other:
        endpoint = connect(server, other, timeout_seconds=1.0, max_attempts=1, breaker_failures=1)
        server.default_fault = Fault.HANG
        for number in range(64):
            assert await ask_about(endpoint, number) == "a free answer"
        assert len(server.requests) == 1  # after that its breaker is open


@pytest.mark.virtual_time
async def test_a_call_ends_at_the_deadline_if_all_replicas_hang(server: FaultyServer, connect: Connect) -> None:
    async with FaultyServer() as other:
        endpoint = connect(server, other, timeout_seconds=SHORT_SECONDS)
        server.default_fault = other.default_fault = Fault.HANG
        with pytest.raises(EndpointTimeoutError, match=r"did not finish within 0\.3 s"):
            await ask(endpoint)
        assert len(server.requests) == len(other.requests) == 1


async def test_requests_about_one_image_go_to_the_same_replica(server: FaultyServer, connect: Connect) -> None:
    async with FaultyServer() as other:
        endpoint = connect(server, other)
        for number in range(64):
            image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{number:04}"}}
            for question in ("What is it?", "What colour has it?"):
                content = [image, {"type": "text", "text": question}]
                await endpoint.chat([{"role": "user", "content": content}], max_tokens=4)
        seen = [{images(received.body)[0] for received in each.requests} for each in (server, other)]
        assert not seen[0] & seen[1]
        assert [len(each) > 0 for each in seen] == [True, True]  # different images are spread over the replicas
