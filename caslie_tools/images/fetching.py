"""Fetching a picture from a URL that somebody else chose.

Whoever names a URL could point it at the machine's own network (server-side request forgery). So a host name is
resolved here, all its addresses are checked, and the connection is made to the very address that was checked: a name
server that answers differently the second time is not asked a second time. TLS and the Host header keep the name. Every
redirect goes the same way, no proxy is used, and size and time are bounded whatever the server does.
"""

import asyncio
import functools
import socket
import ssl
import zlib
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, TypeAlias

import httpx

from caslie_tools._version import __version__
from caslie_tools.domain import ImageRef
from caslie_tools.exceptions import ImageFetchError

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host name and a port to its IP addresses, the preferred one first."""

_HEADERS: Final = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": f"caslie-tools/{__version__}"}
_IPV6_UNICAST: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_PASSING_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
# Cloud platforms answer their machines at these, and the standard library's tables do not (always) hold them back.
_PLATFORM: Final = (IPv4Network("192.0.0.0/24"), IPv4Network("168.63.129.16/32"))


async def resolve_host(host: str, port: int) -> list[str]:
    """Resolves as the operating system does.

    Raises:
        OSError: There is no such host.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def is_public(address: str) -> bool:
    """Whether an IP address is on the open internet.

    It is not when private, loopback, link-local, shared (100.64.0.0/10), multicast, reserved or a platform's own. An
    IPv6 address that carries an IPv4 one (mapped, 6to4, NAT64) is as public as what it carries.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        carried = ip.ipv4_mapped or ip.sixtofour
        if carried is None and ip in _NAT64:
            carried = IPv4Address(int(ip) & 0xFFFF_FFFF)
        if carried is None:
            return ip in _IPV6_UNICAST and ip.is_global
        ip = carried
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not any(ip in net for net in _PLATFORM)


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
    """Fetches what is at a URL, carefully.

    Args:
        url: An ``http://`` or ``https://`` URL.
        max_bytes: Most bytes to accept, counted after decompression.
        timeout_seconds: Deadline of the whole fetch: names, redirects and body.
        allow_private_addresses: Whether it may lead to addresses that are not :func:`is_public`.
        max_redirects: Most redirects to follow.
        resolve: How host names are resolved.
        transport: Makes the connections, to the addresses that were checked; closed afterwards. Left out, a plain one
            that trusts the public certificate authorities.

    Raises:
        ImageFetchError: It cannot be fetched, or must not be. The message shows neither credentials nor query.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise ImageFetchError("an image cannot be fetched: its URL does not start with http:// or https://")
    label = ImageRef(url=url).label
    try:
        first = httpx.URL(url)
    except httpx.InvalidURL:
        raise ImageFetchError(f"image {label!r} cannot be fetched: its URL is malformed") from None  # it shows the URL
    pinned = _PinnedTransport(resolve, allow_private_addresses, transport or _plain_transport())
    client = httpx.AsyncClient(transport=pinned, timeout=timeout_seconds, headers=_HEADERS, trust_env=False)
    try:
        async with asyncio.timeout(timeout_seconds), client:
            return await _follow(client, client.build_request("GET", first), max_bytes, max_redirects)
    except (_RefusedError, httpx.HTTPError, OSError, zlib.error) as error:
        reason = f"it took over {timeout_seconds:g} s" if isinstance(error, TimeoutError) else _reason(error)
        passing = error.passing if isinstance(error, _RefusedError) else not isinstance(error, zlib.error)
        raise ImageFetchError(f"image {label!r} cannot be fetched: {reason}", passing=passing) from error


class _RefusedError(Exception):
    """We will not go on with this answer or address; the message says why."""

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


async def _follow(client: httpx.AsyncClient, request: httpx.Request, max_bytes: int, max_redirects: int) -> bytes:
    # By hand, because httpx reads the body of a redirect, of whatever size, before it follows.
    for _ in range(max_redirects + 1):
        response = await client.send(request, stream=True)
        try:
            if response.next_request is None:
                return await _body(response, max_bytes)
            request = response.next_request
        finally:
            await response.aclose()
    raise _RefusedError(f"more than {max_redirects} redirects")


async def _body(response: httpx.Response, max_bytes: int) -> bytes:
    if response.status_code != httpx.codes.OK:
        raise _RefusedError(
            f"the server answered with status {response.status_code}", passing=response.status_code in _PASSING_STATUSES
        )
    too_large = f"it is larger than {max_bytes:,} bytes"
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise _RefusedError(too_large)
    # httpx's own decoding has no bound: stacked encodings grow a few kilobytes without limit in one step.
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip"}:
        raise _RefusedError("the server compressed it in a way that was not asked for")
    gunzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS) if encoding == "gzip" else None
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += gunzip.decompress(chunk, max_bytes + 1 - len(body)) if gunzip else chunk
        if len(body) > max_bytes:
            raise _RefusedError(too_large)
    if gunzip and not gunzip.eof:
        raise _RefusedError("it broke off in the middle")
    return bytes(body)


class _PinnedTransport(httpx.AsyncBaseTransport):
    """Resolves and checks the host of every request, then connects to an address that it checked."""

    def __init__(self, resolve: Resolver, allow_private_addresses: bool, transport: httpx.AsyncBaseTransport) -> None:
        self._resolve = resolve
        self._allow_private_addresses = allow_private_addresses
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.scheme not in {"http", "https"} or not request.url.host:
            raise _RefusedError("it leads to something that is not an http:// or https:// URL")
        addresses = await self._addresses(request.url)
        timeout = dict(request.extensions["timeout"])
        timeout["connect"] /= len(addresses)  # one dead address leaves time for the others
        failure: httpx.TransportError
        for address in addresses:
            pinned = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,  # with the Host header, made from the name
                stream=request.stream,
                extensions=request.extensions
                | {"timeout": timeout, "sni_hostname": request.url.raw_host.decode("ascii")},
            )
            try:
                return await self._transport.handle_async_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _addresses(self, url: httpx.URL) -> Sequence[str]:
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            addresses = await self._resolve(url.raw_host.decode("ascii"), port)
        except (OSError, UnicodeError) as error:
            # Without a network no name is known, but the system says that it may be in a while.
            passing = isinstance(error, OSError) and error.errno == socket.EAI_AGAIN
            raise _RefusedError(f"the host name {url.host!r} is not known", passing=passing) from error
        if not addresses:
            raise _RefusedError(f"the host name {url.host!r} is not known")
        # One inner address among public ones is no accident: none of them is used.
        if not self._allow_private_addresses and not all(map(is_public, addresses)):
            raise _RefusedError(
                f"{url.host!r} is not on the public internet; allow private addresses in the settings if you trust it"
            )
        return addresses

    async def aclose(self) -> None:
        await self._transport.aclose()


def _plain_transport() -> httpx.AsyncHTTPTransport:
    # Connections are not kept: one to the same address, but made for another name, must not be used again.
    no_reuse = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncHTTPTransport(verify=_public_authorities(), trust_env=False, limits=no_reuse)


@functools.cache
def _public_authorities() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


def _reason(error: Exception) -> str:
    # Not the libraries' own words, which may hold a URL with its query.
    match error:
        case _RefusedError():
            return str(error)
        case httpx.TimeoutException():
            return "the server took too long"
        case httpx.ConnectError():
            return "no connection to the server"
        case httpx.NetworkError() | OSError():
            return "the connection broke"
        case _:
            return "the server broke off or answered nonsense"
