import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import pytest

from caslie_tools.backends.endpoints.endpoint import Endpoint
from caslie_tools.backends.endpoints.settings import EndpointSettings
from caslie_tools.testing import FaultyServer
from tests.time_limits import HANG_SECONDS


class RecordedSleep:
    """Returns at once instead of sleeping, and records for how long it was asked to sleep."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


class Connect(Protocol):
    """Creates an endpoint over servers."""

    def __call__(
        self, *servers: FaultyServer, clock: Callable[[], float] | None = None, **settings: Any
    ) -> Endpoint: ...


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
