"""``caslie index``: stores, embeds and captions the products of a catalogue."""

from typing import Annotated

import typer

from caslie_tools.cli.opening import open_caslie
from caslie_tools.cli.options import AsJson, Catalogue, DryRun, ProfileName, ShowProgress, Store, TrustPaths
from caslie_tools.cli.progress import ProgressDisplay, show_progress
from caslie_tools.cli.reading import Columns, DecimalMark, Delimiter, Encoding, reading_options
from caslie_tools.cli.render import show_index_preview, show_index_report
from caslie_tools.cli.runner import Document, report_failures


def index(
    catalogue: Catalogue,
    store: Store = None,
    profile: ProfileName = None,
    columns: Columns = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    decimal: DecimalMark = None,
    trust_paths: TrustPaths = False,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Remove products that the catalogue no longer has. Does nothing if a row is unreadable.",
        ),
    ] = False,
    dry_run: DryRun = False,
    progress: ShowProgress = ProgressDisplay.AUTO,
    as_json: AsJson = False,
) -> tuple[Document | None, int]:
    """Index a catalogue: store its products, and caption their images.

    Run the command again to resume an interrupted run or to update the store. Unchanged products are skipped. The exit
    code is 1 if a row, a value or an image failed; everything else is indexed.
    """
    reading = reading_options(columns, encoding, delimiter, decimal, trust_paths=trust_paths)
    if dry_run:
        with open_caslie(store, profile, check_models=False) as caslie:
            preview = caslie.preview_index(catalogue, reading=reading, prune=prune)
        if not as_json:
            show_index_preview(preview)
        return preview.model_dump(mode="json") if as_json else None, report_failures(len(preview.failed))
    with open_caslie(store, profile) as caslie, show_progress(progress) as advance:
        report = caslie.index(catalogue, reading=reading, prune=prune, progress=advance)
    if not as_json:
        show_index_report(report)
    return report.model_dump(mode="json") if as_json else None, report_failures(len(report.failed))
