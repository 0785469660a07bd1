"""``caslie serve``: answers over HTTP, and does the commands of its user, in one warm process."""

import ipaddress
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from caslie_tools.cli.console import err, plain
from caslie_tools.cli.opening import open_caslie
from caslie_tools.cli.options import ProfileName, Store
from caslie_tools.cli.runner import OK

_SHUTDOWN_SECONDS: Final = 30
_MAX_CONNECTIONS: Final = 500
"""Fewer than the files that a process may usually have open: 1024."""
TOKEN_VARIABLE = "CASLIE_SERVE_TOKEN"  # noqa: S105 (its name)


def serve(
    context: typer.Context,
    store: Store = None,
    profile: ProfileName = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on. Any but a loopback address needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 for any free one.")] = 8420,
    catalogues: Annotated[
        Path | None, typer.Option("--catalogues", help="Folder of the catalogue files that clients may index.")
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Time limit of a request in seconds.")] = 120.0,
    parallel: Annotated[int, typer.Option("--parallel", min=1, help="Requests that are worked on at once.")] = 8,
    max_body: Annotated[int, typer.Option("--max-body", min=1, help="Maximum size of a request in MiB.")] = 32,
) -> int:
    """Serve the store over HTTP until Ctrl-C, with the models loaded.

    While the server runs, caslie ask, search, predict and captions use it for the same store, profile and settings.

    Clients send the token of the environment variable CASLIE_SERVE_TOKEN in the header "Authorization: Bearer TOKEN".
    Without the variable, all programs on this machine may call the server.
    """
    from caslie_tools._optional import require
    from caslie_tools.exceptions import InputError

    uvicorn = require("uvicorn", "serve", "The HTTP server")
    require("fastapi_offline", "serve", "The HTTP server")
    from caslie_tools.cli.forwarded import ForwardedCommands
    from caslie_tools.http_api import ServerLimits, create_app
    from caslie_tools.http_api.access import LOOPBACK

    token = os.environ.get(TOKEN_VARIABLE) or None
    local = _is_loopback(host)
    if token is None and not local:
        raise InputError(
            f"{host} can be reached by others; set {TOKEN_VARIABLE} to a secret token, or listen on 127.0.0.1"
        )
    if catalogues is not None and not catalogues.is_dir():
        raise InputError(f"{catalogues} is not a folder; give the folder of the catalogue files")
    limits = ServerLimits(max_body_bytes=max_body * 1024 * 1024, parallel=parallel, seconds=timeout)
    with open_caslie(store, profile, create=True) as caslie:
        caslie.store.path.mkdir(parents=True, exist_ok=True)
        commands = ForwardedCommands(caslie, profile, main=context.find_root().command)

        async def announce() -> None:
            address, number = listening.getsockname()[:2]
            if local:
                commands.announce(address, number)
            name = f"[{host}]" if ":" in host else host
            err.print(f"listening on http://{plain(name)}:{number} (API: /docs). Stop with Ctrl-C", soft_wrap=True)

        app = create_app(
            caslie,
            token=token,
            hosts=LOOPBACK | {host} if local else (),
            catalogues=catalogues,
            limits=limits,
            private=commands.router if local else None,
            on_start=announce,
        )
        config = uvicorn.Config(
            app,
            log_level="warning",
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            limit_concurrency=_MAX_CONNECTIONS,
            server_header=False,
        )
        with _listen(host, port) as listening, _exit_after_signals():
            try:
                uvicorn.Server(config).run(sockets=[listening])
            finally:
                commands.withdraw()
    return OK


def _listen(host: str, port: int) -> socket.socket:
    from caslie_tools.exceptions import SettingsError

    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SettingsError(
            f"cannot listen on {host}, port {port}: {reason}; choose another --host or --port"
        ) from error


@contextmanager
def _exit_after_signals() -> Iterator[None]:
    """Lets the process exit with 0 once uvicorn has shut down: uvicorn raises the signal that stopped it again."""

    def leave(number: int, frame: object) -> None:
        raise SystemExit(OK)

    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, leave) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
