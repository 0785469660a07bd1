"""A tiny real HTTP server that speaks OpenAI's API as vLLM does, and goes wrong on demand.

::

    async with FaultyServer() as server:
        server.faults = [Fault.HTTP_500, Fault.RESET]  # the next two requests; all is well after
        ...  # talk to server.url

It knows ``/v1/chat/completions``, ``/v1/completions``, ``/v1/embeddings``, ``/v1/models`` and ``/health``. It is no
model: it says what it is told to say, and takes the first of the choices when it is constrained.
"""

import asyncio
import json
import socket
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, Final

from caslie_tools.testing.openai_answers import answer

_DRIP_SECONDS: Final = 0.02
_HUGE_CHUNK: Final = b" " * 65_536
_HUGE_CHUNKS: Final = 16_384  # a gibibyte, for a client that has no bound


class Fault(Enum):
    """What goes wrong with one request."""

    OK = "nothing"
    HTTP_400 = "it is refused as malformed"
    HTTP_401 = "it is refused for its API key, which the answer shows"
    HTTP_404 = "it is refused for its model"
    HTTP_408 = "it timed out at the server"
    HTTP_422 = "it is refused as invalid"
    HTTP_429 = "there are too many, with Retry-After"
    HTTP_500 = "the server fails"
    HTTP_503 = "the server is not ready, with Retry-After"
    REDIRECT = "it is sent elsewhere: to /elsewhere of the same server"
    HANG = "nothing is answered until release() is called or the client leaves"
    DRIP = "the answer comes a byte at a time"
    RESET = "the connection is reset in the middle of the answer"
    TRUNCATED = "the connection ends in the middle of the answer"
    NO_ANSWER = "the connection ends before the answer"
    GARBAGE = "the answer is not JSON"
    BINARY = "the answer is not even text"
    WRONG_SCHEMA = "the answer is JSON of another kind"
    EMPTY_CHOICES = "the answer holds no choice"
    UNCONSTRAINED = "the constraint is ignored"
    NO_LOGPROBS = "the log-probabilities are left out"
    BLIND = "the images are left out"
    DOUBLE_BOS = "a raw prompt is given two BOS tokens"
    HUGE = "the answer is a gibibyte"
    COMPRESSED = "the answer is compressed, a kilobyte to a mebibyte"


_STATUSES: Final = {
    Fault.HTTP_400: (400, "Bad Request", "the prompt is longer than\nthe context"),
    Fault.HTTP_404: (404, "Not Found", "The model does not exist."),
    Fault.HTTP_408: (408, "Request Timeout", "took too long"),
    Fault.HTTP_422: (422, "Unprocessable Entity", "max_tokens is not a number"),
    Fault.HTTP_429: (429, "Too Many Requests", "slow down"),
    Fault.HTTP_500: (500, "Internal Server Error", "EngineDeadError"),
    Fault.HTTP_503: (503, "Service Unavailable", "loading"),
}
_ANSWERS: Final = {
    Fault.GARBAGE: b"<html><body>502 Bad Gateway</body></html>",
    Fault.BINARY: bytes(range(128, 256)),
    Fault.WRONG_SCHEMA: b'{"choices": [{"index": "zero", "message": {"content": 7}, "text": 7}], "data": 7}',
    Fault.EMPTY_CHOICES: b'{"choices": [], "data": []}',
}


