"""The route of ``caslie serve`` that does the commands of its user: see :mod:`caslie_tools.cli.forwarding`.

This module needs the extra ``serve``.
"""

import asyncio
import contextvars
import io
import json
import os
import secrets
import threading
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from rich.console import Console

from caslie_tools._version import __version__
from caslie_tools.cli.forwarding import COMMANDS, PATH, SERVER_FILE, read_server_file, settings_digest
from caslie_tools.cli.runner import run_command
from caslie_tools.cli.session import Session, session
from caslie_tools.http_api.access import LOOPBACK, has_token
from caslie_tools.http_api.errors import Refused

if TYPE_CHECKING:
    from caslie_tools.caslie import Caslie


class Command(BaseModel):
    """A command, and the terminal and the folder of its user."""

    arguments: list[str] = Field(min_length=1)
    folder: Path
    columns: int | None = Field(ge=1, le=10_000)
    out_is_terminal: bool
    err_is_terminal: bool
    environment: dict[str, str]


class Output(BaseModel):
    """What a command printed, and its exit code."""

    out: str
    err: str
    code: int


class ForwardedCommands:
    """Does commands over an open store, one at a time.

    Args:
        caslie: The open store.
        profile: The profile that ``caslie serve`` was started with, if it was given as an option.
        main: All commands: see :func:`~caslie_tools.cli.runner.run_command`.
    """

    def __init__(self, caslie: "Caslie", profile: str | None, *, main: Callable[..., Any]) -> None:
        self._caslie = caslie
        self._main = main
        self._token = secrets.token_urlsafe(32)
        self._settings = settings_digest(profile)
        self._file = caslie.store.path / SERVER_FILE
        self._lock = threading.Lock()
        self.router = APIRouter()
        self.router.add_api_route(PATH, self._do, methods=["POST"])

    def announce(self, host: str, port: int) -> None:
        """Writes the file that lets commands find this server. Only the user can read it."""
        content = {"host": host, "port": port, "token": self._token, "pid": os.getpid(), "version": __version__}
        temporary = self._file.with_name(f"{SERVER_FILE}.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content | {"settings": self._settings}, file)
        temporary.replace(self._file)

    def withdraw(self) -> None:
        """Removes the file, unless another server has taken its place."""
        server = read_server_file(self._file.parent)
        if server is not None and server.get("token") == self._token:
            self._file.unlink(missing_ok=True)

    async def _do(self, request: Request, command: Command) -> Output:
        client = request.client
        if not has_token(request.headers, self._token) or client is None or client.host not in LOOPBACK:
            raise Refused(401, "Unauthorized", "only commands of the user who runs the server are done here")
        if command.arguments[0] not in COMMANDS:
            raise Refused(400, "UnknownCommand", "this command is not done by a server")
        return await asyncio.to_thread(contextvars.copy_context().run, self._run, command)

    def _run(self, command: Command) -> Output:
        out, err = io.StringIO(), io.StringIO()
        consoles = [
            Console(
                file=file,
                width=command.columns,
                force_terminal=is_terminal,
                highlight=False,
                emoji=False,
                _environ=command.environment,
            )
            for file, is_terminal in ((out, command.out_is_terminal), (err, command.err_is_terminal))
        ]
        # One at a time, because the redirection of standard output holds for the whole process.
        with self._lock, redirect_stdout(out), redirect_stderr(err):
            session.set(Session(self._caslie, command.folder, *consoles))
            code = run_command(self._main, command.arguments)
        return Output(out=out.getvalue(), err=err.getvalue(), code=code)
