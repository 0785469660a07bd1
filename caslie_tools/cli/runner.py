"""Runs a command: prints its JSON document, reports its error, and returns its exit code.

With ``--json``, standard output holds exactly one JSON document, and all other output goes to standard error. An error
is one line on standard error. With ``--json`` it is also a document: ``{"error": {"type": ..., "message": ...}}``.
"""

import json
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from typing import Any, Final, TypeAlias

import typer

from caslie_tools._text import escape_invisible
from caslie_tools.cli.console import err, plain
from caslie_tools.exceptions import CaslieError, InputError

OK: Final = 0
FAILED: Final = 1
INVALID_INPUT: Final = 2

_TYPER_INTERRUPTED: Final = 130

Document: TypeAlias = dict[str, Any]
"""The JSON document that a command returns."""


def run_command(main: Callable[..., Any], arguments: Sequence[str]) -> int:
    """Runs the command that the arguments name, and prints its output; returns the exit code.

    Args:
        main: All commands: the Typer application, or its Click command.
        arguments: The command-line arguments.
    """
    given = list(arguments)
    options = given[: given.index("--")] if "--" in given else given
    return run(
        lambda: main(
            given or ["--help"], prog_name="caslie", standalone_mode=False, obj=shlex.join(["caslie", *given])
        ),
        as_json="--json" in options,
        show_traceback="--traceback" in options,
    )


def run(command: Callable[[], Any], *, as_json: bool = False, show_traceback: bool = False) -> int:
    """Runs a command; returns the exit code: 0 for success, 1 for a failure, 2 for invalid input.

    Args:
        command: Returns a JSON document to print, an exit code, a pair of both, or ``None``.
        as_json: Redirect all other output of the command to standard error.
        show_traceback: Print the traceback of an error.
    """
    try:
        try:
            with redirect_stdout(sys.stderr) if as_json else nullcontext():
                result = command()
            if result == _TYPER_INTERRUPTED:
                raise KeyboardInterrupt
            document, code = result if isinstance(result, tuple) else (result, result)
            if isinstance(document, Mapping):
                _print_json(document)
            sys.stdout.flush()
            return code if isinstance(code, int) else OK
        except BrokenPipeError:
            raise
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 (every error is reported in one line)
            if show_traceback:
                traceback.print_exception(error, file=sys.stderr)
            code = _report(error, as_json=as_json)
            sys.stdout.flush()  # fails here instead of at the exit of the interpreter
            return code
    except OSError:
        # Standard output is closed (as with `| head`) or full. Without this redirection, the interpreter would fail
        # again when it flushes standard output at exit.
        with open(os.devnull, "w") as null:  # noqa: PTH123 (a device, not a path)
            os.dup2(null.fileno(), sys.stdout.fileno())
        return FAILED


def report_failures(count: int) -> int:
    """Prints how many items of a command failed, if any; returns its exit code. The other items are complete."""
    if not count:
        return OK
    items = "1 item" if count == 1 else f"{count} items"
    err.print(f"[red]error:[/red] {items} failed; everything else is complete", soft_wrap=True)
    return FAILED


def _report(error: BaseException, *, as_json: bool) -> int:
    """Prints an error; returns the exit code."""
    kind, message, code = _describe(error)
    message = " ".join(message.split())
    err.print(f"[red]error:[/red] {plain(message)}", soft_wrap=True)
    if as_json:
        _print_json({"error": {"type": kind, "message": message}})
        sys.stdout.flush()
    return code


def _describe(error: BaseException) -> tuple[str, str, int]:
    """Returns the type of an error, its message and the exit code."""
    match error:
        case InputError():
            return type(error).__name__, str(error), INVALID_INPUT
        case CaslieError():
            return type(error).__name__, str(error), FAILED
        case typer.TyperException():
            context = getattr(error, "ctx", None)
            command = context.command_path if context is not None else "caslie"
            return "UsageError", f"{error.format_message().rstrip('.')}; see {command} --help", INVALID_INPUT
        case KeyboardInterrupt() | typer.Abort():
            return "Interrupted", "interrupted; finished work is stored. Run the same command again to resume", FAILED
        case OSError():
            return type(error).__name__, f"the operating system reported an error: {error}", FAILED
        case _:  # the message of an unexpected error may contain secrets, so it is not shown
            name = type(error).__name__
            return name, f"unexpected {name}; run `caslie --traceback ...` for details, and please report it", FAILED


def _print_json(document: Mapping[str, Any]) -> None:
    text = escape_invisible(json.dumps(document, ensure_ascii=False, indent=2))
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # a lone surrogate, or an encoding with few characters
        text = json.dumps(document, indent=2)
    sys.stdout.write(text + "\n")
