"""The commands. Each parses, calls the package, and shows; nothing else happens here.

What a command does not need is not imported: ``caslie --help`` answers at once.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caslie_tools._version import __version__
from caslie_tools.cli.console import err, out, plain, print_json, progress_bar, reported_errors

if TYPE_CHECKING:
    from caslie_tools.caslie import Caslie

app = typer.Typer(
    name="caslie",
    help="Product sight: captions product pictures for the question at hand, and uses them only where they help.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

Store = Annotated[Path | None, typer.Option("--store", help="Folder of the caption store [default: .caslie/store].")]
ProfileName = Annotated[
    str | None, typer.Option("--profile", help="Profile: a name, or module:function [default: embedded].")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, and nothing else there.")]
Where = Annotated[str | None, typer.Option("--where", help="Filter on products, such as 'price<50'.")]
Images = Annotated[list[str] | None, typer.Option("--image", help="Picture: a path or an http(s) URL; repeatable.")]


@app.command()
def demo(
    as_json: AsJson = False,
    store: Annotated[Path | None, typer.Option("--store", help="Where to keep the sample store.")] = None,
    profile: ProfileName = None,
) -> None:
    """Index the sample catalogue (once) and answer three questions, showing every step."""
    from caslie_tools.cli.demo import run_demo

    with reported_errors():
        run_demo(store=store, profile=profile, as_json=as_json)


@app.command()
def index(
    catalogue: Annotated[Path, typer.Argument(help="CSV or JSON Lines; pictures by path or URL.")],
    store: Store = None,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Index a catalogue. Interrupted, it goes on where it was; what is unchanged is skipped."""
    with reported_errors(), _open(store, profile) as caslie, progress_bar(quiet=as_json) as progress:
        report = caslie.index(catalogue, progress=progress)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        from caslie_tools.cli.render import show_report

        show_report(out, report)


@app.command()
def search(
    text: Annotated[str, typer.Argument(help="What to look for, in words.")] = "",
    image: Annotated[str | None, typer.Option("--image", help="Find what looks like this picture.")] = None,
    where: Where = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="How many products.")] = 4,
    store: Store = None,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Find products by words, by a picture, or by both."""
    with reported_errors(), _open(store, profile, create=False) as caslie:
        hits = caslie.search(text, image=image, where=where, count=count)
    if as_json:
        print_json({"products": [hit.model_dump(mode="json") for hit in hits]})
    else:
        from caslie_tools.cli.render import show_hits

        show_hits(out, hits)


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
) -> None:
    """Answer a question about one product, several, or the catalogue."""
    with reported_errors(), _open(store, profile, create=False) as caslie:
        reply = caslie.ask(question, products=product or (), images=image or (), where=where, use_images=not text_only)
    _show(reply, as_json=as_json)


@app.command()
def predict(
    task: Annotated[
        str, typer.Argument(help="Task name, or the paper's abbreviation (ap, cc, prp, psi, mpc, sa, sr).")
    ],
    instance: Annotated[Path, typer.Argument(metavar="INPUT.json", help="The instance in MMECInstruct's own form.")],
    image: Images = None,
    text_only: Annotated[bool, typer.Option("--text-only", help="Answer without any picture.")] = False,
    store: Store = None,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Solve one instance of one of the seven tasks."""
    with reported_errors():
        record = _read_instance(instance)
        with _open(store, profile) as caslie:
            reply = caslie.predict(task, record, images=image or (), use_images=not text_only)
    _show(reply, as_json=as_json)


@app.command()
def captions(
    product: Annotated[str | None, typer.Option("--product", help="Only this product's.")] = None,
    store: Store = None,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """List the captions the store knows, with their provenance."""
    with reported_errors(), _open(store, profile, create=False) as caslie:
        known = caslie.captions(product)
    if as_json:
        print_json({"captions": known})
    else:
        from caslie_tools.cli.render import show_captions

        show_captions(out, known)


@app.command()
def info(store: Store = None, profile: ProfileName = None, as_json: AsJson = False) -> None:
    """Show profile, models, the store's size and versions."""
    from caslie_tools.cli.info import describe

    with reported_errors():
        facts = describe(store, profile)
    if as_json:
        print_json(facts)
    else:
        from caslie_tools.cli.render import show_facts

        show_facts(out, facts)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Runs the command."""
    app()


def _open(store: Path | None, profile: str | None, *, create: bool = True) -> "Caslie":
    from caslie_tools.caslie import Caslie
    from caslie_tools.settings import Settings

    return Caslie.open(settings=Settings.load(store=store, profile=profile), create=create)


def _read_instance(path: Path) -> Any:
    from caslie_tools.exceptions import InstanceError

    try:
        record = json.loads(path.read_text(encoding="utf-8"))
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


def _show(reply: Any, *, as_json: bool) -> None:
    if as_json:
        print_json(reply.to_json())
        return
    from caslie_tools.cli.render import show_reply

    show_reply(out, reply)
    for warning in reply.warnings:
        err.print(f"[yellow]warning:[/yellow] {plain(warning)}")
