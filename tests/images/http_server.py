"""An HTTP server with given responses, and a name server and network that record what they are asked for."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import httpx

from caslie_tools.images.addresses import Resolver
from caslie_tools.images.fetching import fetch
from tests.time_limits import HANG_SECONDS

PUBLIC = "93.184.216.34"

Handler = Callable[[asyncio.StreamWriter, str], Awaitable[None]]


def http(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    """Returns an encoded HTTP response."""
    fields = {"Content-Length": str(len(body)), "Connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    return (
        f"HTTP/1.1 {status} X\r\n".encode()
        + "".join(f"{k}: {v}\r\n" for k, v in fields.items()).encode()
        + b"\r\n"
        + body
    )


class Server:
    """Responds on a free loopback port, for each path with fixed bytes or through a handler."""

    def __init__(self, responses: dict[str, bytes | Handler]) -> None:
        self.responses = responses
        self.requests: list[str] = []
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(request)
            response = self.responses[request.split()[1].partition("?")[0]]
            if isinstance(response, bytes):
                writer.write(response)
                await writer.drain()
            else:
                await response(writer, request)
        except (ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass  # the client closed the connection
        finally:
            writer.close()
            self._tasks.discard(task)

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def serving(responses: dict[str, bytes | Handler], tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Runs a server for the duration of the block."""
    server = Server(responses)
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await server.stop()


async def get(
    url: str, *, max_bytes: int = 1000, timeout_seconds: float = HANG_SECONDS, max_redirects: int = 5
) -> bytes:
    """Fetches from a server on this machine."""
    return await fetch(
        url,
        max_bytes=max_bytes,
        timeout_seconds=timeout_seconds,
        max_redirects=max_redirects,
        allow_private_addresses=True,
    )


class NameServer:
    """Returns the n-th list of addresses to the n-th query, and the last list to all later queries."""

    def __init__(self, *addresses: Sequence[str]) -> None:
        self.addresses = list(addresses)
        self.queries: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.queries.append(host)
        return self.addresses[min(len(self.queries), len(self.addresses)) - 1]


class Network:
    """Replaces the connections, and records the address of each."""

    def __init__(self, respond: Callable[[httpx.Request], httpx.Response] | None = None) -> None:
        self.respond = respond or (lambda _: httpx.Response(200, stream=httpx.ByteStream(b"image")))
        self.connected: list[str] = []
        self.requests: list[httpx.Request] = []
        self.transport = httpx.MockTransport(self._handle)

    async def fetch(self, url: str, resolve: Resolver) -> bytes:
        """Fetches a URL through this network."""
        return await fetch(url, max_bytes=9, timeout_seconds=HANG_SECONDS, resolve=resolve, transport=self.transport)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.connected.append(request.url.host)
        self.requests.append(request)
        return self.respond(request)
