"""``caslie data convert``: writes a dataset in the format of MMECInstruct."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from caslie_tools.cli.console import out, plain, show_warnings
from caslie_tools.cli.options import AsJson, Dataset, Splits, Tasks, TrustPaths
from caslie_tools.cli.render import show_skipped_records
from caslie_tools.cli.runner import Document

if TYPE_CHECKING:
    from caslie_tools.data.records import BadRecord, Record


def convert(
    source: Dataset,
    target: Annotated[
        Path,
        typer.Argument(
            metavar="TARGET",
            help="The .json or .jsonl file to write. An existing file is replaced when all records are written.",
        ),
    ],
    split: Splits = None,
    tasks: Tasks = None,
    strict: Annotated[bool, typer.Option("--strict", help="Write nothing if a record is invalid.")] = False,
    trust_paths: TrustPaths = False,
    as_json: AsJson = False,
) -> Document | None:
    """Write a dataset, or a part of it, in the format of MMECInstruct.

    Invalid records are skipped and listed.
    """
    from caslie_tools.data.reading import read_records
    from caslie_tools.data.writing import write_records

    bad: list[BadRecord] = []
    outside: list[int] = []
    found = read_records(source, splits=split or (), tasks=tasks or (), trust_paths=trust_paths)
    valid = _valid_records(found, source, bad, strict=strict)
    written = write_records(_with_paths_checked(valid, target.parent, outside), target)
    if as_json:
        return {"written": written, "bad": [record.model_dump(mode="json") for record in bad], "outside": outside}
    out.print(f"{written} records written to {plain(target)}, {len(bad)} skipped")
    show_skipped_records(bad)
    if outside:
        show_warnings([f"{len(outside)} records have images outside {target.parent}; read {target} with --trust-paths"])
    return None


def _valid_records(
    records: "Iterable[Record | BadRecord]", source: str, bad: "list[BadRecord]", *, strict: bool
) -> "Iterator[Record]":
    """Yields the valid records, and appends the others to ``bad``."""
    from caslie_tools.data.records import Record
    from caslie_tools.exceptions import DataError

    empty = True
    for record in records:
        if isinstance(record, Record):
            empty = False
            yield record
        elif strict:
            raise DataError(f"{source}: record {record.index}: {record.reason}; nothing was written")
        else:
            bad.append(record)
    if empty:
        raise DataError(
            f"{source}: there is no record to write: {len(bad)} records are invalid, and no other record matches "
            "--split and --tasks"
        )


def _with_paths_checked(records: "Iterable[Record]", folder: Path, outside: list[int]) -> "Iterator[Record]":
    """Yields the records, and appends the index of each record with an image outside a folder to ``outside``."""
    from caslie_tools.data.records import is_inside

    for record in records:
        paths = [image.ref.path for image in record.instance.images if image.ref is not None]
        if any(path is not None and not is_inside(path, folder) for path in paths):
            outside.append(record.index)
        yield record
