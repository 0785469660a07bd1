"""Output for people: the two streams, text that is safe to print, warnings, notes and tables."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

from rich.console import Console
from rich.table import Table

from caslie_tools.cli.session import session


class _Current:
    """Stands for the console of the running command: that of its session, or else that of this process."""

    def __init__(self, name: str, console: Console) -> None:
        self._name = name
        self._console = console

    def __getattr__(self, attribute: str) -> Any:
        running = session.get()
        return getattr(self._console if running is None else getattr(running, self._name), attribute)


out: Final = cast(Console, _Current("out", Console(highlight=False, emoji=False)))
"""Standard output: the result of a command."""
err: Final = cast(Console, _Current("err", Console(stderr=True, highlight=False, emoji=False)))
"""Standard error: progress, warnings and errors."""

_BRACKET: Final = re.compile(r"(\\*)\[")
MAX_LINES: Final = 20
"""How many lines of a long list are shown."""


def plain(text: object) -> str:
    """Returns a text without control characters and without Rich markup.

    All text from a catalogue, a model or a user must be passed through this function before it is printed. Otherwise it
    could send control sequences to the terminal.
    """
    printable = "".join(_printable(character) for character in str(text))
    # Each bracket, not only those of complete tags as rich.markup.escape does it: the rest may come later in the line.
    escaped = _BRACKET.sub(lambda match: f"{match[1] * 2}\\[", printable)
    slashes = len(escaped) - len(escaped.rstrip("\\"))
    return f"{escaped}\\" if slashes % 2 else escaped


def show_warnings(warnings: Iterable[str]) -> None:
    """Prints warnings on standard error, one per line."""
    for warning in warnings:
        err.print(f"[yellow]warning:[/yellow] {plain(' '.join(warning.split()))}", soft_wrap=True)


def show_notes(notes: Iterable[str]) -> None:
    """Prints notes on standard error, one per line."""
    for note in notes:
        err.print(f"[dim]note: {plain(note)}[/dim]", soft_wrap=True)


def show_table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Prints a table on standard output. Long cells are folded and never cut.

    The cells are Rich markup: see :func:`plain`.
    """
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    out.print(table)


def first_lines(lines: Iterable[str], *, limit: int = MAX_LINES) -> Iterator[str]:
    """Yields the first lines of a list, and then how many more there are."""
    more = 0
    for number, line in enumerate(lines):
        if number < limit:
            yield line
        else:
            more += 1
    if more:
        yield f"{more} more; use --json to list all"


def _printable(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    return " " if character.isspace() else "\ufffd"
