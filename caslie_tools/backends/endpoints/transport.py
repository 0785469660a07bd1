"""The last step before the network: which headers are sent, and how much of a response is read."""

from collections.abc import AsyncIterator
from typing import Final, cast

import httpx
from pydantic import SecretStr

from caslie_tools._version import __version__
from caslie_tools.backends.endpoints.responses import UnusableResponseError

_SENT_HEADERS: Final = ("Host", "Accept", "Content-Type", "Content-Length")


class GuardedTransport(httpx.AsyncBaseTransport):
    """Adds the API key to a request, removes every header that is not needed, and limits the size of the response.

    The API key is added here and nowhere else, so no client, request or error above this class ever contains it. Only
    the needed headers are sent: cookies that a server sets are not returned to it.

    Args:
        transport: Makes the connections. It is closed with this transport.
        api_key: Sent as a bearer token.
        max_response_bytes: Most bytes of a response's body.
    """

    def __init__(
        self, transport: httpx.AsyncBaseTransport, *, api_key: SecretStr | None, max_response_bytes: int
    ) -> None:
        self._transport = transport
        self._api_key = api_key
        self._max_response_bytes = max_response_bytes

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request.

        Raises:
            UnusableResponseError: If the response is compressed, or if its body turns out too large while it is read.
        """
        headers = httpx.Headers({name: request.headers[name] for name in _SENT_HEADERS if name in request.headers})
        headers["User-Agent"] = f"caslie-tools/{__version__}"
        headers["Accept-Encoding"] = "identity"
        if self._api_key is not None:
            # Stripped: the HTTP library refuses a header with surrounding blanks, by an error that shows the header.
            headers["Authorization"] = f"Bearer {self._api_key.get_secret_value().strip()}"
        response = await self._transport.handle_async_request(
            httpx.Request(
                request.method, request.url, headers=headers, stream=request.stream, extensions=request.extensions
            )
        )
        # Compression was not asked for: a few kilobytes can expand to gigabytes.
        if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            await response.aclose()
            raise UnusableResponseError("it is compressed, which was not asked for")
        body = cast(httpx.AsyncByteStream, response.stream)
        response.stream = _LimitedStream(body, self._max_response_bytes)
        return response

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._transport.aclose()


class _LimitedStream(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, max_bytes: int) -> None:
        self._stream = stream
        self._max_bytes = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > self._max_bytes:
                raise UnusableResponseError(f"it is larger than {self._max_bytes:,} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
