"""Writes instruction data in MMECInstruct's form: all fields are strings, and lists are JSON text."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from caslie_tools.data.atomic_write import atomic_write
from caslie_tools.data.json_files import JSON_LINES_SUFFIXES
from caslie_tools.data.records import Record, image_location
from caslie_tools.exceptions import DataError


def write_records(records: Iterable[Record], path: Path) -> int:
    """Writes records to a file. The file is created or replaced after the last record, so it is never incomplete.

    Image paths are written relative to the file's folder.

    Args:
        records: The records, in the order in which they are written.
        path: A ``.json`` file, for one array, or a ``.jsonl`` file.

    Returns:
        The number of records.

    Raises:
        DataError: If the file has another suffix or cannot be written.
    """
    lines = path.suffix.lower() in JSON_LINES_SUFFIXES
    if not lines and path.suffix.lower() != ".json":
        raise DataError(f"{path}: instruction data is written to a .json or .jsonl file; change the suffix")
    first, between, last = ("", "\n", "\n") if lines else ("[\n", ",\n", "\n]\n")
    written = 0
    try:
        with atomic_write(path) as file:
            for record in records:
                text = (between if written else first) + _json(record_fields(record, path.parent))
                file.write(text.encode("utf-8"))
                written += 1
            file.write((last if written else "" if lines else "[]\n").encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error
    return written


def record_fields(record: Record, base: Path) -> dict[str, str]:
    """Returns a record's fields in MMECInstruct's form, and those of the optional fields that the record has.

    An instruction or options that the record lacks stay missing.

    Args:
        record: The record.
        base: Folder that image paths are to be relative to.
    """
    instance = record.instance
    products = [image.product for image in instance.images] or record.products
    fields = {
        "instruction": "" if "instruction" in instance.filled_in else instance.instruction,
        "input": _json(instance.input),
        "options": _json(() if "options" in instance.filled_in else instance.options),
        "output": record.output,
        "task": record.task,
        "split": record.split,
        "images": _json([image_location(image.ref, base) for image in instance.images]),
        "caption_info": _json(record.captions or ()),
    }
    if any(products):
        fields["products"] = _json(products)
    if record.kept is not None:
        fields["votes"] = _json(record.kept)
    if record.users:
        fields["users"] = _json(record.users)
    if record.time is not None:
        fields["time"] = record.time.isoformat()
    return ({"id": record.id} if record.id else {}) | fields


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
