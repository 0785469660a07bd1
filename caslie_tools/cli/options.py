"""The options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from caslie_tools.cli.console import ProgressDisplay

Store = Annotated[Path | None, typer.Option("--store", help="Folder of the caption store (default: .caslie/store).")]
ProfileName = Annotated[
    str | None, typer.Option("--profile", help="Profile: a name, a .toml file, or module:function (default: embedded).")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, and nothing else there.")]
ShowProgress = Annotated[
    ProgressDisplay,
    typer.Option("--progress", help="On standard error: a bar where somebody watches, or a line per finished item."),
]
