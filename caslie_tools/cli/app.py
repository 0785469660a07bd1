"""The list of commands, the global options, and the entry point."""

import gc
import importlib
import io
import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from caslie_tools._version import __version__
from caslie_tools.cli.ask import ask
from caslie_tools.cli.captions import captions
from caslie_tools.cli.console import out
from caslie_tools.cli.data import data
from caslie_tools.cli.demo import demo
from caslie_tools.cli.endpoints import endpoints
from caslie_tools.cli.eval import evaluation
from caslie_tools.cli.index import index
from caslie_tools.cli.info import info
from caslie_tools.cli.predict import predict
from caslie_tools.cli.remove import remove
from caslie_tools.cli.runner import run_command
from caslie_tools.cli.search import search
from caslie_tools.cli.serve import serve
from caslie_tools.cli.tune import tune

_GARBAGE_THRESHOLD: Final = 50_000
"""Number of new objects after which Python searches for garbage."""

app = typer.Typer(
    name="caslie",
    help="Answer questions about products with the help of their images. CASLIE captions each image for the question, "
    "and a jury of judges decides which captions are used.",
    epilog="Exit codes: 0 for success, 1 for a failure, 2 for invalid input. With --json, an error is also printed as "
    'JSON on standard output: {"error": {"type": ..., "message": ...}}.',
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for command in (demo, index, remove, search, ask, predict, captions, serve, info):
    app.command()(command)
for group in (data, endpoints, evaluation, tune):
    app.add_typer(group)


def _print_version(requested: bool) -> None:
    if requested:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def _global_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show the traceback of an error.")] = False,
    task_module: Annotated[
        list[str] | None,
        typer.Option(
            "--task-module",
            envvar="CASLIE_TASK_MODULES",
            help="Import a Python module that registers tasks. Repeatable.",
        ),
    ] = None,
) -> None:
    for name in task_module or ():
        _import_task_module(name)


def _import_task_module(name: str) -> None:
    from caslie_tools.exceptions import CaslieError, SettingsError

    try:
        importlib.import_module(name)
    except CaslieError:
        raise
    except Exception as error:
        raise SettingsError(
            f"the task module {name!r} cannot be imported ({type(error).__name__}: {error}); give a module that Python "
            "finds, for example by PYTHONPATH"
        ) from error


def run_process(arguments: Sequence[str]) -> int:
    """Runs a command in a process of its own; returns the exit code.

    Args:
        arguments: The command-line arguments.
    """
    # With Python's own threshold, searching for garbage takes a tenth of the time in which packages are imported.
    gc.set_threshold(_GARBAGE_THRESHOLD)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # escape characters that the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    return run_command(app, arguments)
