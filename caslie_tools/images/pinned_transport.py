"""An httpx transport that protects against server-side request forgery and DNS rebinding.

The transport resolves the host name of each request and checks all of its addresses. It then connects to one of the
checked addresses instead of resolving the name again. TLS and the Host header still use the name.
"""

import functools
import socket
import ssl
from collections.abc import Sequence

import httpx

from caslie_tools.images.addresses import Resolver, is_public


class RefusedError(Exception):
    """A URL must not be fetched, or its response cannot be used. The message gives the reason.

    Args:
        message: The reason.
        transient: Whether a later attempt may succeed.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class PinnedTransport(httpx.AsyncBaseTransport):
    """Connects only to addresses that it has resolved and checked itself.

    Args:
        resolve: Resolves host names.
        allow_private_addresses: Whether to allow addresses that are not public.
        transport: Makes the connections.
    """

    def __init__(
        self, resolve: Resolver, *, allow_private_addresses: bool, transport: httpx.AsyncBaseTransport
    ) -> None:
        self._resolve = resolve
        self._allow_private_addresses = allow_private_addresses
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends one request to the first checked address that accepts a connection.

        Raises:
            RefusedError: The URL is not an HTTP URL, its host cannot be resolved, or an address is not allowed.
            httpx.TransportError: No address can be reached, or the connection failed.
        """
        if request.url.scheme not in {"http", "https"} or not request.url.host:
            raise RefusedError("it leads to a URL that is not a valid http:// or https:// URL")
        addresses = await self._checked_addresses(request.url)
        timeout = dict(request.extensions["timeout"])
        timeout["connect"] /= len(addresses)  # so that an unreachable address leaves time for the others
        failure: httpx.TransportError
        for address in addresses:
            pinned = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,  # includes the Host header with the name
                stream=request.stream,
                extensions=request.extensions
                | {"timeout": timeout, "sni_hostname": request.url.raw_host.decode("ascii")},
            )
            try:
                return await self._transport.handle_async_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        raise failure

    async def aclose(self) -> None:
        """Closes the transport that makes the connections."""
        await self._transport.aclose()

    async def _checked_addresses(self, url: httpx.URL) -> Sequence[str]:
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            addresses = await self._resolve(url.raw_host.decode("ascii"), port)
        except (OSError, UnicodeError) as error:
            # The system returns EAI_AGAIN if the name server cannot be reached, for example without a network.
            transient = isinstance(error, OSError) and error.errno == socket.EAI_AGAIN
            raise RefusedError(f"the host name {url.host!r} cannot be resolved", transient=transient) from error
        if not addresses:
            raise RefusedError(f"the host name {url.host!r} cannot be resolved")
        # A mix of public and private addresses suggests an attack, so one private address excludes all of them.
        if not self._allow_private_addresses and not all(map(is_public, addresses)):
            raise RefusedError(
                f"{url.host!r} is not on the public internet; allow private addresses in the settings if you trust it"
            )
        return addresses


def default_transport() -> httpx.AsyncHTTPTransport:
    """Returns a transport that trusts the public certificate authorities and uses no proxy."""
    # A connection to the same address may belong to another host name, so connections are never reused.
    no_reuse = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncHTTPTransport(verify=_public_authorities(), trust_env=False, limits=no_reuse)


@functools.cache
def _public_authorities() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
