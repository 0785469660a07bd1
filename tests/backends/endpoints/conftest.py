import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import pytest

from caslie_tools.backends.endpoints.endpoint import Endpoint
from caslie_tools.backends.endpoints.settings import EndpointSettings
from caslie_tools.testing import FaultyServer

LONG_SECONDS = 20.0
"""A deadline that no test reaches unless something hangs."""


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
    async with FaultyServer() as server, asyncio.timeout(LONG_SECONDS):
        yield server


@pytest.fixture
def sleep() -> RecordedSleep:
    return RecordedSleep()


@pytest.fixture
async def connect(sleep: RecordedSleep) -> AsyncIterator[Connect]:
    endpoints: list[Endpoint] = []

    def connect(*servers: FaultyServer, clock: Callable[[], float] | None = None, **settings: Any) -> Endpoint:
        settings = {"model": "model", "timeout_seconds": LONG_SECONDS} | settings
        urls = tuple(server.url for server in servers)
        clocks: dict[str, Any] = {} if clock is None else {"clock": clock}
        endpoints.append(Endpoint(EndpointSettings(urls=urls, **settings), sleep=sleep, **clocks))
        return endpoints[-1]

    yield connect
    for endpoint in endpoints:
        await endpoint.aclose()


@pytest.fixture
async def warm(connect: Connect) -> None:
    """Makes one call: the HTTP library imports parts of itself with its first call, which must not count as slow."""
    async with FaultyServer() as server:
        await connect(server).models()
