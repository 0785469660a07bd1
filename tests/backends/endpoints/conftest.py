import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from caslie_tools.backends.endpoints.endpoint import Endpoint
from caslie_tools.backends.endpoints.settings import EndpointSettings
from caslie_tools.testing import FaultyServer
from tests.backends.endpoints.connecting import Connect, RecordedSleep
from tests.time_limits import HANG_SECONDS


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer() as server, asyncio.timeout(HANG_SECONDS):
        yield server


@pytest.fixture
def sleep() -> RecordedSleep:
    return RecordedSleep()


@pytest.fixture
async def connect(sleep: RecordedSleep) -> AsyncIterator[Connect]:
    endpoints: list[Endpoint] = []

    def connect(*servers: FaultyServer, clock: Callable[[], float] | None = None, **settings: Any) -> Endpoint:
        settings = {"model": "model", "timeout_seconds": HANG_SECONDS} | settings
        urls = tuple(server.url for server in servers)
        clocks: dict[str, Any] = {} if clock is None else {"clock": clock}
        endpoints.append(Endpoint(EndpointSettings(urls=urls, **settings), sleep=sleep, **clocks))
        return endpoints[-1]

    yield connect
    for endpoint in endpoints:
        await endpoint.aclose()
