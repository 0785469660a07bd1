"""``caslie data``: instruction data in MMECInstruct's form. Building them has a module of its own."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caslie_tools.cli.console import FAILED, OK, ProgressDisplay, out, plain, show_warnings, shown_progress
from caslie_tools.cli.data_build import build
from caslie_tools.cli.options import AsJson, ShowProgress

if TYPE_CHECKING:
    from caslie_tools.data.checking import DataReport
    from caslie_tools.data.image_cache import FetchReport
    from caslie_tools.data.records import BadRecord, Record
    from caslie_tools.data.statistics import TaskStatistics

_SHOWN = 20

data = typer.Typer(
    name="data",
    help="Instruction data: look at them, check them, convert them, fetch their images, or build them from your own "
    "catalogue and logs.",
)
data.command()(build)

Source = Annotated[
    str, typer.Argument(help="dataset.json, .jsonl, a folder with one, or an id on the hub: NingLab/MMECInstruct.")
]
Splits = Annotated[list[str] | None, typer.Option("--split", help="Only this split; repeatable.")]
Tasks = Annotated[list[str] | None, typer.Option("--task", help="Only this task, by name or as cc; repeatable.")]
TrustPaths = Annotated[
    bool, typer.Option("--trust-paths", help="Let the data name images outside of its folder: for your own data.")
]


@data.command()
def stats(
    source: Source,
    split: Splits = None,
    task: Tasks = None,
    trust_paths: TrustPaths = False,
    as_json: AsJson = False,
) -> dict[str, Any] | None:
    """Count what a dataset holds, per task and split."""
    from caslie_tools.data.statistics import data_statistics

    counted = data_statistics(source, splits=split or (), tasks=task or (), trust_paths=trust_paths)
    if as_json:
        return counted.model_dump(mode="json")
    _show_tasks(counted.tasks)
    _warn_of(counted.bad)
    return None


@data.command()
def check(
    source: Source,
    split: Annotated[
        list[str] | None, typer.Option("--split", help="A split that must not be empty; repeatable (default: test).")
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option("--task", help="The task expected; repeatable. Without it, any task is.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first thing that is wrong.")] = False,
    trust_paths: TrustPaths = False,
    as_json: AsJson = False,
) -> tuple[dict[str, Any] | None, int]:
    """List what is wrong with a dataset, by the record's index, from 0. The exit code is 1 if anything is."""
    from caslie_tools.data.checking import check_data

    report = check_data(source, splits=split or ("test",), tasks=task or (), strict=strict, trust_paths=trust_paths)
    code = OK if report.passed else FAILED
    if as_json:
        return {"passed": report.passed} | report.model_dump(mode="json"), code
    _show_report(report)
    return None, code


@data.command()
def convert(
    source: Source,
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="A .json or .jsonl file; replaced at the end.")],
    split: Splits = None,
    task: Tasks = None,
    strict: Annotated[bool, typer.Option("--strict", help="Write nothing if a record is bad.")] = False,
    trust_paths: TrustPaths = False,
    as_json: AsJson = False,
) -> dict[str, Any] | None:
    """Write a dataset, or a part of it, in MMECInstruct's own form. Bad records are left out and listed."""
    from caslie_tools.data.reading import read_records
    from caslie_tools.data.writing import write_records

    bad: list[BadRecord] = []
    outside: list[int] = []
    found = read_records(source, splits=split or (), tasks=task or (), trust_paths=trust_paths)
    written = write_records(_noted(_good(found, source, bad, strict=strict), target.parent, outside), target)
    if as_json:
        return {"written": written, "bad": [record.model_dump(mode="json") for record in bad], "outside": outside}
    out.print(f"{written} records written to {plain(target)}, {len(bad)} left out")
    _warn_of(bad)
    if outside:
        show_warnings([f"images of {len(outside)} records lie outside of {target.parent}: read it with --trust-paths"])
    return None


