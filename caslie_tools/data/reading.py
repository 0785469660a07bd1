"""Reads instruction data one record at a time, so that a large file need not fit into memory."""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from caslie_tools.data.hub import read_hub_values
from caslie_tools.data.json_files import JSON_LINES_SUFFIXES, UnreadableValue, read_json_values
from caslie_tools.data.records import BadRecord, Record, read_record
from caslie_tools.exceptions import DataError, InstanceError, UnknownTaskError
from caslie_tools.tasks import get_task

SUFFIXES: Final = JSON_LINES_SUFFIXES | {".json"}
"""Suffixes of files with instruction data."""
_USUAL_NAMES: Final = ("dataset.json", "dataset.jsonl")
_MAX_REASON_CHARACTERS: Final = 300
"""A reason may quote names from the record, which can have any length."""
_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def read_records(
    source: Path | str, *, splits: Collection[str] = (), tasks: Collection[str] = (), trust_paths: bool = False
) -> Iterator[Record | BadRecord]:
    """Yields the records of a dataset, in order. A record that is not valid is yielded as :class:`BadRecord`.

    Args:
        source: A JSON file with one array (``dataset.json``), a JSON Lines file (``.jsonl``), a folder with one of
            these, or a dataset's id on the hub (``NingLab/MMECInstruct``).
        splits: Read only these splits. Empty: all.
        tasks: Read only these tasks, by name or abbreviation. Empty: all. A record with an unknown task is always
            yielded, as a bad record.
        trust_paths: Whether image paths may lead out of the file's folder. Use it only for your own data: downloaded
            data could name any picture on this machine.

    Raises:
        DataError: If the source cannot be read at all, or stops being JSON.
        MissingExtraError: If the extra ``data`` is not installed.
        UnknownTaskError: If a task does not exist.
    """
    names = frozenset(get_task(task).name for task in tasks)
    file = _find_file(source)
    if file is None:
        return _records(read_hub_values(str(source)), None, frozenset(splits), names, trust_paths=False)
    return _records(read_json_values(file), file.parent, frozenset(splits), names, trust_paths=trust_paths)


def _find_file(source: Path | str) -> Path | None:
    """Returns the file of a source, or ``None`` for an id on the hub."""
    path = Path(source)
    if path.is_dir():
        return _file_in(path)
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise DataError(f"{path}: instruction data is a .json or .jsonl file, or a folder with one")
        return path
    is_id = isinstance(source, str) and _HUB_ID.fullmatch(source) and path.suffix.lower() not in SUFFIXES
    # If the parent folder exists, the source is more likely a mistyped path than an id. It must not reach the network.
    if is_id and not path.parent.is_dir():
        return None
    raise DataError(f"{path}: there is no such file or folder")


def _file_in(folder: Path) -> Path:
    for name in _USUAL_NAMES:
        if (folder / name).is_file():
            return folder / name
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:5]) or "none"
        raise DataError(
            f"{folder}: has no dataset.json, and its number of .json and .jsonl files is not one: {names}; pass a file"
        )
    return found[0]


def _records(
    values: Iterator[Any], base: Path | None, splits: frozenset[str], tasks: frozenset[str], *, trust_paths: bool
) -> Iterator[Record | BadRecord]:
    for index, raw in enumerate(values):
        if isinstance(raw, UnreadableValue):
            yield BadRecord(index=index, reason=raw.reason)
        elif _wanted(raw, splits, tasks):
            try:
                yield read_record(index, raw, base=base, trust_paths=trust_paths)
            except InstanceError as error:
                yield BadRecord(index=index, reason=str(error)[:_MAX_REASON_CHARACTERS])


def _wanted(raw: Any, splits: frozenset[str], tasks: frozenset[str]) -> bool:
    """Whether a record passes the filters. This check comes before validation, so that other records cost little."""
    if not isinstance(raw, Mapping):
        return True
    split, task = raw.get("split"), raw.get("task")
    if splits and (split is None or (isinstance(split, str) and split not in splits)):
        return False
    if not tasks or not isinstance(task, str):
        return True
    try:
        return get_task(task).name in tasks
    except UnknownTaskError:
        return True
