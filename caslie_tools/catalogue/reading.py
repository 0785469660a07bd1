"""Reads a shop's catalogue (CSV or JSON Lines) row by row. Invalid rows are reported, the other rows are read."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from caslie_tools.catalogue.rows import read_rows, utf8_text
from caslie_tools.domain import AttributeValue, FrozenModel, ImageRef, Product
from caslie_tools.exceptions import CatalogueError

_FIELDS = ("id", "title", "description", "category", "brand")
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,12})?")


class BadRow(FrozenModel):
    """A row that is not a valid product."""

    item: str
    """The id of the product if the row has one, else the line."""
    reason: str


def read_catalogue(path: Path) -> Iterator[Product | BadRow]:
    """Yields the products of a catalogue, and a :class:`BadRow` in place of every invalid row.

    The columns ``id``, ``title``, ``description``, ``category``, ``price``, ``brand`` and ``image`` are fields of the
    product. Several images are separated by ``|``, and paths are relative to the catalogue. Any other column becomes an
    attribute. Its value is a number if it is written as a number.

    Args:
        path: A ``.csv``, ``.jsonl`` or ``.ndjson`` file in UTF-8.

    Raises:
        CatalogueError: If the file cannot be read.
    """
    seen: set[str] = set()
    for line, row in read_rows(path, kind="a catalogue", required=("id",), error=CatalogueError):
        if isinstance(row, str):
            yield BadRow(item=f"line {line}", reason=row)
            continue
        product = _product(line, row, path.parent)
        if isinstance(product, Product):
            if product.id in seen:
                yield BadRow(
                    item=product.id,
                    reason=f"line {line}: the id is already used by an earlier row; change one of the ids",
                )
                continue
            seen.add(product.id)
        yield product


def _product(line: int, row: Mapping[str, Any], base: Path) -> Product | BadRow:
    item = (str(row.get("id") or "").strip() or f"line {line}").encode("utf-8", "replace").decode()
    try:
        images = _images(row.get("image", row.get("images")), base)
        price = row.get("price")
        return Product(
            **{name: utf8_text(row.get(name)).strip() for name in _FIELDS},
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
    return tuple(ImageRef.parse(utf8_text(text), base=base.resolve()) for text in texts if utf8_text(text).strip())


def _attributes(row: Mapping[str, Any]) -> dict[str, AttributeValue]:
    fields = {*_FIELDS, "price", "image", "images"}
    nested = row.get("attributes")
    others = {name: value for name, value in row.items() if name not in fields}
    if isinstance(nested, dict):
        others = {name: value for name, value in others.items() if name != "attributes"} | nested
    return {
        utf8_text(name): _attribute(name, value)
        for name, value in others.items()
        if name and value is not None and value != ""
    }


def _attribute(name: str, value: object) -> AttributeValue:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return ", ".join(utf8_text(item) for item in value)
    if not isinstance(value, str):
        raise ValueError(f"the attribute {name!r} must be a text, a number or a list of them")
    text = utf8_text(value).strip()
    # Only a number that is written in the normal form: 0123 is a code, not the number 123.
    if _NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    return text