@data.command()
def fetch_images(
    source: Source,
    to: Annotated[Path, typer.Option("--to", help="Folder for the images; it may hold some already.")],
    split: Splits = None,
    task: Tasks = None,
    parallel: Annotated[int, typer.Option("--parallel", min=1, max=64, help="Most fetches at once.")] = 8,
    retry_dead: Annotated[bool, typer.Option("--retry-dead", help="Try dead URLs again, too.")] = False,
    progress: ShowProgress = ProgressDisplay.AUTO,
    as_json: AsJson = False,
) -> dict[str, Any] | None:
    """Fetch every image URL once. Interrupted, it goes on where it was; dead URLs are remembered."""
    from caslie_tools._concurrency import run_sync
    from caslie_tools.data.image_cache import fetch_images, image_urls
    from caslie_tools.data.reading import read_records
    from caslie_tools.images.loading import ImageLoader
    from caslie_tools.settings import Settings

    loader = ImageLoader(Settings.load().images)
    # Paths are not read here, so those of others do no harm and cost no record.
    urls = image_urls(read_records(source, splits=split or (), tasks=task or (), trust_paths=True))
    with shown_progress(progress) as advance:
        report = run_sync(
            fetch_images(urls, to, loader=loader, parallel=parallel, retry_dead=retry_dead, progress=advance)
        )
    if as_json:
        return report.model_dump(mode="json")
    _show_fetched(report)
    return None


def _good(
    records: "Iterable[Record | BadRecord]", source: str, bad: "list[BadRecord]", *, strict: bool
) -> "Iterator[Record]":
    """Yields the records that can be used, and keeps the others aside."""
    from caslie_tools.data.records import Record
    from caslie_tools.exceptions import DataError

    none = True
    for record in records:
        if isinstance(record, Record):
            none = False
            yield record
        elif strict:
            raise DataError(f"{source}: record {record.index}: {record.reason}; nothing was written")
        else:
            bad.append(record)
    if none:
        raise DataError(f"{source}: there is no record to write: {len(bad)} bad ones, and no other is asked for")


def _noted(records: "Iterable[Record]", folder: Path, outside: list[int]) -> "Iterator[Record]":
    """Passes records on, and notes those that name images outside of a folder."""
    from caslie_tools.data.records import is_inside

    for record in records:
        paths = [image.ref.path for image in record.instance.images if image.ref is not None]
        if any(path is not None and not is_inside(path, folder) for path in paths):
            outside.append(record.index)
        yield record


def _show_tasks(tasks: "Sequence[TaskStatistics]") -> None:
    from rich.table import Table

    table = Table("task", "split", "records", "options", "images", "missing", "captions", "characters", "answers")
    for part in tasks:
        lengths = part.characters
        table.add_row(
            plain(part.task),
            plain(part.split),
            str(part.records),
            _range(part.options),
            _range(part.images),
            str(part.missing_images),
            str(part.captions),
            f"{lengths.median} (95%: {lengths.p95}, most: {lengths.most})",
            plain(", ".join(f"{answer} {count}" for answer, count in part.answers.items())),
        )
    out.print(table)


def _range(counts: dict[int, int]) -> str:
    least, most = min(counts), max(counts)
    return str(least) if least == most else f"{least} to {most}"


def _show_report(report: "DataReport") -> None:
    _show_tasks(report.tasks)
    out.print(f"{report.records} records, {report.usable} of them usable; {len(report.findings)} findings")
    for finding in report.findings[:_SHOWN]:
        where = "" if finding.index is None else f"record {finding.index}, "
        out.print(f"  {where}[yellow]{finding.kind}[/yellow]: {plain(finding.reason)}", soft_wrap=True)
    if len(report.findings) > _SHOWN:
        out.print(f"  and {len(report.findings) - _SHOWN} more; --json lists all")


def _show_fetched(report: "FetchReport") -> None:
    out.print(
        f"{report.urls} different URLs: {report.fetched} fetched, {report.known} known before, "
        f"{len(report.failed)} failed"
    )
    for failure in report.failed[:_SHOWN]:
        again = " (tried again by the next run)" if failure.passing else ""
        out.print(f"  {plain(failure.error)}{again}", soft_wrap=True)
    if len(report.failed) > _SHOWN:
        out.print(f"  and {len(report.failed) - _SHOWN} more; --json lists all")


def _warn_of(bad: "Sequence[BadRecord]") -> None:
    show_warnings(f"record {record.index} is left out: {record.reason}" for record in bad[:_SHOWN])
    if len(bad) > _SHOWN:
        show_warnings([f"{len(bad) - _SHOWN} more records are left out; --json lists all"])
