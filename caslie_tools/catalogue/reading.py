"""Reads a shop's catalogue (CSV or JSON Lines) row by row.

What cannot be read is reported with its line. A row is lost only if its id cannot be read; any other value costs its
field alone.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from caslie_tools._text import shortened
from caslie_tools.catalogue.amounts import parse_number, parse_price
from caslie_tools.catalogue.columns import TEXT_FIELDS
from caslie_tools.catalogue.format import KIND, CatalogueFormat, inspect_catalogue
from caslie_tools.catalogue.image_paths import ImagePaths
from caslie_tools.catalogue.rows import read_rows, valid_text
from caslie_tools.domain import AttributeValue, FrozenModel, ImageRef, Product
from caslie_tools.exceptions import CatalogueError

_NUMBER: Final = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,12})?", re.ASCII)
_AMBIGUOUS: Final = re.compile(r"-?[1-9]\d{0,2}\.\d{3}", re.ASCII)
_LEADING_ZERO: Final = re.compile(r"-?0\d", re.ASCII)
_MAX_ID: Final = 512
_SHOWN: Final = 60


class BadRow(FrozenModel):
    """A row that is not a product."""

    item: str
    """The id of the product if the row has one, else the line."""
    reason: str


class BadValue(FrozenModel):
    """A value that cannot be read. The product is read without it."""

    item: str
    """The id of the product."""
    reason: str
    """The line, the column and the value, and what is wrong."""


def read_catalogue(path: Path, written: CatalogueFormat | None = None) -> Iterator[Product | BadRow | BadValue]:
    """Yields the products of a catalogue, each after its :class:`BadValue` items, and :class:`BadRow` for lost rows.

    The columns ``id``, ``title``, ``description``, ``category``, ``price``, ``brand`` and ``image`` are fields of the
    product. Several images are separated by ``|``. Paths are relative to the catalogue, and stay in its folder unless
    they are trusted. Any other column becomes an attribute. Its value is a number if it is written as a number.

    Args:
        path: A ``.csv``, ``.tsv``, ``.txt``, ``.jsonl`` or ``.ndjson`` file.
        written: How the file is read. By default :func:`~caslie_tools.catalogue.format.inspect_catalogue` finds out.

    Raises:
        CatalogueError: If the file cannot be read.
    """
    written = written or inspect_catalogue(path)
    lines: dict[str, int] = {}
    paths = ImagePaths(path.parent, trusted=written.trust_paths)
    rows = read_rows(path, kind=KIND, error=CatalogueError, written=written.written)
    for line, row in rows:
        if isinstance(row, str):
            yield BadRow(item=f"line {line}", reason=row)
            continue
        reader = _RowReader(line, row, written, path.parent.resolve(), paths)
        product = reader.product()
        if isinstance(product, BadRow):
            yield product
        elif (first := lines.setdefault(product.id, line)) != line:
            reason = f"line {line}: the id is already used on line {first}; change one of the ids"
            yield BadRow(item=product.id, reason=reason)
        else:
            yield from reader.bad_values
            yield product


class _RowReader:
    """Reads one row, and collects the values that cannot be read."""

    def __init__(
        self, line: int, row: Mapping[str, Any], written: CatalogueFormat, base: Path, paths: ImagePaths
    ) -> None:
        self.bad_values: list[BadValue] = []
        self._line = line
        self._row = row
        self._written = written
        self._base = base
        self._paths = paths
        self._id = ""

    def product(self) -> Product | BadRow:
        by_field = {name: column for column, name in self._written.columns.items()}
        try:
            self._id = valid_text(self._row.get(by_field["id"])).strip()
            if not 1 <= len(self._id) <= _MAX_ID:
                raise ValueError(f"is longer than {_MAX_ID} characters" if self._id else "is empty")
        except ValueError as error:
            return BadRow(item=f"line {self._line}", reason=f"line {self._line}: the id {error}")
        texts = {name: self._text(by_field[name]) for name in TEXT_FIELDS if name in by_field and name != "id"}
        price = self._price(by_field["price"]) if "price" in by_field else None
        images, attributes = self._images(), self._attributes()
        return Product(id=self._id, **texts, price=price, images=images, attributes=attributes)

    def _text(self, column: str) -> str:
        try:
            return valid_text(self._row.get(column)).strip()
        except ValueError as error:
            self._fail(column, error)
            return ""

    def _price(self, column: str) -> float | None:
        value = self._row.get(column)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        try:
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise ValueError("is not a price")
            if not isinstance(value, str):
                return _amount(value)
            price = parse_price(valid_text(value), self._written.price_mark)
            if price.currency and price.currency != self._written.currency:
                raise ValueError(f"is in another currency than most prices, which are in {self._written.currency}")
            return price.amount
        except ValueError as error:
            self._fail(column, error)
            return None

    def _images(self) -> tuple[ImageRef, ...]:
        images: list[ImageRef] = []
        for column, name in self._written.columns.items():
            if name != "image":
                continue
            value = self._row.get(column)
            for written in value if isinstance(value, list) else str(value or "").split("|"):
                try:
                    text = valid_text(written).strip()
                    if text and (image := ImageRef.parse(text, base=self._base)) not in images:
                        if image.path is not None:
                            self._paths.check(image.path)
                        images.append(image)
                except ValidationError as error:
                    self._fail(column, error.errors(include_url=False)[0]["msg"], written)
                except ValueError as error:
                    self._fail(column, error, written)
        return tuple(images)

    def _attributes(self) -> dict[str, AttributeValue]:
        attributes: dict[str, AttributeValue] = {}
        for column, name in self._written.columns.items():
            value = self._row.get(column)
            if column == "attributes" and isinstance(value, dict):
                attributes |= self._converted({str(key): (str(key), nested) for key, nested in value.items() if key})
            elif name not in (*TEXT_FIELDS, "price", "image"):
                attributes |= self._converted({column: (name, value)})
        return attributes

    def _converted(self, values: Mapping[str, tuple[str, Any]]) -> dict[str, AttributeValue]:
        converted: dict[str, AttributeValue] = {}
        for column, (name, value) in values.items():
            try:
                if value is not None and (read := self._attribute(column, value)) != "":
                    converted[valid_text(name)] = read
            except ValueError as error:
                self._fail(column, error)
        return converted

    def _attribute(self, column: str, value: object) -> AttributeValue:
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("is not a finite number")
        if isinstance(value, bool | int | float):
            return value
        if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
            return ", ".join(valid_text(item) for item in value)
        if not isinstance(value, str):
            raise ValueError("is not a text, a number or a list of them")
        text = valid_text(value).strip()
        if column in self._written.decimal_commas:
            number = None if _LEADING_ZERO.match(text) else parse_number(text, ",")
            return text if number is None else int(number) if number.is_integer() and "," not in text else number
        # Only a number that is written in the normal form: 0123 is a code, not the number 123.
        if not _NUMBER.fullmatch(text) or (column in self._written.ambiguous and _AMBIGUOUS.fullmatch(text)):
            return text
        return float(text) if "." in text else int(text)

    def _fail(self, column: str, reason: object, value: object = None) -> None:
        text = str(self._row.get(column) if value is None else value).encode("utf-8", "replace").decode()
        shown = shortened(text, _SHOWN)
        self.bad_values.append(
            BadValue(item=self._id, reason=f"line {self._line}: {shortened(column, _SHOWN)}: {shown!r} {reason}")
        )


def _amount(value: float) -> float:
    try:
        amount = float(value)
    except OverflowError:
        amount = math.inf
    if not math.isfinite(amount):
        raise ValueError("is not a finite number")
    if amount < 0:
        raise ValueError("is negative")
    return amount
