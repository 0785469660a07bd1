"""Lets a running ``caslie serve`` of the same user do a command, so that no model has to be loaded.

Only modules of the standard library are imported here: the answer comes faster than this process could import the rest.
"""

import hashlib
import http.client
import json
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from caslie_tools._version import __version__

COMMANDS: Final = ("ask", "search", "predict", "captions")
"""The commands that a server can do."""
SERVER_FILE: Final = "server.json"
"""In the folder of a store: how to reach the server that has it open. Only its user can read the file."""
PATH: Final = "/command"
"""The route that does commands."""

_DEFAULT_STORE: Final = ".caslie/store"
_CONNECT_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 600.0
_NOT_COMPARED: Final = ("CASLIE_STORE", "CASLIE_SERVE_TOKEN", "CASLIE_NO_SERVER")
_TERMINAL_VARIABLES: Final = ("COLORTERM", "COLUMNS", "FORCE_COLOR", "NO_COLOR", "TERM", "TTY_COMPATIBLE")


def forward(arguments: Sequence[str]) -> int | None:
    """Lets a running server do a command and prints its output.

    Args:
        arguments: The arguments of the command line.

    Returns:
        The exit code, or ``None`` if the command must run in this process: no server has the store open with the same
        settings, or it cannot be reached.
    """
    if not arguments or arguments[0] not in COMMANDS or "--help" in arguments or os.environ.get("CASLIE_NO_SERVER"):
        return None
    if any((stream.encoding or "").lower().replace("-", "") != "utf8" for stream in (sys.stdout, sys.stderr)):
        return None
    store = Path(_option(arguments, "--store") or os.environ.get("CASLIE_STORE") or _DEFAULT_STORE)
    server = read_server_file(store)
    if server is None or server["settings"] != settings_digest(_option(arguments, "--profile")):
        return None
    answer = _ask(server, arguments)
    if answer is None:
        return None
    sys.stdout.write(answer["out"])
    sys.stdout.flush()
    sys.stderr.write(answer["err"])
    return int(answer["code"])


def read_server_file(store: Path) -> dict[str, Any] | None:
    """Returns what the file of a server says; ``None`` without one that this user wrote and only this user can read."""
    try:
        descriptor = os.open(store / SERVER_FILE, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            if hasattr(os, "getuid") and (status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077):
                return None
            server = json.loads(file.read(10_000))
    except (OSError, ValueError):
        return None
    if not isinstance(server, dict) or server.get("version") != __version__:
        return None
    complete = {"host": str, "port": int, "token": str, "settings": str}
    return server if all(isinstance(server.get(name), kind) for name, kind in complete.items()) else None


def settings_digest(profile: str | None) -> str:
    """Returns a digest of all settings from the environment and of a profile. Paths are compared as absolute paths."""
    settings = {name: value for name, value in os.environ.items() if name.upper().startswith("CASLIE_")}
    if profile is not None:
        settings["CASLIE_PROFILE"] = profile
    compared = {
        name.upper(): os.path.abspath(value) if os.path.exists(value) else value  # noqa: PTH100, PTH110
        for name, value in settings.items()
        if name.upper() not in _NOT_COMPARED
    }
    return hashlib.sha256(json.dumps(compared, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def _option(arguments: Sequence[str], name: str) -> str | None:
    """Returns the last value of an option, before ``--``."""
    value = None
    for number, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument == name and number + 1 < len(arguments):
            value = arguments[number + 1]
        elif argument.startswith(f"{name}="):
            value = argument[len(name) + 1 :]
    return value


def _ask(server: dict[str, Any], arguments: Sequence[str]) -> dict[str, Any] | None:
    command = {
        "arguments": list(arguments),
        "folder": os.getcwd(),  # noqa: PTH109 (pathlib takes time to do the same)
        "columns": _columns(),
        "out_is_terminal": sys.stdout.isatty(),
        "err_is_terminal": sys.stderr.isatty(),
        "environment": {name: os.environ[name] for name in _TERMINAL_VARIABLES if name in os.environ},
    }
    headers = {"Authorization": f"Bearer {server['token']}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(server["host"], server["port"], timeout=_CONNECT_SECONDS)
    try:
        body = json.dumps(command)
        connection.connect()
        connection.sock.settimeout(_ANSWER_SECONDS)
        connection.request("POST", PATH, body=body, headers=headers)
        response = connection.getresponse()
        content = response.read()
        return json.loads(content) if response.status == http.client.OK else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _columns() -> int | None:
    """Returns the width of the terminal, or ``None`` if there is none."""
    for stream in (sys.__stdin__, sys.__stdout__, sys.__stderr__):
        try:
            return os.get_terminal_size(stream.fileno()).columns if stream is not None else None
        except (OSError, ValueError):
            continue
    return None
