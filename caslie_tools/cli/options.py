"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from caslie_tools.cli.progress import ProgressDisplay
from caslie_tools.cli.session import image_from_here


def split_lists(values: list[str] | None) -> list[str] | None:
    """Splits the values of a repeatable option whose values are lists separated by commas. Use it as a callback."""
    return None if values is None else [name.strip() for value in values for name in value.split(",") if name.strip()]


def _folder(value: str) -> Path:
    if not value.strip():  # otherwise it would be the current folder
        raise typer.BadParameter("the name of the folder is empty")
    return Path(value)


Store = Annotated[
    Path | None,
    typer.Option(
        "--store",
        parser=_folder,
        metavar="FOLDER",
        help="Folder of the caption store. Default: CASLIE_STORE, or .caslie/store.",
    ),
]
ProfileName = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="Which models to use: the name of a profile, a .toml file, or module:function. Default: CASLIE_PROFILE, "
        "or embedded.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would change. Nothing is written.")]
ShowProgress = Annotated[
    ProgressDisplay,
    typer.Option(
        "--progress",
        help="Progress on standard error: auto (a bar in a terminal, else a line per tenth), lines (one per item), or "
        "none.",
    ),
]

Catalogue = Annotated[
    Path,
    typer.Argument(
        metavar="CATALOGUE",
        help="A .csv, .tsv, .txt or .jsonl file of products. It names images by path or http(s) URL.",
    ),
]
Where = Annotated[
    str | None, typer.Option("--where", help="Only products that match this filter, for example 'price<50'.")
]
Images = Annotated[
    list[str] | None,
    typer.Option(
        "--image",
        callback=lambda images: images and [image_from_here(image) for image in images],
        help="An image for the question: a path or an http(s) URL. Repeatable.",
    ),
]
Explain = Annotated[
    bool, typer.Option("--explain", help="Also show the images with their captions and votes, and the model calls.")
]
TextOnly = Annotated[bool, typer.Option("--text-only", help="Answer without images.")]

Dataset = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A .json or .jsonl file, a folder that contains one, or the id of a dataset on the Hugging Face Hub, for "
        "example NingLab/MMECInstruct.",
    ),
]
Splits = Annotated[
    list[str] | None,
    typer.Option(
        "--split", callback=split_lists, help="Only these splits (validation,test). Repeatable. Default: all."
    ),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--tasks",
        callback=split_lists,
        help="Only these tasks, by name or abbreviation (cc,mpc). Repeatable. Default: all.",
    ),
]
TrustPaths = Annotated[
    bool,
    typer.Option(
        "--trust-paths", help="Allow paths of images outside the folder of the data. Only for data that you trust."
    ),
]
