"""Reads JSON arrays and JSON Lines from untrusted files, one value at a time.

A value may be cut off, nested very deeply or larger than memory. It is then reported as unreadable. In the worst case,
the rest of the file cannot be read either.
"""

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

from caslie_tools._optional import require
from caslie_tools.exceptions import DataError

MAX_VALUE_BYTES: Final = 16 * 1024 * 1024
"""Maximum size of one value in the file. A record of MMECInstruct has a few kilobytes."""
MAX_DEPTH: Final = 100
"""Maximum nesting of one value. It applies to arrays only. For JSON Lines, Python's recursion limit applies."""

JSON_LINES_SUFFIXES: Final = frozenset({".jsonl", ".ndjson"})
"""Suffixes of JSON Lines files."""

_BLOCK: Final = 64 * 1024
_OPENING: Final = frozenset({"start_map", "start_array"})
_CLOSING: Final = frozenset({"end_map", "end_array"})


@dataclass(frozen=True)
class UnreadableValue:
    """Takes the place of a value that cannot be read."""

    reason: str


def read_json_values(path: Path) -> Iterator[Any]:
    """Yields the values of a file: one per line for ``.jsonl`` and ``.ndjson``, else the elements of the file's array.

    A value that cannot be read is yielded as :class:`UnreadableValue`. Reading continues after it if possible.

    Raises:
        DataError: If the file cannot be read, is not UTF-8, or its array stops being JSON.
        MissingExtraError: If the file is an array and the extra ``data`` is not installed.
    """
    try:
        with path.open("rb") as file:
            _skip_byte_order_mark(file, path)
            yield from _lines(file) if path.suffix.lower() in JSON_LINES_SUFFIXES else _array(file, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _skip_byte_order_mark(file: BinaryIO, path: Path) -> None:
    """Skips a UTF-8 byte order mark. Refuses UTF-16 and UTF-32, recognised by their zero bytes."""
    start = file.read(4)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in start:
        raise DataError(f"{path}: not UTF-8 text; save it in UTF-8")
    file.seek(len(codecs.BOM_UTF8) if start.startswith(codecs.BOM_UTF8) else 0)


def _lines(file: BinaryIO) -> Iterator[Any]:
    while line := file.readline(MAX_VALUE_BYTES):
        if len(line) == MAX_VALUE_BYTES and not line.endswith(b"\n"):
            while (rest := file.readline(MAX_VALUE_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield UnreadableValue(f"the line is longer than {MAX_VALUE_BYTES:,} bytes")
        elif line.strip():
            yield _parse_line(line)


def _parse_line(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        return UnreadableValue("the line is not UTF-8 text")
    except RecursionError:
        return UnreadableValue("the record is nested too deeply")
    except json.JSONDecodeError as error:
        return UnreadableValue(f"the line is not JSON: {error.msg} (character {error.pos + 1})")
    except ValueError:
        return UnreadableValue("the record has a number that is out of range")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


class _LimitedFile:
    """A file that limits how many bytes can be read for one value."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._bytes = 0
        self.values = 0
        """Number of values that are complete."""

    def read(self, size: int) -> bytes:
        if self._bytes > MAX_VALUE_BYTES:
            raise DataError(f"{self._path}: record {self.values} is longer than {MAX_VALUE_BYTES:,} bytes")
        block = self._file.read(size)
        self._bytes += len(block)
        return block

    def value_read(self) -> None:
        self.values += 1
        self._bytes = 0


def _array(file: BinaryIO, path: Path) -> Iterator[Any]:
    ijson = require("ijson", "data", "Reading a JSON array as a stream")
    limited = _LimitedFile(file, path)
    # `ijson.items` keeps the path to every value and so exhausts memory on deep nesting. `basic_parse` does not.
    # `use_float`: without it, the C backend crashes on integers that are too long for Python to convert (ijson 3.6).
    events = ijson.basic_parse(limited, use_float=True, buf_size=_BLOCK)
    try:
        for value in _elements(events, ijson.ObjectBuilder, path):
            yield value
            limited.value_read()
    except (ijson.JSONError, UnicodeDecodeError) as error:
        where = f"at record {limited.values}" if limited.values else "at the start"
        raise DataError(f"{path}: stops being JSON {where}: {_reason(error)}") from error


def _elements(events: Iterator[tuple[str, Any]], new_builder: Any, path: Path) -> Iterator[Any]:
    """Builds the elements of an array, one after the other."""
    depth = 0
    builder = new_builder()
    too_deep = False
    for event, scalar in events:
        if event in _CLOSING:
            depth -= 1
        elif depth == 1:
            builder, too_deep = new_builder(), False
        if depth > 0 and not too_deep:
            builder.event(event, scalar)
        elif depth == 0 and event not in ("start_array", "end_array"):
            raise DataError(f"{path}: not an array of records; rename it to .jsonl if each line is one record")
        if event in _OPENING:
            depth += 1
            too_deep = too_deep or depth > MAX_DEPTH
        elif depth == 1:
            yield UnreadableValue("the record is nested too deeply") if too_deep else builder.value


def _reason(error: Exception) -> str:
    """Returns the first line of the parser's message. Its other lines repeat the content of the file."""
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8 text"
    message = error.args[0] if error.args else ""
    text = message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message)
    return text.split("\n", 1)[0].strip() or "unexpected end of file"
