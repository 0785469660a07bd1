import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from caslie_tools import Caslie
from caslie_tools.http_api import ServerLimits
from tests.http_api.serving import send_raw, serving


async def chunks(size: int, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * size


async def works(client: httpx.AsyncClient) -> bool:
    return (await client.post("/search", json={"text": "mug"})).status_code == 200


async def test_a_request_that_is_too_large_is_refused_before_it_is_read(caslie: Caslie) -> None:
    async with serving(caslie, limits=ServerLimits(max_body_bytes=1000)) as client:
        declared = await client.post("/ask", content=b" " * 1001)
        streamed = await client.post("/ask", content=chunks(600, 2))
        for response in (declared, streamed):
            assert response.status_code == 413
            assert response.json()["error"]["type"] == "RequestTooLarge"
        assert await works(client)


@pytest.mark.parametrize(
    ("limits", "record"),
    [
        (ServerLimits(max_lists=50), [[]] * 50),
        (ServerLimits(max_lists=50), [{}] * 50),
        (ServerLimits(max_values=50), ["a"] * 50),
        (ServerLimits(max_values=50), [{"a": 1, "b": 2}] * 20),
    ],
)
async def test_json_with_too_many_values_is_refused_before_it_is_parsed(
    caslie: Caslie, limits: ServerLimits, record: list[object]
) -> None:
    async with serving(caslie, limits=limits) as client:
        response = await client.post("/predict", json={"task": "psi", "record": record})
        assert (response.status_code, response.json()["error"]["type"]) == (413, "RequestTooLarge")
        assert await works(client)


async def test_all_requests_together_are_bounded(caslie: Caslie) -> None:
    goes_on = asyncio.Event()
    sent = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b" " * 600
        sent.set()
        await goes_on.wait()
        yield b'{"text": "mug"}'

    headers = {"Content-Type": "application/json"}
    async with serving(caslie, limits=ServerLimits(max_total_bytes=1000)) as client:
        first = asyncio.create_task(client.post("/search", content=slowly(), headers=headers))
        await sent.wait()
        while (other := await client.post("/search", content=b" " * 500, headers=headers)).status_code == 422:
            pass  # the first part may not have arrived yet
        assert (other.status_code, other.json()["error"]["type"]) == (503, "Busy")
        assert other.headers["Retry-After"] == "5"
        goes_on.set()
        assert (await first).status_code == 200
        for _ in range(3):  # what was counted is given back, also by those that were refused
            assert (await client.post("/search", content=b" " * 900, headers=headers)).status_code == 422


async def test_a_request_that_is_sent_too_slowly_ends(caslie: Caslie) -> None:
    async with serving(caslie, limits=ServerLimits(body_seconds=0.2)) as client:
        request = b"POST /ask HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
        status, body = await send_raw(client, request)
        assert (status, json.loads(body)["error"]["type"]) == (408, "Timeout")
        assert await works(client)


async def test_a_long_value_is_not_repeated(client: httpx.AsyncClient) -> None:
    response = await client.post("/search", json={"text": "mug", "where": {"brand": ["x" * 100_000]}})
    assert response.status_code == 400
    assert len(response.content) < 3000
