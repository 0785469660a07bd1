"""Fetching an image from an untrusted URL.

An untrusted URL may point into the network of this machine (server-side request forgery).
:class:`~caslie_tools.images.pinned_transport.PinnedTransport` therefore checks the addresses of every request,
including redirects. No proxy is used. Size and time are limited, regardless of how the server behaves.
"""

import asyncio
import zlib
from typing import Final

import httpx

from caslie_tools._version import __version__
from caslie_tools.domain import ImageRef
from caslie_tools.exceptions import ImageFetchError
from caslie_tools.images.addresses import Resolver, resolve_host
from caslie_tools.images.pinned_transport import PinnedTransport, RefusedError, default_transport

_HEADERS: Final = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": f"caslie-tools/{__version__}"}
_TRANSIENT_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


async def fetch(
    url: str,
    *,
    max_bytes: int,
    timeout_seconds: float,
    allow_private_addresses: bool = False,
    max_redirects: int = 5,
    resolve: Resolver = resolve_host,
    transport: httpx.AsyncBaseTransport | None = None,
) -> bytes:
    """Fetches the body of an untrusted URL.

    Args:
        url: An ``http://`` or ``https://`` URL.
        max_bytes: Maximum size of the body in bytes, after decompression.
        timeout_seconds: Deadline of the whole fetch, including name resolution, redirects and body.
        allow_private_addresses: Whether the URL may lead to addresses that are not
            :func:`~caslie_tools.images.addresses.is_public`.
        max_redirects: Maximum number of redirects.
        resolve: Resolves host names.
        transport: Makes the connections to the checked addresses. It is closed afterwards. By default, a plain
            transport that trusts the public certificate authorities.

    Raises:
        ImageFetchError: The URL cannot be fetched, or must not be. The message contains neither credentials nor query.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise ImageFetchError("an image cannot be fetched: its URL does not start with http:// or https://")
    label = ImageRef(url=url).label
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        # The cause is left out because its message contains the URL.
        raise ImageFetchError(f"image {label!r} cannot be fetched: its URL is malformed") from None
    pinned = PinnedTransport(
        resolve, allow_private_addresses=allow_private_addresses, transport=transport or default_transport()
    )
    client = httpx.AsyncClient(transport=pinned, timeout=timeout_seconds, headers=_HEADERS, trust_env=False)
    try:
        async with asyncio.timeout(timeout_seconds), client:
            return await _follow_redirects(client, client.build_request("GET", parsed), max_bytes, max_redirects)
    except (httpx.InvalidURL, ValueError) as error:  # a redirect to a URL that httpx or idna cannot parse
        raise ImageFetchError(
            f"image {label!r} cannot be fetched: its URL is malformed, or leads to one that is"
        ) from error
    except (RefusedError, httpx.HTTPError, OSError, zlib.error) as error:
        reason = f"it took over {timeout_seconds:g} s" if isinstance(error, TimeoutError) else _reason(error)
        transient = error.transient if isinstance(error, RefusedError) else not isinstance(error, zlib.error)
        raise ImageFetchError(f"image {label!r} cannot be fetched: {reason}", transient=transient) from error


async def _follow_redirects(
    client: httpx.AsyncClient, request: httpx.Request, max_bytes: int, max_redirects: int
) -> bytes:
    # httpx's own redirects are not used: it reads the whole body of a redirect, of any size, before it follows it.
    for _ in range(max_redirects + 1):
        response = await client.send(request, stream=True)
        try:
            if response.next_request is None:
                return await _read_body(response, max_bytes)
            request = response.next_request
        finally:
            await response.aclose()
    raise RefusedError(f"more than {max_redirects} redirects")


async def _read_body(response: httpx.Response, max_bytes: int) -> bytes:
    if response.status_code != httpx.codes.OK:
        raise RefusedError(
            f"the server responded with status {response.status_code}",
            transient=response.status_code in _TRANSIENT_STATUSES,
        )
    too_large = f"it is larger than {max_bytes:,} bytes"
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise RefusedError(too_large)
    # httpx's own decompression has no limit: nested encodings can expand a few kilobytes without bound in one step.
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip"}:
        raise RefusedError("the server used a compression that was not requested")
    gunzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS) if encoding == "gzip" else None
    body = bytearray()
    received = 0
    async for chunk in response.aiter_raw():
        received += len(chunk)  # after the end of the compressed body, a server could send without end
        if received > max_bytes:
            raise RefusedError(too_large)
        body += gunzip.decompress(chunk, max_bytes + 1 - len(body)) if gunzip else chunk
        if len(body) > max_bytes:
            raise RefusedError(too_large)
    if gunzip and not gunzip.eof:
        raise RefusedError("its compressed body is incomplete")
    return bytes(body)


def _reason(error: Exception) -> str:
    # The messages of the libraries are not used because they may contain a URL with its query.
    match error:
        case RefusedError():
            return str(error)
        case httpx.TimeoutException():
            return "the server took too long"
        case httpx.ConnectError():
            return "no connection to the server"
        case httpx.NetworkError() | OSError():
            return "the connection was lost"
        case _:
            return "the response is incomplete or invalid"
