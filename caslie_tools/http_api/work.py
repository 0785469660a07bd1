"""Runs the work of a request: with a limit on time and parallelism, and only as long as the client waits for it.

This module needs the extra ``serve``.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

from caslie_tools.http_api.errors import Refused
from caslie_tools.http_api.limits import ServerLimits

T = TypeVar("T")


class Workplace:
    """Limits the work of all requests.

    Args:
        limits: The limits.
    """

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._places = asyncio.Semaphore(limits.parallel)
        self._requests = 0

    async def do(self, request: Request, work: Coroutine[Any, Any, T]) -> T:
        """Does the work of a request and returns its result.

        Raises:
            Refused: If too many requests wait already, if the time limit is exceeded, or if the client has left.
        """
        if self._requests >= self._limits.parallel + self._limits.waiting:
            work.close()
            raise Refused(503, "Busy", "too many requests are waiting; try again later", retry_seconds=5)
        self._requests += 1
        working = asyncio.ensure_future(self._in_turn(work))
        leaving = asyncio.ensure_future(_until_disconnect(request))
        try:
            done, _ = await asyncio.wait(
                {working, leaving}, timeout=self._limits.seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if working in done:
                return working.result()
            if leaving in done:
                raise Refused(499, "ClientLeft", "the client closed the connection")
            raise Refused(504, "Timeout", f"the request took longer than {self._limits.seconds:g} seconds")
        finally:
            working.cancel()
            leaving.cancel()
            await asyncio.gather(working, leaving, return_exceptions=True)
            work.close()  # it may never have had its turn
            self._requests -= 1

    async def _in_turn(self, work: Coroutine[Any, Any, T]) -> T:
        async with self._places:
            return await work


async def _until_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
