"""Where the servers of a plan listen: whether they can, and whether they answer there."""

import asyncio
import errno
import socket
from collections.abc import Iterable

import httpx

from caslie_tools.exceptions import SettingsError
from caslie_tools.serving.servers import Server

_HEALTH_SECONDS = 5.0
"""How long a server may take to say that it is well."""


def url_of(server: Server) -> str:
    """Returns the URL of a server, without the ``/v1`` of the OpenAI-compatible API."""
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"http://{host}:{server.port}"


async def is_healthy(server: Server) -> bool:
    """Whether a server, or whatever listens in its place, says that it is well."""
    client = httpx.AsyncClient(trust_env=False, timeout=None)  # noqa: S113 (there is one deadline for all of it)
    try:
        async with asyncio.timeout(_HEALTH_SECONDS), client, client.stream("GET", f"{url_of(server)}/health") as answer:
            return answer.status_code == httpx.codes.OK
    except (httpx.HTTPError, TimeoutError):
        return False


async def require_free(servers: Iterable[Server]) -> None:
    """Makes sure that servers can listen where they are to.

    Raises:
        SettingsError: If an address is not of this machine, or its port is taken.
    """
    for server in servers:
        place = f"{server.name}: {server.host}:{server.port}"
        try:
            found = await asyncio.get_running_loop().getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
            family, kind, protocol, _, address = found[0]
            with socket.socket(family, kind, protocol) as probe:
                # As servers do: the remains of connections that have ended are no obstacle.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except socket.gaierror as error:
            raise SettingsError(f"{place}: this name is not known here; check CASLIE_HOST and the URLs") from error
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                reason = "is not on this machine; start the servers there, or set CASLIE_HOST to this machine's address"
            elif error.errno != errno.EADDRINUSE:
                reason = f"cannot be listened on: {error.strerror}"
            elif await is_healthy(server):
                reason = "a healthy server runs there already; stop it, or use it as it is (`caslie endpoints check`)"
            else:
                reason = "the port is taken by another program; stop that, or give the roles another port"
            raise SettingsError(f"{place} {reason}") from error
