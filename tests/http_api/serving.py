"""Runs the HTTP API in a real server, for tests."""

import asyncio
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
