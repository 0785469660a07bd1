"""Reads a table (CSV or JSON Lines) row by row. A line that cannot be parsed is reported with its line number.

The encoding and the separator of a CSV file are detected, because every spreadsheet program writes its own.
"""

import codecs
import csv
import json
import re
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO, TypeAlias

from caslie_tools.catalogue.text_encoding import TextEncoding, detect_encoding
from caslie_tools.domain import FrozenModel
from caslie_tools.exceptions import InputError

Row: TypeAlias = dict[str, Any] | str
"""The values of a row by column, or the reason why the line cannot be parsed."""

DELIMITERS: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
"""The separators that are detected, with their names."""

_JSON_LINES: Final = (".jsonl", ".ndjson")
_TABLES: Final = (".csv", ".tsv", ".txt")
_MAX_FIELD_CHARACTERS: Final = 1_000_000
_SAMPLE_CHARACTERS: Final = 1 << 16
_SAMPLE_ROWS: Final = 50
# Excel reads and writes such a first line to name the separator.
_SEPARATOR_LINE: Final = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)


class TableFormat(FrozenModel):
    """How a file is written."""

    encoding: str
    """A name that Python knows."""
    encoding_guessed: bool = False
    """Whether the bytes of the file allow other encodings, too."""
    delimiter: str = ""
    """The separator of the columns. Empty for JSON Lines."""


class _Table(NamedTuple):
    file: TextIO
    first_line: int
    """How many lines come before the header."""


def detect_format(
    path: Path,
    *,
    kind: str,
    known: Collection[str] = (),
    encoding: str | None = None,
    delimiter: str | None = None,
    error: type[InputError] = InputError,
) -> TableFormat:
    """Detects how a file is written.

    Args:
        path: A ``.csv``, ``.tsv``, ``.txt``, ``.jsonl`` or ``.ndjson`` file.
        kind: What the file contains, for messages, for example "a catalogue".
        known: Names of columns that the file is likely to have, in lower case.
        encoding: The encoding, if it is known.
        delimiter: The separator of a CSV file, if it is known.
        error: The type of the error for a file that cannot be read.

    Raises:
        InputError: If the file cannot be read, or if the encoding is unknown. The type is ``error``.
    """
    suffix = path.suffix.lower()
    if suffix not in _JSON_LINES + _TABLES:
        raise error(f"{path.name}: {kind} must be a .csv, .tsv, .txt, .jsonl or .ndjson file")
    if delimiter is not None and len(delimiter) != 1:
        raise error(f"the separator {delimiter!a} is not one character")
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # a device has no end; a pipe is read only once
            raise error(f"{path.name}: not a regular file; save {kind} as a file")
        found = _named_encoding(encoding, error) if encoding else detect_encoding(path)
        written = TableFormat(encoding=found.name, encoding_guessed=found.guessed)
        if suffix in _JSON_LINES:
            return written
        return written.model_copy(update={"delimiter": delimiter or _detect_delimiter(path, written, known)})
    except OSError as refused:
        raise error(f"{path}: cannot be read: {refused.strerror or refused}") from refused


def column_names(path: Path, written: TableFormat, *, error: type[InputError] = InputError) -> list[str]:
    """Returns the names of the columns of a file, as :func:`read_rows` uses them, in their order.

    Raises:
        InputError: If the file cannot be read. The type is ``error``.
    """
    try:
        if not written.delimiter:
            rows = (row for _, row in _read_jsonl(path, written) if isinstance(row, dict))
            return list(dict.fromkeys(name for row in rows for name in row))
        file, _ = _open_table(path, written)
        with file:
            return _header(path, _csv_reader(file, written), error)
    except OSError as refused:
        raise error(f"{path}: cannot be read: {refused.strerror or refused}") from refused


def read_rows(
    path: Path,
    *,
    kind: str,
    required: Collection[str] = (),
    error: type[InputError] = InputError,
    written: TableFormat | None = None,
) -> Iterator[tuple[int, Row]]:
    """Yields the rows of a file with their line numbers.

    A column whose name occurs a second time is named ``name (2)``, and so on. Blank lines and lines of empty cells are
    skipped.

    Args:
        path: A ``.csv``, ``.tsv``, ``.txt``, ``.jsonl`` or ``.ndjson`` file. Bytes that the encoding does not allow are
            kept as surrogates or as U+FFFD, so that they invalidate one value and not the whole file.
        kind: What the file contains, for messages, for example "a catalogue".
        required: Columns that the first line of a CSV file must contain exactly once.
        error: The type of the error for a file that cannot be read.
        written: How the file is written. By default it is detected.

    Raises:
        InputError: If the file cannot be read. The type is ``error``.
    """
    written = written or detect_format(path, kind=kind, known=required, error=error)
    try:
        if written.delimiter:
            yield from _read_csv(path, written, required, error)
        else:
            yield from _read_jsonl(path, written)
    except OSError as refused:
        raise error(f"{path}: cannot be read: {refused.strerror or refused}") from refused


