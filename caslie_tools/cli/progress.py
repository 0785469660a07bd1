"""Progress of long commands, on standard error."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from caslie_tools.cli.console import err, plain

if TYPE_CHECKING:
    from caslie_tools.domain import ProgressCallback


class ProgressDisplay(StrEnum):
    """How a command shows its progress."""

    AUTO = "auto"
    """One bar per step in a terminal. Otherwise, a line whenever a tenth of a step is done."""
    LINES = "lines"
    """One line per finished item, for logs."""
    NONE = "none"


@contextmanager
def show_progress(display: ProgressDisplay = ProgressDisplay.AUTO) -> "Iterator[ProgressCallback]":
    """Shows progress on standard error; yields the callback ``(step, item, done, total)`` that updates it."""
    if display is ProgressDisplay.LINES:
        yield lambda step, item, done, total: err.print(f"{step} {done}/{total} {plain(item)}", soft_wrap=True)
        return
    if display is ProgressDisplay.AUTO and not err.is_terminal:
        yield _print_tenths
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, disable=display is ProgressDisplay.NONE, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def advance(step: str, _item: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done)

        yield advance


def _print_tenths(step: str, _item: str, done: int, total: int) -> None:
    """Prints a line if this item completes a tenth of the step."""
    if done * 10 // total > (done - 1) * 10 // total:
        err.print(f"{step} {done}/{total}", soft_wrap=True)
