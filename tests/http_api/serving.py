"""Runs the HTTP API in a real server, for tests."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn

from caslie_tools import Caslie
from caslie_tools.http_api import create_app
from tests.time_limits import HANG_SECONDS


@asynccontextmanager
async def serving(caslie: Caslie, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Runs the application on a free port; yields a client."""
    started = asyncio.Event()

    async def on_start() -> None:
        started.set()

    app = create_app(caslie, on_start=on_start, **options)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=5))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = asyncio.create_task(server.serve(sockets=[listening]))
        await started.wait()
        base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=base, timeout=HANG_SECONDS, trust_env=False) as client:
            try:
                yield client
            finally:
                server.should_exit = True
                await client.aclose()
                await running


async def send_raw(client: httpx.AsyncClient, request: bytes) -> tuple[int, bytes]:
    """Sends bytes to the server of a client; returns the status and the body of the response."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    try:
        writer.write(request)
        async with asyncio.timeout(HANG_SECONDS):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = re.search(r"(?im)^content-length: (\d+)", head)
            return int(head.split()[1]), await reader.readexactly(int(length[1]) if length else 0)
    finally:
        writer.close()
        await writer.wait_closed()
