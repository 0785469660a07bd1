from collections.abc import AsyncIterator

import httpx
import pytest

from caslie_tools import Caslie
from tests.http_api.serving import send_raw, serving

TOKEN = "hunter2-hunter2"


@pytest.fixture
async def closed(caslie: Caslie) -> AsyncIterator[httpx.AsyncClient]:
    """A server that wants a token."""
    async with serving(caslie, token=TOKEN) as client:
        yield client


@pytest.mark.parametrize("header", [None, "Bearer wrong", f"Basic {TOKEN}", "Bearer", "Bearer hunter2", "Bearer \xfc"])
async def test_without_the_token_nothing_is_done(closed: httpx.AsyncClient, header: str | None) -> None:
    headers = {} if header is None else {b"Authorization": header.encode("latin-1")}
    for method, path in (("POST", "/ask"), ("GET", "/store"), ("GET", "/docs"), ("GET", "/openapi.json")):
        response = await closed.request(method, path, headers=headers)
        assert response.status_code == 401
        assert TOKEN not in response.text


async def test_with_the_token_it_is(closed: httpx.AsyncClient) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert (await closed.post("/search", json={"text": "mug"}, headers=headers)).status_code == 200
    assert (await closed.get("/health")).status_code == 200  # for probes


@pytest.mark.parametrize("host", ["shop.example", "shop.example:80", "127.0.0.1.shop.example", "", "[", "127.0.0.1@x"])
async def test_another_host_is_refused(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/store", headers={"Host": host})).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1", "[::1]:80"])
async def test_names_of_this_machine_are_its_own(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/store", headers={"Host": host})).status_code == 200


async def test_two_hosts_are_refused(client: httpx.AsyncClient) -> None:
    status, _ = await send_raw(client, b"GET /store HTTP/1.1\r\nHost: localhost\r\nHost: shop.example\r\n\r\n")
    assert status == 421


@pytest.mark.parametrize("origin", ["https://shop.example", "null", "http://127.0.0.1:1", "http://[", "\xff", ""])
async def test_pages_of_other_origins_are_refused(client: httpx.AsyncClient, origin: str) -> None:
    response = await client.post("/search", json={"text": "mug"}, headers={b"Origin": origin.encode("latin-1")})
    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers


async def test_its_own_pages_may_call_it(client: httpx.AsyncClient) -> None:
    origin = f"http://{client.base_url.host}:{client.base_url.port}"
    assert (await client.post("/search", json={"text": "mug"}, headers={"Origin": origin})).status_code == 200


async def test_websockets_are_refused(client: httpx.AsyncClient) -> None:
    wanted = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    response = await client.get("/ask", headers=wanted | {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
    assert 400 <= response.status_code < 500
