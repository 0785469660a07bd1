"""Bounds a request while it is received: its bytes, its JSON values and its time, and the bytes of all requests.

This module needs the extra ``serve``.
"""

import asyncio

from starlette.types import Message, Receive

from caslie_tools.http_api.errors import Refused
from caslie_tools.http_api.limits import ServerLimits


class BodyLimits:
    """The limits of all bodies that one server has in memory.

    Args:
        limits: The limits.
    """

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._in_memory = 0

    def body(self, receive: Receive) -> "LimitedBody":
        """Returns the body of a request. Call its ``close`` after the request."""
        return LimitedBody(receive, self._limits, self)

    def check_length(self, length: str) -> None:
        """Checks the length that a request announces.

        Raises:
            Refused: If it is not a number, or too large.
        """
        if not length.isdecimal():
            raise Refused(400, "InvalidRequest", "the header Content-Length is not a number")
        if int(length[:20]) > self._limits.max_body_bytes:
            raise self.too_large()

    def too_large(self) -> Refused:
        """Returns the error of a body with too many bytes."""
        limit = self._limits.max_body_bytes
        return Refused(413, "RequestTooLarge", f"a request may have at most {limit:,} bytes")

    def take(self, size: int) -> None:
        """Counts bytes that a request needs in memory.

        Raises:
            Refused: If all requests together have too many.
        """
        if self._in_memory + size > self._limits.max_total_bytes:
            raise Refused(503, "Busy", "the requests in work are too large together; try again later", retry_seconds=5)
        self._in_memory += size

    def give_back(self, size: int) -> None:
        """Counts bytes that are no longer needed."""
        self._in_memory -= size


class LimitedBody:
    """The body of one request.

    Attributes:
        refusal: Why the body was refused. A framework that reads the body may have hidden the error.
    """

    def __init__(self, receive: Receive, limits: ServerLimits, all_bodies: BodyLimits) -> None:
        self.refusal: Refused | None = None
        self._receive = receive
        self._limits = limits
        self._all = all_bodies
        self._deadline = asyncio.get_running_loop().time() + limits.body_seconds
        self._bytes = 0
        self._lists = 0
        self._values = 0
        self._complete = False

    async def receive(self) -> Message:
        """Receives the next part of the request.

        Raises:
            Refused: If the body exceeds a limit.
        """
        try:
            if self._complete:
                return await self._receive()  # waits until the client leaves
            return await self._next_part()
        except Refused as error:
            self.refusal = error
            raise

    def close(self) -> None:
        """Gives the memory of the body back."""
        self._all.give_back(self._bytes)
        self._bytes = 0

    async def _next_part(self) -> Message:
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            seconds = f"{self._limits.body_seconds:g} seconds"
            raise Refused(408, "Timeout", f"the request was not sent within {seconds}") from None
        part: bytes = message.get("body", b"")
        self._complete = not message.get("more_body", False)
        if self._bytes + len(part) > self._limits.max_body_bytes:
            raise self._all.too_large()
        self._all.take(len(part))
        self._bytes += len(part)
        # The parsed form of `[[],[],...]` takes twenty times the memory of its text, so its parts are counted before it
        # is parsed. Characters inside texts are counted too: an exact count would be a parser.
        self._lists += part.count(b"[") + part.count(b"{")
        self._values += part.count(b",")
        if self._lists > self._limits.max_lists or self._lists + self._values > self._limits.max_values:
            raise Refused(413, "RequestTooLarge", "the JSON of the request has too many values; send it in parts")
        return message
