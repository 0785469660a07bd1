"""Network checks of planned servers: whether a port is free, and whether a server is healthy."""

import asyncio
import errno
import socket
from collections.abc import Iterable

import httpx

from caslie_tools.exceptions import SettingsError
from caslie_tools.serving.servers import Server

_HEALTH_TIMEOUT_SECONDS = 5.0


async def is_healthy(server: Server) -> bool:
    """Returns whether ``/health`` at the address of a server returns status 200 within 5 seconds."""
    client = httpx.AsyncClient(trust_env=False, timeout=None)  # noqa: S113 (the timeout below covers the whole call)
    try:
        async with (
            asyncio.timeout(_HEALTH_TIMEOUT_SECONDS),
            client,
            client.stream("GET", f"{server.url}/health") as response,
        ):
            return response.status_code == httpx.codes.OK
    except (httpx.HTTPError, TimeoutError):
        return False


async def require_free_ports(servers: Iterable[Server]) -> None:
    """Checks that each server can listen on its address.

    Raises:
        SettingsError: If an address does not belong to this machine, or if a port is in use.
    """
    for server in servers:
        address = f"{server.name}: {server.host}:{server.port}"
        try:
            found = await asyncio.get_running_loop().getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
            family, kind, protocol, _, socket_address = found[0]
            with socket.socket(family, kind, protocol) as probe:
                # vLLM sets this option too: closed connections in TIME_WAIT do not block the port.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(socket_address)
        except socket.gaierror as error:
            raise SettingsError(
                f"{address}: the host name cannot be resolved; check CASLIE_HOST and the URLs of the profile"
            ) from error
        except OSError as error:
            raise SettingsError(f"{address} {await _bind_failure(server, error)}") from error


async def _bind_failure(server: Server, error: OSError) -> str:
    """Returns why a server cannot listen on its address, and what to do."""
    if error.errno == errno.EADDRNOTAVAIL:
        return (
            "is not an address of this machine; start the servers on that machine, or set CASLIE_HOST to an address "
            "of this machine"
        )
    if error.errno != errno.EADDRINUSE:
        return f"cannot be used to listen: {error.strerror}"
    if await is_healthy(server):
        return (
            "is already in use by a healthy server; stop it, or run `caslie endpoints check` to find out whether it "
            "can be used"
        )
    return "is already in use by another program; stop it, or give the roles of this server another port"
