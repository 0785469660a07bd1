"""The OpenAI library's clients for an endpoint: one per replica on each event loop, closed with the loop."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any, Final

import httpx

from caslie_tools.backends.endpoints.settings import EndpointSettings
from caslie_tools.backends.endpoints.transport import GuardedTransport

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_MOST_CONNECT_SECONDS: Final = 5.0


class Clients:
    """Makes an endpoint's clients when they are first needed on a loop; connections cannot be shared between loops.

    An asynchronous generator is the one thing that ``asyncio.run`` closes with its loop, so one of them per loop holds
    the clients.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._held: dict[asyncio.AbstractEventLoop, tuple[Mapping[str, AsyncOpenAI], AsyncGenerator[None, None]]] = {}

    async def get(self, url: str) -> "AsyncOpenAI":
        """Returns the client for a replica on the running loop."""
        loop = asyncio.get_running_loop()
        with self._lock:
            for ended in [each for each in self._held if each.is_closed()]:
                del self._held[ended]
            held = self._held.get(loop)
        if held is None:  # nobody else makes them meanwhile: other loops have their own, this one runs us
            clients = {each: make_client(each, self._settings) for each in self._settings.urls}
            life = self._live(loop, clients)
            with self._lock:
                held = self._held[loop] = (clients, life)
            await anext(life)
        return held[0][url]

    async def aclose(self) -> None:
        """Closes the clients of all loops."""
        with self._lock:
            lives = [(loop, life) for loop, (_, life) in self._held.items()]
        for loop, life in lives:
            if loop is asyncio.get_running_loop():
                await life.aclose()
            elif loop.is_running():
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_close(life), loop))

    async def _live(
        self, loop: asyncio.AbstractEventLoop, clients: "Mapping[str, AsyncOpenAI]"
    ) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            with self._lock:
                self._held.pop(loop, None)
            for client in clients.values():
                await client.close()


async def _close(life: AsyncGenerator[None, None]) -> None:
    await life.aclose()


def make_client(url: str, settings: EndpointSettings) -> "AsyncOpenAI":
    """Makes a client that neither retries nor follows redirects nor looks at the environment."""
    import openai

    encrypted = httpx.URL(url).scheme == "https"  # without it, reading the certificates is time wasted
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=settings.max_concurrency)
    transport = GuardedTransport(
        api_key=settings.api_key,
        max_response_bytes=settings.max_response_bytes,
        connect_seconds=min(_MOST_CONNECT_SECONDS, settings.timeout_seconds / 3),
        transport=httpx.AsyncHTTPTransport(verify=encrypted, limits=limits, trust_env=False),
    )
    seconds = settings.timeout_seconds
    # The library takes httpx as well as the successor that it brings along, but its types know only that one.
    http_client: Any = httpx.AsyncClient(transport=transport, trust_env=False, follow_redirects=False, timeout=seconds)
    # A key has to be given, or it would take one from the environment that was meant for somebody else.
    key = "added-by-the-transport"
    return openai.AsyncOpenAI(base_url=url, api_key=key, http_client=http_client, max_retries=0, timeout=seconds)
