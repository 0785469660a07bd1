"""``caslie eval compare``: compares two runs."""

from pathlib import Path
from typing import Annotated

import typer

from caslie_tools.cli.console import plain, show_table
from caslie_tools.cli.options import AsJson
from caslie_tools.cli.runner import Document


def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help="Folder of a run.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="Folder of another run on the same data.")],
    as_json: AsJson = False,
) -> Document | None:
    """Compare two runs on the instances that both of them contain."""
    from caslie_tools.evaluation.compare import compare_runs

    comparison = compare_runs(before, after)
    if as_json:
        return comparison.model_dump(mode="json")
    show_table(map(plain, comparison.columns), (map(plain, row) for row in comparison.rows))
    return None
