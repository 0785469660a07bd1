"""JSON arrays and JSON Lines, value by value, from files that nobody vouches for.

A value may be cut off, nested without end or larger than memory: it costs itself, or at worst the rest of the file.
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
"""Of one value in the file. A record of MMECInstruct takes a few kilobytes."""
MAX_DEPTH: Final = 100
"""Levels that a value may be nested; only for arrays, where Python's own limit does not apply."""

JSON_LINES_SUFFIXES: Final = frozenset({".jsonl", ".ndjson"})
"""Suffixes of JSON Lines."""

_BLOCK: Final = 64 * 1024
_OPENING: Final = frozenset({"start_map", "start_array"})
_CLOSING: Final = frozenset({"end_map", "end_array"})


@dataclass(frozen=True)
class UnreadableValue:
    """Stands in the place of a value that cannot be read."""

    reason: str


def read_json_values(path: Path) -> Iterator[Any]:
    """Yields the values of a file: of the lines if it is named ``.jsonl`` or ``.ndjson``, else of its one array.

    Yields :class:`UnreadableValue` in the place of a value that cannot be read, and goes on where that is possible.

    Raises:
        DataError: If the file cannot be read, is not in UTF-8, or its array stops being JSON.
        MissingExtraError: If it is an array and the extra ``data`` is not installed.
    """
    try:
        with path.open("rb") as file:
            _skip_mark(file, path)
            yield from _lines(file) if path.suffix.lower() in JSON_LINES_SUFFIXES else _array(file, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _skip_mark(file: BinaryIO, path: Path) -> None:
    """Skips a byte order mark; refuses UTF-16 and UTF-32, whose ASCII characters come with zeros."""
    start = file.read(4)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in start:
        raise DataError(f"{path}: not UTF-8 text; save it in UTF-8")
    file.seek(len(codecs.BOM_UTF8) if start.startswith(codecs.BOM_UTF8) else 0)


def _lines(file: BinaryIO) -> Iterator[Any]:
    while line := file.readline(MAX_VALUE_BYTES):
        if len(line) == MAX_VALUE_BYTES and not line.endswith(b"\n"):
            while (rest := file.readline(MAX_VALUE_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield UnreadableValue(f"its line is longer than {MAX_VALUE_BYTES:,} bytes")
        elif line.strip():
            yield _loaded(line)


def _loaded(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        return UnreadableValue("it is not UTF-8 text")
    except RecursionError:
        return UnreadableValue("it is nested too deeply")
    except json.JSONDecodeError as error:
        return UnreadableValue(f"it is not JSON: {error.msg} (character {error.pos + 1})")
    except ValueError:
        return UnreadableValue("it holds a number out of range")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


class _Measured:
    """A file that refuses to be read on when a value does not come to its end."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._bytes = 0
        self.values = 0
        """How many were read."""

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
    measured = _Measured(file, path)
    # Events, not `ijson.items`: that keeps the path to every value, which for deep nesting takes all memory there is.
    # Numbers as floats: longer ones than Python converts make the C backend crash (ijson 3.6) unless they are.
    events = ijson.basic_parse(measured, use_float=True, buf_size=_BLOCK)
    try:
        for value in _values(events, ijson.ObjectBuilder, path):
            yield value
            measured.value_read()
    except (ijson.JSONError, UnicodeDecodeError) as error:
        where = f"at record {measured.values}" if measured.values else "at its start"
        raise DataError(f"{path}: stops being JSON {where}: {_reason(error)}") from error


def _values(events: Iterator[tuple[str, Any]], new_builder: Any, path: Path) -> Iterator[Any]:
    """Builds one value after the other of an array's elements."""
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
            raise DataError(f"{path}: not an array of records; name it .jsonl if it has one record a line")
        if event in _OPENING:
            depth += 1
            too_deep = too_deep or depth > MAX_DEPTH
        elif depth == 1:
            yield UnreadableValue("it is nested too deeply") if too_deep else builder.value


def _reason(error: Exception) -> str:
    """The first line of the parser's words; the others repeat the file's."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    said = error.args[0] if error.args else ""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return text.split("\n", 1)[0].strip() or "it breaks off"
