"""The last step before the wire: what leaves the process, and how much may come back."""

from collections.abc import AsyncIterator
from typing import Final, cast

import httpx
from pydantic import SecretStr

from caslie_tools._version import __version__
from caslie_tools.backends.endpoints.wire import UnusableAnswerError

_KEPT: Final = ("Host", "Accept", "Content-Type", "Content-Length", "Transfer-Encoding")


class GuardedTransport(httpx.AsyncBaseTransport):
    """Sends a request with nothing but the headers it needs, and bounds the answer.

    The API key is put on here and nowhere before, so no client, request or error above ever holds it. What the OpenAI
    library adds on its own (the platform, and whatever the environment names as organisation or project) is taken off.

    Args:
        api_key: Sent as a bearer token.
        max_response_bytes: Most bytes of an answer's body.
        connect_seconds: How long a connection may take to be made. Everything else is the caller's deadline.
        transport: Makes the connections; closed with this one.
    """

    def __init__(
        self,
        *,
        api_key: SecretStr | None,
        max_response_bytes: int,
        connect_seconds: float,
        transport: httpx.AsyncBaseTransport,
    ) -> None:
        self._api_key = api_key
        self._max_response_bytes = max_response_bytes
        self._timeout = {"connect": connect_seconds, "read": None, "write": None, "pool": None}
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request.

        Raises:
            UnusableAnswerError: If the answer is too large or compressed; from reading its body, too.
        """
        headers = httpx.Headers({name: request.headers[name] for name in _KEPT if name in request.headers})
        headers["User-Agent"] = f"caslie-tools/{__version__}"
        headers["Accept-Encoding"] = "identity"
        if self._api_key is not None:
            # With blanks around it, it would be refused here by an error that shows it.
            headers["Authorization"] = f"Bearer {self._api_key.get_secret_value().strip()}"
        response = await self._transport.handle_async_request(
            httpx.Request(
                request.method,
                request.url,
                headers=headers,
                stream=request.stream,
                extensions={**request.extensions, "timeout": self._timeout},
            )
        )
        # A few kilobytes can unpack to gigabytes; it was asked not to.
        if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            await response.aclose()
            raise UnusableAnswerError("it is compressed, which was not asked for")
        body = cast(httpx.AsyncByteStream, response.stream)
        response.stream = _BoundedStream(body, self._max_response_bytes)
        return response

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._transport.aclose()


class _BoundedStream(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, max_bytes: int) -> None:
        self._stream = stream
        self._max_bytes = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > self._max_bytes:
                raise UnusableAnswerError(f"it is larger than {self._max_bytes:,} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
