"""Reads a shop's catalogue, CSV or JSON Lines, row by row: a bad row is reported and the rest goes on."""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from caslie_tools.domain import AttributeValue, ImageRef, Model, Product
from caslie_tools.exceptions import CatalogueError

_FIELDS = ("id", "title", "description", "category", "brand")
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,12})?")
_MAX_FIELD_CHARACTERS = 1_000_000


class BadRow(Model):
    """A row that is no product."""

    item: str
    """The product's id where it is known, else the line."""
    reason: str


def read_catalogue(path: Path) -> Iterator[Product | BadRow]:
    """Yields a catalogue's products, and a :class:`BadRow` in the place of every row that is none.

    Columns ``id``, ``title``, ``description``, ``category``, ``price``, ``brand`` and ``image`` (several separated by
    ``|``; paths are relative to the catalogue) have their meaning; any other becomes an attribute, a number if it is
    written as one.

    Args:
        path: A ``.csv``, ``.jsonl`` or ``.ndjson`` file in UTF-8.

    Raises:
        CatalogueError: If the file cannot be read at all.
    """
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl, ".ndjson": _read_jsonl}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise CatalogueError(f"{path.name}: a catalogue is a .csv or .jsonl file")
    seen: set[str] = set()
    try:
        for line, row in reader(path):
            if isinstance(row, str):
                yield BadRow(item=f"line {line}", reason=row)
                continue
            product = _product(line, row, path.parent)
            if isinstance(product, Product):
                if product.id in seen:
                    yield BadRow(item=product.id, reason=f"line {line}: the id is in use already; the first row stands")
                    continue
                seen.add(product.id)
            yield product
    except OSError as error:
        raise CatalogueError(f"{path}: cannot be read: {error.strerror or error}") from error


def _read_csv(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    # Bytes that are not UTF-8 survive as surrogates, so that they cost one row and not the file.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file, strict=True)  # or a quotation mark that is never closed would swallow rows silently
        try:
            header = next(rows, None)
        except csv.Error as error:
            raise CatalogueError(f"{path.name}: the first line is not CSV: {error}") from error
        if header is None or "id" not in (header := [name.strip() for name in header]):
            raise CatalogueError(f"{path.name}: the first line names the columns, and one of them is id")
        if twice := [name for index, name in enumerate(header) if name and name in header[:index]]:
            raise CatalogueError(f"{path.name}: the first line names the column {twice[0]!a} twice; rename one of them")
        while True:
            before = rows.line_num
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield rows.line_num, f"not a CSV row: {error}{_spanning(before, rows.line_num)}"
                continue
            if not row:
                continue
            if len(row) != len(header):
                cells = f"{len(row)} cells where the header has {len(header)}"
                yield rows.line_num, cells + _spanning(before, rows.line_num)
                continue
            yield rows.line_num, dict(zip(header, row, strict=True))


def _spanning(before: int, last: int) -> str:
    return f" (it began on line {before + 1}: is a quotation mark missing?)" if last > before + 1 else ""


def _read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
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


def _product(line: int, row: Mapping[str, Any], base: Path) -> Product | BadRow:
    item = (str(row.get("id") or "").strip() or f"line {line}").encode("utf-8", "replace").decode()
    try:
        images = _images(row.get("image", row.get("images")), base)
        price = row.get("price")
        return Product(
            **{name: _text(row.get(name)).strip() for name in _FIELDS},
            price=None if price is None or price == "" else price,
            images=images,
            attributes=_attributes(row),
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = " ".join(str(part) for part in first["loc"]) or "row"
        return BadRow(item=item, reason=f"line {line}: {where}: {first['msg']}")
    except ValueError as error:
        return BadRow(item=item, reason=f"line {line}: {error}")


def _images(value: object, base: Path) -> tuple[ImageRef, ...]:
    if value is None:
        return ()
    texts = value if isinstance(value, list) else str(value).split("|")
    return tuple(ImageRef.parse(_text(text), base=base.resolve()) for text in texts if _text(text).strip())


def _attributes(row: Mapping[str, Any]) -> dict[str, AttributeValue]:
    known = {*_FIELDS, "price", "image", "images"}
    given = row.get("attributes")
    others = {name: value for name, value in row.items() if name not in known}
    if isinstance(given, dict):
        others = {name: value for name, value in others.items() if name != "attributes"} | given
    return {
        _text(name): _attribute(name, value)
        for name, value in others.items()
        if name and value is not None and value != ""
    }


def _attribute(name: str, value: object) -> AttributeValue:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return ", ".join(_text(item) for item in value)
    if not isinstance(value, str):
        raise ValueError(f"the attribute {name!r} is neither a text nor a number")
    text = _text(value).strip()
    # Only what reads back as it was written: 0123 is a code, not the number 123.
    if _NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    return text


def _text(value: object) -> str:
    text = "" if value is None else str(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("not UTF-8 text") from None
    return text.replace("\x00", "")
