"""``caslie data fetch-images``: downloads the images of a dataset."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from caslie_tools.cli.console import first_lines, out, plain
from caslie_tools.cli.options import AsJson, Dataset, ShowProgress, Splits, Tasks
from caslie_tools.cli.progress import ProgressDisplay, show_progress
from caslie_tools.cli.runner import Document

if TYPE_CHECKING:
    from caslie_tools.data.image_cache import FetchReport


def fetch_images(
    source: Dataset,
    to: Annotated[Path, typer.Option("--to", help="Folder for the images. Images that it contains are kept.")],
    split: Splits = None,
    tasks: Tasks = None,
    parallel: Annotated[
        int, typer.Option("--parallel", min=1, max=64, help="Maximum number of concurrent downloads.")
    ] = 8,
    retry_dead: Annotated[
        bool, typer.Option("--retry-dead", help="Also try the URLs that failed permanently in an earlier run.")
    ] = False,
    progress: ShowProgress = ProgressDisplay.AUTO,
    as_json: AsJson = False,
) -> Document | None:
    """Download the image of every URL in a dataset.

    Run the command again to resume an interrupted run. Each URL is downloaded once. URLs that failed permanently are
    not tried again.
    """
    from caslie_tools._concurrency import run_sync
    from caslie_tools.data.image_cache import fetch_images as fetch_urls
    from caslie_tools.data.image_cache import image_urls
    from caslie_tools.data.reading import read_records
    from caslie_tools.images.loading import ImageLoader
    from caslie_tools.settings import Settings

    loader = ImageLoader(Settings.load().images)
    # This command opens no local file, so paths outside the folder are harmless and must not invalidate a record.
    urls = image_urls(read_records(source, splits=split or (), tasks=tasks or (), trust_paths=True))
    with show_progress(progress) as advance:
        report = run_sync(
            fetch_urls(urls, to, loader=loader, parallel=parallel, retry_dead=retry_dead, progress=advance)
        )
    if as_json:
        return report.model_dump(mode="json")
    _show(report)
    return None


def _show(report: "FetchReport") -> None:
    out.print(
        f"{report.urls} different URLs: {report.fetched} downloaded, {report.known} finished in earlier runs, "
        f"{len(report.failed)} failed"
    )
    failures = (
        f"{plain(failure.error)}{' (the next run tries again)' if failure.passing else ''}" for failure in report.failed
    )
    for line in first_lines(failures):
        out.print(f"  {line}", soft_wrap=True)
