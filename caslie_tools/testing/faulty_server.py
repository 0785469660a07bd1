"""A small real HTTP server with vLLM's OpenAI-compatible API that fails on demand.

::

    async with FaultyServer() as server:
        server.faults = [Fault.HTTP_500, Fault.RESET]  # of the next two requests; later requests succeed
        ...  # send requests to server.url

It has the paths ``/v1/chat/completions``, ``/v1/completions``, ``/v1/embeddings``, ``/v1/models`` and ``/health``. It
has no model: it returns a text that the test chooses.
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

from caslie_tools.testing.openai_responses import build_response

_DRIP_SECONDS: Final = 0.02
_HUGE_CHUNK: Final = b" " * 65_536
_HUGE_CHUNKS: Final = 16_384  # one gibibyte in total


class Fault(Enum):
    """A fault of one request."""

    OK = "no fault"
    HTTP_400 = "the request is refused as malformed"
    HTTP_401 = "the request is refused for its API key, and the response contains the key"
    HTTP_404 = "the request is refused for its model"
    HTTP_408 = "the request timed out at the server"
    HTTP_422 = "the request is refused as invalid"
    HTTP_429 = "the server has too many requests; the response has Retry-After"
    HTTP_500 = "the server fails"
    HTTP_503 = "the server is not ready; the response has Retry-After"
    REDIRECT = "the request is redirected to /elsewhere of the same server"
    HANG = "there is no response until release() is called or the client disconnects"
    DRIP = "the response is sent one byte at a time"
    RESET = "the connection is reset in the middle of the response"
    TRUNCATED = "the connection ends in the middle of the response"
    NO_RESPONSE = "the connection ends before the response"
    GARBAGE = "the response is not JSON"
    BINARY = "the response is not text"
    WRONG_SCHEMA = "the response is JSON with another schema"
    EMPTY_CHOICES = "the response has no choices"
    UNCONSTRAINED = "the constraint is ignored"
    NO_LOGPROBS = "the log-probabilities are missing"
    IMAGES_DROPPED = "images do not reach the model"
    DOUBLE_BOS = "a raw prompt gets two BOS tokens"
    HUGE = "the response has one gibibyte"
    COMPRESSED = "the response is compressed, from a mebibyte to a kilobyte"


_STATUSES: Final = {
    Fault.HTTP_400: (400, "Bad Request", "the prompt is longer than\nthe context"),
    Fault.HTTP_404: (404, "Not Found", "The model does not exist."),
    Fault.HTTP_408: (408, "Request Timeout", "took too long"),
    Fault.HTTP_422: (422, "Unprocessable Entity", "max_tokens is not a number"),
    Fault.HTTP_429: (429, "Too Many Requests", "slow down"),
    Fault.HTTP_500: (500, "Internal Server Error", "EngineDeadError"),
    Fault.HTTP_503: (503, "Service Unavailable", "loading"),
}
_BODIES: Final = {
    Fault.GARBAGE: b"<html><body>502 Bad Gateway</body></html>",
    Fault.BINARY: bytes(range(128, 256)),
    Fault.WRONG_SCHEMA: b'{"choices": [{"index": "zero", "message": {"content": 7}, "text": 7}], "data": 7}',
    Fault.EMPTY_CHOICES: b'{"choices": [], "data": []}',
}


@dataclass
class ReceivedRequest:
    """One request that the server received."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case. The value of ``authorization`` is replaced by an empty text."""
    body: Any
    """The JSON document, or ``None`` if the request has no body."""
    key_is_valid: bool
    """Whether the request has the server's API key, or no key if the server has none."""
    fault: Fault
    """The fault of this request."""
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the client disconnects before it has the response."""


class FaultyServer:
    """The server. It listens on a free port of the loopback interface while its context is open.

    Args:
        models: Names of the served models and their context lengths.
        api_key: Requests without this key are refused; ``None`` accepts all requests.
        respond: Returns the text of an unconstrained response, from the body of the request; by default
            ``"a free answer"``.
        choose: Returns the text of a constrained response, from the body of the request and the choices; by default the
            first choice.
        retry_after: The value of the header ``Retry-After`` of a 429 or 503.
        guided_choice: Whether the field of a constraint is ``guided_choice``, as in vLLM before 0.11.
    """

    def __init__(
        self,
        *,
        models: Mapping[str, int] | None = None,
        api_key: str | None = None,
        respond: Callable[[Mapping[str, Any]], str] | None = None,
        choose: Callable[[Mapping[str, Any], Sequence[str]], str] | None = None,
        retry_after: str = "0",
        guided_choice: bool = False,
    ) -> None:
        self.models = {"model": 4096} if models is None else dict(models)
        self.retry_after = retry_after
        self.faults: Sequence[Fault] = ()
        """The faults of the next requests, one after the other."""
        self.faults_at: Mapping[str, Sequence[Fault]] = {}
        """The faults of the next requests for one path, such as ``/v1/models``. They are used before ``faults``."""
        self.default_fault = Fault.OK
        """The fault of all other requests."""
        self.requests: list[ReceivedRequest] = []
        self.max_in_flight = 0
        """The largest number of requests that were in flight at the same time."""
        self.connections_made = 0
        self._api_key = api_key
        self._guided_choice = guided_choice
        self._respond_freely = respond or (lambda _body: "a free answer")
        self._choose = choose or (lambda _body, choices: choices[0])
        self._in_flight = 0
        self._request_received = asyncio.Condition()
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
        """The base URL, ending in ``/v1``."""
        return f"http://127.0.0.1:{self._port}/v1"

    async def stop(self) -> None:
        """Stops listening and closes all connections. Afterwards the port is free."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def wait_for_requests(self, count: int) -> None:
        """Waits until the server has received ``count`` requests since its start."""
        async with self._request_received:
            await self._request_received.wait_for(lambda: len(self.requests) >= count)

    def release(self) -> None:
        """Responds to all requests that hang, and to all that would hang later."""
        self._released.set()

    def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections_made += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # A client may disconnect or send an invalid request at any time. Then the connection ends.
            with suppress(OSError, EOFError, ValueError, asyncio.LimitOverrunError):
                read_ahead: bytes | None = b""
                while read_ahead is not None:
                    read_ahead = await self._serve_request(reader, writer, read_ahead)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _serve_request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, read_ahead: bytes
    ) -> bytes | None:
        """Responds to one request.

        Args:
            reader: Reads from the client.
            writer: Writes to the client.
            read_ahead: The start of the request, if it was read already.

        Returns:
            The start of the next request, if it was read already; ``None`` if the connection ends.
        """
        received, key = await self._receive(reader, read_ahead)
        self._in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self._in_flight)
        # A client sends nothing until it has the response. If its side of the connection ends, it has disconnected.
        listening = asyncio.ensure_future(reader.read(1))
        responding = asyncio.ensure_future(self._respond(received, key, writer))
        try:
            async with self._request_received:
                self.requests.append(received)
                self._request_received.notify_all()
            await asyncio.wait({responding, listening}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done() and not responding.done() and not await _first_byte(listening):
                received.disconnected.set()
                return None
            try:
                keep_open = await responding
            except OSError:
                received.disconnected.set()
                return None
            if not keep_open:
                return None
            return await _first_byte(listening) if listening.done() else b""
        finally:
            self._in_flight -= 1
            responding.cancel()
            listening.cancel()
            await asyncio.gather(responding, listening, return_exceptions=True)

    async def _receive(self, reader: asyncio.StreamReader, read_ahead: bytes) -> tuple[ReceivedRequest, str]:
        head = (read_ahead + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _version = head[0].split(" ")
        fields = (line.partition(":") for line in head[1:] if line)
        headers = {name.strip().lower(): value.strip() for name, _, value in fields}
        content = await reader.readexactly(int(headers.get("content-length", "0")))
        authorization = headers.pop("authorization", "")
        if authorization:
            headers["authorization"] = ""
        key = authorization.removeprefix("Bearer ")
        key_is_valid = key == (self._api_key or "")
        body = json.loads(content) if content else None
        received = ReceivedRequest(method, path, headers, body, key_is_valid, self._next_fault(path))
        if received.fault is Fault.OK and self._api_key is not None and not key_is_valid:
            received.fault = Fault.HTTP_401
        return received, key

    def _next_fault(self, path: str) -> Fault:
        faults = self.faults_at.get(path, ())
        if faults:
            self.faults_at = {**self.faults_at, path: faults[1:]}
            return faults[0]
        if self.faults:
            first, *self.faults = self.faults
            return first
        return self.default_fault

    async def _respond(self, received: ReceivedRequest, key: str, writer: asyncio.StreamWriter) -> bool:
        """Writes the response and returns whether the connection stays open."""
        fault = received.fault
        if fault is Fault.HANG:
            await self._released.wait()
        if fault is Fault.NO_RESPONSE:
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
        if fault in _BODIES:
            return await _write(writer, 200, "OK", _BODIES[fault])
        if received.path == "/health":
            return await _write(writer, 200, "OK", b"")
        response = build_response(
            received.path,
            received.body or {},
            models=self.models,
            respond=self._respond_freely,
            choose=self._choose,
            constrained=fault is not Fault.UNCONSTRAINED,
            guided_choice=self._guided_choice,
            logprobs=fault is not Fault.NO_LOGPROBS,
            images_dropped=fault is Fault.IMAGES_DROPPED,
            bos_tokens=2 if fault is Fault.DOUBLE_BOS else 1,
        )
        if isinstance(response, str):
            return await self._refuse(writer, 404, "Not Found", response)
        return await _write_faulty(writer, json.dumps(response).encode(), fault)

    async def _refuse(self, writer: asyncio.StreamWriter, status: int, reason: str, message: str) -> bool:
        headers = {"Retry-After": self.retry_after} if status in {429, 503} else {}
        body = {"error": {"message": message, "type": reason.replace(" ", ""), "param": None, "code": status}}
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
            # Without lingering, closing the socket discards unsent data and resets the connection.
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
