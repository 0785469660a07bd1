"""What every command shares: where output goes, how it ends, how long work shows its progress.

With ``--json`` standard output holds one JSON document and nothing else; everything for people goes to standard error.
A failure is a document too: ``{"error": {"type": ..., "message": ...}}``, beside the line for people.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from caslie_tools.exceptions import CaslieError, InputError

if TYPE_CHECKING:
    from caslie_tools.domain import ProgressCallback

out = Console(highlight=False, emoji=False)
"""For the answer."""
err = Console(stderr=True, highlight=False, emoji=False)
"""For progress and errors."""

OK: Final = 0
FAILED: Final = 1
MISUSED: Final = 2
"""What the user passed cannot be used."""

_TYPER_INTERRUPTED: Final = 130


class ProgressDisplay(StrEnum):
    """How long work shows its progress on standard error."""

    AUTO = "auto"
    LINES = "lines"
    NONE = "none"


def run(command: Callable[[], Any], *, as_json: bool = False, show_traceback: bool = False) -> int:
    """Runs a command to its exit code: 0, 1 for a failure, 2 for what the user passed. Errors take one line.

    Args:
        command: Returns a JSON document to print, or an exit code, or both as a pair, or nothing.
        as_json: Keep standard output for that one document.
        show_traceback: Tell also where an error came from.
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
        # The cause and the traceback are for developers, who can ask for them.
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 (a user gets a line, whatever happened)
            if show_traceback:
                traceback.print_exception(error, file=sys.stderr)
            code = _report(error, as_json=as_json)
            sys.stdout.flush()  # here, where it may fail, and not when the interpreter ends
            return code
    except OSError:
        # Nobody reads on, as with `| head`, or there is no room. The interpreter would complain of it once more.
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 (a device, not a path)
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return FAILED


def plain(text: object) -> str:
    """Returns a text from elsewhere so that the terminal shows it and obeys none of it."""
    return escape("".join(_harmless(character) for character in str(text)))


def show_warnings(warnings: Iterable[str]) -> None:
    """Shows warnings on standard error, one a line."""
    for warning in warnings:
        err.print(f"[yellow]warning:[/yellow] {plain(' '.join(warning.split()))}", soft_wrap=True)


@contextmanager
def shown_progress(
    display: ProgressDisplay = ProgressDisplay.AUTO,
) -> "Iterator[ProgressCallback]":
    """Shows progress on standard error, and yields what advances it: ``(pass, item, done, total)``.

    Args:
        display: ``lines``: one line per finished item, for logs; ``auto``: one bar per pass where somebody watches.
    """
    if display is ProgressDisplay.LINES:
        yield lambda step, item, done, total: err.print(f"{step} {done}/{total} {plain(item)}", soft_wrap=True)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    watched = display is ProgressDisplay.AUTO and err.is_terminal
    with Progress(*columns, console=err, disable=not watched, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def advance(step: str, _item: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done)

        yield advance


def _harmless(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    return " " if character.isspace() else "\ufffd"


def _report(error: BaseException, *, as_json: bool) -> int:
    kind, message, code = _described(error)
    message = " ".join(message.split())
    err.print(f"[red]error:[/red] {plain(message)}", soft_wrap=True)
    if as_json:
        _print_json({"error": {"type": kind, "message": message}})
        sys.stdout.flush()
    return code


def _described(error: BaseException) -> tuple[str, str, int]:
    """The kind of an error, what to tell of it, and the exit code."""
    match error:
        case InputError():
            return type(error).__name__, str(error), MISUSED
        case CaslieError():
            return type(error).__name__, str(error), FAILED
        case typer.TyperException():
            context = getattr(error, "ctx", None)
            command = context.command_path if context is not None else "caslie"
            return "UsageError", f"{error.format_message().rstrip('.')}; see {command} --help", MISUSED
        case KeyboardInterrupt() | typer.Abort():
            return "Interrupted", "interrupted; what was stored stays stored: run the same command to go on", FAILED
        case OSError():
            return type(error).__name__, f"the system refuses: {error}", FAILED
        case _:  # its own words may hold anything, secrets included
            name = type(error).__name__
            return name, f"unexpected {name}: run caslie --traceback ... to see where, and please report it", FAILED


def _print_json(document: Mapping[str, Any]) -> None:
    text = json.dumps(document, ensure_ascii=False, indent=2)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # half a character, or a terminal that knows few
        text = json.dumps(document, indent=2)
    sys.stdout.write(text + "\n")
