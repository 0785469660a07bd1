"""Reads instruction data record by record, so that a large file never has to fit into memory."""

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
"""Of files that hold instruction data."""
_USUAL_NAMES: Final = ("dataset.json", "dataset.jsonl")
_REASON_CHARACTERS: Final = 300  # names out of a record may be in it, of any length
_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def read_records(
    source: Path | str, *, splits: Collection[str] = (), tasks: Collection[str] = (), trust_paths: bool = False
) -> Iterator[Record | BadRecord]:
    """Yields the records of a dataset in their order; a bad one as :class:`BadRecord`, and goes on.

    Args:
        source: A JSON file that holds one array (``dataset.json``), a JSON Lines file (``.jsonl``), a folder that holds
            one of these, or a dataset's id on the hub (``NingLab/MMECInstruct``).
        splits: Only these; all where it is empty.
        tasks: Only these, by name or the paper's abbreviation; all where it is empty. A record of no known task is
            a bad one whatever is asked for.
        trust_paths: Whether image paths may lead out of the file's folder. Only for data of your own: downloaded data
            could name any picture of this machine.

    Raises:
        DataError: If the source cannot be read at all, or stops being JSON.
        MissingExtraError: If the extra ``data`` is not installed.
        UnknownTaskError: If there is no such task.
    """
    names = frozenset(get_task(task).name for task in tasks)
    file = _find_file(source)
    if file is None:
        return _records(read_hub_values(str(source)), None, frozenset(splits), names, trust_paths=False)
    return _records(read_json_values(file), file.parent, frozenset(splits), names, trust_paths=trust_paths)


def _find_file(source: Path | str) -> Path | None:
    """Returns the file of a source; ``None`` for an id on the hub."""
    path = Path(source)
    if path.is_dir():
        return _file_in(path)
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise DataError(f"{path}: instruction data is a .json or .jsonl file, or a folder with one")
        return path
    is_id = isinstance(source, str) and _HUB_ID.fullmatch(source) and path.suffix.lower() not in SUFFIXES
    if (
        is_id and not path.parent.is_dir()
    ):  # in a folder that is here it is a slip of the pen, and no business of the hub
        return None
    raise DataError(f"{path}: there is no such file or folder")


def _file_in(folder: Path) -> Path:
    for name in _USUAL_NAMES:
        if (folder / name).is_file():
            return folder / name
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:5]) or "none"
        raise DataError(f"{folder}: holds no dataset.json, and not exactly one .json or .jsonl file: {names}")
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
                yield BadRecord(index=index, reason=str(error)[:_REASON_CHARACTERS])


def _wanted(raw: Any, splits: frozenset[str], tasks: frozenset[str]) -> bool:
    """Whether a record is asked for, judged before it is validated: records of others cost next to nothing."""
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
