"""What every command shares: where output goes, how errors end, how long work shows its progress.

With ``--json`` standard output holds one JSON document and nothing else; everything for people goes to standard error.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from caslie_tools.exceptions import CaslieError, InputError

out = Console(highlight=False)
"""For the answer."""
err = Console(stderr=True, highlight=False)
"""For progress and errors."""


def print_json(value: Any) -> None:
    """Prints one JSON document on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def plain(text: object) -> str:
    """Returns a text from elsewhere so that the terminal shows it and obeys none of it."""
    shown = (character if character.isprintable() or character == "\n" else "\ufffd" for character in str(text))
    return escape("".join(shown))


@contextmanager
def reported_errors() -> Iterator[None]:
    """Ends the command on one of our errors, in one line: exit code 2 for what the user passed, else 1."""
    try:
        yield
    except CaslieError as error:
        err.print(f"[red]error:[/red] {plain(' '.join(str(error).split()))}", soft_wrap=True)
        raise typer.Exit(2 if isinstance(error, InputError) else 1) from error
    except KeyboardInterrupt:
        err.print("interrupted; what was stored stays stored: run the same command to go on")
        raise typer.Exit(1) from None


@contextmanager
def progress_bar(*, quiet: bool = False) -> Iterator[Callable[[str, str, int, int], None]]:
    """Shows one bar per pass on standard error, and yields what advances it: ``(pass, item, done, total)``."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, disable=quiet or not err.is_terminal, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def advance(step: str, _item: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done)

        yield advance
