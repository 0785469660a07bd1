"""The HTTP clients of an endpoint: one per event loop, closed together with the loop."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from typing import Final, NamedTuple

import httpx

from caslie_tools.backends.endpoints.settings import EndpointSettings
from caslie_tools.backends.endpoints.transport import GuardedTransport

_MAX_CONNECT_SECONDS: Final = 5.0


class _OpenClient(NamedTuple):
    client: httpx.AsyncClient
    lifetime: AsyncGenerator[None, None]
    """Closes the client when it is closed itself."""


class HttpClients:
    """Creates an HTTP client for each event loop: connections cannot be shared between loops.

    ``asyncio.run`` closes the asynchronous generators of its loop before it closes the loop. Each client therefore
    belongs to a generator, whose end closes the client.

    Args:
        settings: The endpoint's settings.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._open: dict[asyncio.AbstractEventLoop, _OpenClient] = {}

    async def get(self) -> httpx.AsyncClient:
        """Returns the client of the running event loop."""
        loop = asyncio.get_running_loop()
        with self._lock:
            for closed in [each for each in self._open if each.is_closed()]:
                del self._open[closed]
            opened = self._open.get(loop)
        if opened is None:  # no other call can create it in the meantime: only this loop's thread uses its client
            client = make_client(self._settings)
            opened = _OpenClient(client, self._keep_open(loop, client))
            with self._lock:
                self._open[loop] = opened
            await anext(opened.lifetime)
        return opened.client

    async def aclose(self) -> None:
        """Closes the clients of all event loops."""
        with self._lock:
            opened = list(self._open.items())
        for loop, (_, lifetime) in opened:
            if loop is asyncio.get_running_loop():
                await lifetime.aclose()
            elif loop.is_running():
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_aclose(lifetime), loop))

    async def _keep_open(
        self, loop: asyncio.AbstractEventLoop, client: httpx.AsyncClient
    ) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            with self._lock:
                self._open.pop(loop, None)
            await client.aclose()


async def _aclose(generator: AsyncGenerator[None, None]) -> None:
    await generator.aclose()


def make_client(settings: EndpointSettings) -> httpx.AsyncClient:
    """Creates a client that follows no redirects and ignores proxies and credentials of the environment.

    Its only timeout is for making a connection. The deadline of the whole call is the caller's.
    """
    encrypted = any(url.startswith("https:") for url in settings.urls)  # reading the certificates takes time
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=settings.max_concurrency * len(settings.urls))
    transport = GuardedTransport(
        httpx.AsyncHTTPTransport(verify=encrypted, limits=limits, trust_env=False),
        api_key=settings.api_key,
        max_response_bytes=settings.max_response_bytes,
    )
    connect_seconds = min(_MAX_CONNECT_SECONDS, settings.timeout_seconds / 3)
    return httpx.AsyncClient(
        transport=transport,
        timeout=httpx.Timeout(None, connect=connect_seconds),
        trust_env=False,
        follow_redirects=False,
    )