@dataclass
class Received:
    """One request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case. The value of ``authorization`` is left out."""
    body: Any
    """The JSON document; ``None`` where there is none."""
    key_was_right: bool
    """Whether it brought the server's API key; yes where the server has none and it brought none."""
    fault: Fault
    """What went wrong with it."""
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the client left before it had its answer."""


class FaultyServer:
    """The server, on a free port of the loopback interface while its context is open.

    Args:
        models: Names of the models it serves, with their context lengths.
        api_key: Requests without it are refused; ``None`` lets everything in.
        says: From a request's body to what the model says freely; ``"a free answer"`` when left out.
        retry_after: What the header of that name says, with a 429 or 503.
        guided: Understand constraints as vLLM did before 0.11 (``guided_choice``), and only so.
    """

    def __init__(
        self,
        *,
        models: Mapping[str, int] | None = None,
        api_key: str | None = None,
        says: Callable[[Mapping[str, Any]], str] | None = None,
        retry_after: str = "0",
        guided: bool = False,
    ) -> None:
        self.models = {"model": 4096} if models is None else dict(models)
        self.retry_after = retry_after
        self.faults: Sequence[Fault] = ()
        """What goes wrong with the next requests, one after the other."""
        self.faults_at: Mapping[str, Sequence[Fault]] = {}
        """The same for a single path, such as ``/v1/models``; goes before ``faults``."""
        self.otherwise = Fault.OK
        """What goes wrong with all others."""
        self.requests: list[Received] = []
        self.most_under_way = 0
        """The most requests that were under way at once."""
        self.connections_made = 0
        self._api_key = api_key
        self._guided = guided
        self._says = says or (lambda _body: "a free answer")
        self._under_way = 0
        self._arrived = asyncio.Condition()
        self._released = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._port = 0

    async def __aenter__(self) -> "FaultyServer":
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Its base URL, for an OpenAI client."""
        return f"http://127.0.0.1:{self._port}/v1"

    async def stop(self) -> None:
        """Stops listening and drops all connections; the port is free afterwards."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def arrived(self, count: int) -> None:
        """Waits until that many requests have come in, since the start."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= count)

    def release(self) -> None:
        """Answers the requests that hang, now and from now on."""
        self._released.set()

    def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections_made += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # A client may break off or talk nonsense at any place; then there is no more to do for it.
            with suppress(OSError, EOFError, ValueError, asyncio.LimitOverrunError):
                ahead: bytes | None = b""
                while ahead is not None:
                    ahead = await self._serve_one(reader, writer, ahead)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _serve_one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ahead: bytes
    ) -> bytes | None:
        """Answers one request.

        Args:
            reader: What the client sends.
            writer: Where the answer goes.
            ahead: The start of the request, where it was read already.

        Returns:
            What was read ahead of the next request; ``None`` when there can be no other on this connection.
        """
        received, key = await self._receive(reader, ahead)
        self._under_way += 1
        self.most_under_way = max(self.most_under_way, self._under_way)
        # A client is silent until it has its answer; the end of its side of the connection means that it left.
        listening = asyncio.ensure_future(reader.read(1))
        answering = asyncio.ensure_future(self._answer(received, key, writer))
        try:
            async with self._arrived:
                self.requests.append(received)
                self._arrived.notify_all()
            await asyncio.wait({answering, listening}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done() and not answering.done() and not await _first_byte(listening):
                received.disconnected.set()
                return None
            try:
                stays = await answering
            except OSError:
                received.disconnected.set()
                return None
            if not stays:
                return None
            return await _first_byte(listening) if listening.done() else b""
        finally:
            self._under_way -= 1
            answering.cancel()
            listening.cancel()
            await asyncio.gather(answering, listening, return_exceptions=True)

    async def _receive(self, reader: asyncio.StreamReader, ahead: bytes) -> tuple[Received, str]:
        head = (ahead + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _version = head[0].split(" ")
        fields = (line.partition(":") for line in head[1:] if line)
        headers = {name.strip().lower(): value.strip() for name, _, value in fields}
        content = await reader.readexactly(int(headers.get("content-length", "0")))
        authorization = headers.pop("authorization", "")
        if authorization:
            headers["authorization"] = ""
        key = authorization.removeprefix("Bearer ")
        right = key == (self._api_key or "")
        received = Received(method, path, headers, json.loads(content) if content else None, right, self._next(path))
        if received.fault is Fault.OK and self._api_key is not None and not right:
            received.fault = Fault.HTTP_401
        return received, key

    def _next(self, path: str) -> Fault:
        here = self.faults_at.get(path, ())
        if here:
            self.faults_at = {**self.faults_at, path: here[1:]}
            return here[0]
        if self.faults:
            first, *self.faults = self.faults
            return first
        return self.otherwise

    async def _answer(self, received: Received, key: str, writer: asyncio.StreamWriter) -> bool:
        fault = received.fault
        if fault is Fault.HANG:
            await self._released.wait()
        if fault is Fault.NO_ANSWER:
            return False
        if fault is Fault.HUGE:
            await _write_huge(writer)
            return False
        if fault is Fault.REDIRECT:
            return await _write(writer, 307, "Temporary Redirect", b"", {"Location": "/elsewhere"})
        if fault is Fault.HTTP_401:
            return await self._refuse(writer, 401, "Unauthorized", f"Incorrect API key provided: {key}")
        if fault in _STATUSES:
            return await self._refuse(writer, *_STATUSES[fault])
        if fault is Fault.COMPRESSED:
            body = zlib.compress(bytes(1 << 20), wbits=16 + zlib.MAX_WBITS)
            return await _write(writer, 200, "OK", body, {"Content-Encoding": "gzip"})
        if fault in _ANSWERS:
            return await _write(writer, 200, "OK", _ANSWERS[fault])
        if received.path == "/health":
            return await _write(writer, 200, "OK", b"")
        made = answer(
            received.path,
            received.body or {},
            models=self.models,
            says=self._says,
            constrained=fault is not Fault.UNCONSTRAINED,
            guided=self._guided,
            logprobs=fault is not Fault.NO_LOGPROBS,
            sighted=fault is not Fault.BLIND,
            bos=2 if fault is Fault.DOUBLE_BOS else 1,
        )
        if isinstance(made, str):
            return await self._refuse(writer, 404, "Not Found", made)
        return await _write_faulty(writer, json.dumps(made).encode(), fault)

    async def _refuse(self, writer: asyncio.StreamWriter, status: int, reason: str, said: str) -> bool:
        headers = {"Retry-After": self.retry_after} if status in {429, 503} else {}
        body = {"error": {"message": said, "type": reason.replace(" ", ""), "param": None, "code": status}}
        return await _write(writer, status, reason, json.dumps(body).encode(), headers)


async def _first_byte(listening: asyncio.Future[bytes]) -> bytes:
    try:
        return await listening
    except OSError:
        return b""


def _head(status: int, reason: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {reason}", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _write(
    writer: asyncio.StreamWriter, status: int, reason: str, body: bytes, headers: Mapping[str, str] | None = None
) -> bool:
    writer.write(_head(status, reason, {"Content-Length": str(len(body)), **(headers or {})}) + body)
    await writer.drain()
    return True


async def _write_faulty(writer: asyncio.StreamWriter, body: bytes, fault: Fault) -> bool:
    head = _head(200, "OK", {"Content-Length": str(len(body))})
    if fault is Fault.DRIP:
        writer.write(head)
        for byte in body:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(_DRIP_SECONDS)
        return True
    if fault in {Fault.RESET, Fault.TRUNCATED}:
        writer.write(head + body[: len(body) // 2])
        await writer.drain()
        if fault is Fault.RESET:
            # No lingering: closing it discards what is left to send, and the client is told so rudely.
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False
    writer.write(head + body)
    await writer.drain()
    return True


async def _write_huge(writer: asyncio.StreamWriter) -> None:
    writer.write(_head(200, "OK", {"Content-Length": str(len(_HUGE_CHUNK) * _HUGE_CHUNKS)}))
    for _ in range(_HUGE_CHUNKS):
        writer.write(_HUGE_CHUNK)
        await writer.drain()