def valid_text(value: object) -> str:
    """Returns a value as text, without NUL characters.

    Raises:
        ValueError: If the value has bytes that the encoding of the file does not allow.
    """
    text = "" if value is None else str(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("is damaged: it has bytes that the encoding of the file does not allow") from None
    return text.replace("\x00", "")


def _named_encoding(name: str, error: type[InputError]) -> TextEncoding:
    try:
        # UTF-8 with or without a byte order mark.
        return TextEncoding("utf-8-sig" if codecs.lookup(name).name == "utf-8" else codecs.lookup(name).name)
    except LookupError as unknown:
        raise error(f"there is no encoding {name!a}; name one such as utf-8, cp1252 or utf-16") from unknown


def _open(path: Path, written: TableFormat) -> TextIO:
    # Other encodings of Unicode cannot represent single bytes as surrogates.
    errors = "replace" if written.encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"
    return path.open(encoding=written.encoding, errors=errors, newline="")


def _open_table(path: Path, written: TableFormat) -> _Table:
    file = _open(path, written)
    start = file.readline(16)
    if _SEPARATOR_LINE.fullmatch(start):
        return _Table(file, 1)
    file.seek(0)
    return _Table(file, 0)


def _detect_delimiter(path: Path, written: TableFormat, known: Collection[str]) -> str:
    """Returns the separator that divides the header into the most known names and fits most rows."""
    file, first_line = _open_table(path, written)
    with file:
        if first_line:
            file.seek(0)
            found = _SEPARATOR_LINE.fullmatch(file.readline())
            assert found is not None  # noqa: S101 (for the type checker: the line was matched before)
            return found[1]
        lines = file.read(_SAMPLE_CHARACTERS).splitlines(keepends=True)
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    scores = {delimiter: _score(lines, delimiter, known) for delimiter in DELIMITERS}
    return max(scores, key=lambda delimiter: scores[delimiter])  # the first of equals: a comma


def _score(lines: Sequence[str], delimiter: str, known: Collection[str]) -> tuple[int, float, int]:
    try:
        rows = list(islice((row for row in csv.reader(lines, delimiter=delimiter) if any(row)), _SAMPLE_ROWS))
    except csv.Error:
        return 0, 0.0, 0
    if not rows or len(rows[0]) < 2:
        return 0, 0.0, 0
    header = [name.strip().casefold() for name in rows[0]]
    # The sample may end inside the last row.
    fitting = [len(row) == len(header) for row in rows[1:-1] or rows[1:]]
    return sum(name in known for name in header), sum(fitting) / max(len(fitting), 1), len(header)


def _read_csv(
    path: Path, written: TableFormat, required: Collection[str], error: type[InputError]
) -> Iterator[tuple[int, Row]]:
    file, first_line = _open_table(path, written)
    with file:
        rows = _csv_reader(file, written)
        header = _header(path, rows, error)
        if missing := [name for name in required if name not in header]:
            raise error(
                f"{path.name}: the first line must name the columns; "
                f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
            )
        if twice := [name for name in required if f"{name} (2)" in header]:
            raise error(f"{path.name}: the first line contains the column {twice[0]!a} twice; rename one of them")
        while True:
            before = rows.line_num
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as reason:
                spanning = _spanning(before + first_line, rows.line_num + first_line)
                yield rows.line_num + first_line, f"not a CSV row: {reason}{spanning}"
                continue
            if not any(map(str.strip, row)):
                continue
            while len(row) > len(header) and not row[-1].strip():  # as of a separator at the end of each line
                row.pop()
            line = rows.line_num + first_line
            if len(row) != len(header):
                cells = f"{len(row)} cells, but the header has {len(header)}"
                yield line, cells + _spanning(before + first_line, line)
                continue
            yield line, dict(zip(header, row, strict=True))


def _csv_reader(file: TextIO, written: TableFormat) -> Any:
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    # Strict, because otherwise an unclosed quotation mark silently consumes rows.
    return csv.reader(file, delimiter=written.delimiter, strict=True)


def _header(path: Path, rows: Iterator[list[str]], error: type[InputError]) -> list[str]:
    try:
        return _numbered([name.strip() for name in next((row for row in rows if any(map(str.strip, row))), [])])
    except csv.Error as reason:
        raise error(f"{path.name}: the first line is not CSV: {reason}") from reason


def _numbered(header: Sequence[str]) -> list[str]:
    """Returns the names of the columns, with a number after each name that has occurred before."""
    names: list[str] = []
    taken: set[str] = set()
    numbers: dict[str, int] = {}  # to count from 1 again would take long with thousands of columns of one name
    for name in header:
        numbered, number = name, numbers.get(name, 1)
        while name and numbered in taken:
            number += 1
            numbered = f"{name} ({number})"
        numbers[name] = number
        taken.add(numbered)
        names.append(numbered)
    return names


def _spanning(before: int, last: int) -> str:
    return f" (it starts on line {before + 1}; is a quotation mark missing?)" if last > before + 1 else ""


def _read_jsonl(path: Path, written: TableFormat) -> Iterator[tuple[int, Row]]:
    with _open(path, written) as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except (ValueError, RecursionError) as error:
                yield line, f"not JSON: {error}"
                continue
            yield line, row if isinstance(row, dict) else "not a JSON object"
