"""The commands. Each parses, calls the package, and shows or returns its JSON document; nothing else happens here.

What a command does not need is not imported: ``caslie --help`` answers at once.
"""

import importlib
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from caslie_tools._version import __version__
from caslie_tools.cli.console import ProgressDisplay, out, run, show_warnings, shown_progress
from caslie_tools.cli.data import data
from caslie_tools.cli.endpoints import endpoints
from caslie_tools.cli.evaluation import evaluation
from caslie_tools.cli.options import AsJson, ProfileName, ShowProgress, Store
from caslie_tools.cli.tune import tune

if TYPE_CHECKING:
    from caslie_tools.caslie import Caslie
    from caslie_tools.pipeline.response import Response

Document: TypeAlias = dict[str, Any]

app = typer.Typer(
    name="caslie",
    help="Product sight: captions product pictures for the question at hand, and uses them only where they help.",
    epilog="Exit codes: 0 done, 1 failed, 2 what was passed cannot be used. With --json a failure is a document too, "
    'on standard output: {"error": {"type": ..., "message": ...}}.',
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(data)
app.add_typer(endpoints)
app.add_typer(evaluation)
app.add_typer(tune)

Where = Annotated[str | None, typer.Option("--where", help="Filter on products, such as 'price<50'.")]
Images = Annotated[list[str] | None, typer.Option("--image", help="Picture: a path or an http(s) URL; repeatable.")]


@app.command()
def demo(
    as_json: AsJson = False,
    progress: ShowProgress = ProgressDisplay.AUTO,
    store: Annotated[
        Path | None, typer.Option("--store", help="Where to keep the sample store (default: .caslie/demo).")
    ] = None,
    profile: ProfileName = None,
) -> Document | None:
    """Index the sample catalogue (once) and answer three questions, showing every step."""
    from caslie_tools.cli.demo import run_demo

    return run_demo(store=store, profile=profile, as_json=as_json, progress=progress)


@app.command()
def index(
    catalogue: Annotated[Path, typer.Argument(help="CSV or JSON Lines; pictures by path or URL.")],
    store: Store = None,
    profile: ProfileName = None,
    progress: ShowProgress = ProgressDisplay.AUTO,
    as_json: AsJson = False,
) -> Document | None:
    """Index a catalogue. Interrupted, it goes on where it was; what is unchanged is skipped."""
    with _open(store, profile) as caslie, shown_progress(progress) as advance:
        report = caslie.index(catalogue, progress=advance)
    if as_json:
        return report.model_dump(mode="json")
    from caslie_tools.cli.render import show_report

    show_report(out, report)
    return None


@app.command()
def search(
    text: Annotated[str, typer.Argument(help="What to look for, in words.")] = "",
    image: Annotated[str | None, typer.Option("--image", help="Find what looks like this picture.")] = None,
    where: Where = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="How many products.")] = 4,
    store: Store = None,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> Document | None:
    """Find products by words, by a picture, or by both."""
    with _open(store, profile, create=False, check_models=False) as caslie:
        hits = caslie.search(text, image=image, where=where, count=count)
    if as_json:
        return {"products": [hit.model_dump(mode="json") for hit in hits]}
    from caslie_tools.cli.render import show_hits

    show_hits(out, hits)
    return None


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="The shopper's question.")],
    product: Annotated[list[str] | None, typer.Option("--product", help="Product id; repeatable.")] = None,
    image: Images = None,
    where: Where = None,
    text_only: Annotated[bool, typer.Option("--text-only", help="Answer without any picture.")] = False,
    store: Store = None,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> Document | None:
    """Answer a question about one product, several, or the catalogue."""
    with _open(store, profile, create=False) as caslie:
        response = caslie.ask(
            question, products=product or (), images=image or (), where=where, use_images=not text_only
        )
    return _shown(response, as_json=as_json)


@app.command()
def predict(
    task: Annotated[str, typer.Argument(help="Task name or abbreviation, such as category_classification or cc.")],
    instance: Annotated[Path, typer.Argument(metavar="INPUT.json", help="The instance in MMECInstruct's own form.")],
    image: Images = None,
    text_only: Annotated[bool, typer.Option("--text-only", help="Answer without any picture.")] = False,
    store: Store = None,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> Document | None:
    """Solve one instance of a task."""
    record = _read_instance(instance)
    with _open(store, profile) as caslie:
        response = caslie.predict(task, record, images=image or (), use_images=not text_only)
    return _shown(response, as_json=as_json)


@app.command()
def captions(
    product: Annotated[str | None, typer.Option("--product", help="Only this product's.")] = None,
    store: Store = None,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> Document | None:
    """List the captions the store knows, with their provenance."""
    with _open(store, profile, create=False, check_models=False) as caslie:
        known = caslie.captions(product)
    if as_json:
        return {"captions": known}
    from caslie_tools.cli.render import show_captions

    show_captions(out, known)
    return None


@app.command()
def info(store: Store = None, profile: ProfileName = None, as_json: AsJson = False) -> Document | None:
    """Show profile, models, the store's size and versions; and what is wrong with them."""
    from caslie_tools.cli.info import describe

    facts = describe(store, profile)
    if as_json:
        return facts
    from caslie_tools.cli.render import show_facts

    show_facts(out, facts)
    return None


def _version(wanted: bool) -> None:
    if wanted:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show also where an error came from.")] = False,
    task_module: Annotated[
        list[str] | None,
        typer.Option(
            "--task-module",
            envvar="CASLIE_TASK_MODULES",
            help="Import a Python module that registers tasks; repeatable.",
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command and exits.

    Args:
        arguments: By default the process's own.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows few characters gets an answer all the same
            stream.reconfigure(errors="backslashreplace")
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = given[: given.index("--")] if "--" in given else given
    sys.exit(
        run(
            lambda: app(given or ["--help"], prog_name="caslie", standalone_mode=False),
            as_json="--json" in options,
            show_traceback="--traceback" in options,
        )
    )


def _open(store: Path | None, profile: str | None, *, create: bool = True, check_models: bool = True) -> "Caslie":
    from caslie_tools.caslie import Caslie
    from caslie_tools.settings import Settings

    settings = Settings.load(store=store, profile=profile, check_models=None if check_models else False)
    return Caslie.open(settings=settings, create=create)


def _read_instance(path: Path) -> Any:
    from caslie_tools.exceptions import InstanceError

    try:
        record = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InstanceError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InstanceError(f"{path}: not JSON: {error}") from error
    if isinstance(record, dict) and isinstance(record.get("images"), list):
        # Paths in a file are meant from where the file is.
        record["images"] = [_beside(path, image) for image in record["images"]]
    return record


def _beside(path: Path, image: object) -> object:
    if not isinstance(image, str) or image.lower().startswith(("http:", "https:", "data:")):
        return image
    return str(path.parent / image)


def _shown(response: "Response", *, as_json: bool) -> Document | None:
    if as_json:
        return response.to_json()
    from caslie_tools.cli.render import show_reply

    show_reply(out, response)
    show_warnings(response.warnings)
    return None
