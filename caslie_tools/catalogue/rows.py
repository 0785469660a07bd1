"""Reads a table (CSV or JSON Lines) row by row. A line that cannot be parsed is reported with its line number."""

import csv
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from caslie_tools.exceptions import InputError

Row: TypeAlias = dict[str, Any] | str
"""The values of a row by column, or the reason why the line cannot be parsed."""

_MAX_FIELD_CHARACTERS = 1_000_000


def read_rows(
    path: Path, *, kind: str, required: Collection[str], error: type[InputError] = InputError
) -> Iterator[tuple[int, Row]]:
    """Yields the rows of a file with their line numbers.

    Args:
        path: A ``.csv``, ``.jsonl`` or ``.ndjson`` file in UTF-8. Bytes that are not UTF-8 are kept as surrogates, so
            that they invalidate one row and not the whole file.
        kind: What the file contains, for messages, for example "a catalogue".
        required: Columns that the first line of a CSV file must contain.
        error: The type of the error for a file that cannot be read.

    Raises:
        InputError: If the file cannot be read. The type is ``error``.
    """
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".jsonl", ".ndjson"):
        raise error(f"{path.name}: {kind} must be a .csv, .jsonl or .ndjson file")
    try:
        yield from _read_csv(path, required, error) if suffix == ".csv" else _read_jsonl(path)
    except OSError as refused:
        raise error(f"{path}: cannot be read: {refused.strerror or refused}") from refused


def utf8_text(value: object) -> str:
    """Returns a value as text, without NUL characters.

    Raises:
        ValueError: If the value was read from bytes that are not UTF-8.
    """
    text = "" if value is None else str(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("not UTF-8 text") from None
    return text.replace("\x00", "")


def _read_csv(path: Path, required: Collection[str], error: type[InputError]) -> Iterator[tuple[int, Row]]:
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file, strict=True)  # otherwise an unclosed quotation mark silently consumes rows
        try:
            header = [name.strip() for name in next(rows, [])]
        except csv.Error as reason:
            raise error(f"{path.name}: the first line is not CSV: {reason}") from reason
        if missing := [name for name in required if name not in header]:
            raise error(
                f"{path.name}: the first line must name the columns; "
                f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
            )
        if twice := [name for index, name in enumerate(header) if name and name in header[:index]]:
            raise error(f"{path.name}: the first line contains the column {twice[0]!a} twice; rename one of them")
        while True:
            before = rows.line_num
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as reason:
                yield rows.line_num, f"not a CSV row: {reason}{_spanning(before, rows.line_num)}"
                continue
            if not row:
                continue
            if len(row) != len(header):
                cells = f"{len(row)} cells, but the header has {len(header)}"
                yield rows.line_num, cells + _spanning(before, rows.line_num)
                continue
            yield rows.line_num, dict(zip(header, row, strict=True))


def _spanning(before: int, last: int) -> str:
    return f" (it starts on line {before + 1}; is a quotation mark missing?)" if last > before + 1 else ""


def _read_jsonl(path: Path) -> Iterator[tuple[int, Row]]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except (ValueError, RecursionError) as error:
                yield line, f"not JSON: {error}"
                continue
            yield line, row if isinstance(row, dict) else "not a JSON object"
