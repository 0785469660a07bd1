"""Decides which column of a catalogue is which field of a product."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from caslie_tools._text import did_you_mean, shortened
from caslie_tools.exceptions import CatalogueError

TEXT_FIELDS: Final = ("id", "title", "description", "category", "brand")
FIELDS: Final = (*TEXT_FIELDS, "price", "image")
"""The fields of a product that a column can have. Every other column is an attribute."""
IMAGE_NAMES: Final = ("image", "images")
"""The names of a column of images. They also are the only columns that can occur more than once."""

_NUMBERED: Final = re.compile(r"(?P<name>.+) \([0-9]+\)")


def resolve_columns(
    file: str, names: Sequence[str], chosen: Mapping[str, str], *, is_table: bool
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Returns the field or attribute of each column, by the column, and the columns that are not read.

    A column is the field that has its name, in upper or lower case, unless another column was chosen for the field. Any
    other column is an attribute. Columns without a name are left out.

    Args:
        file: The name of the file, for messages.
        names: The columns. A name that occurs again has a number: ``price (2)``.
        chosen: The column of a field or attribute, by the field or attribute.
        is_table: Whether the first line names the columns.

    Raises:
        CatalogueError: If there is no column of ids, a chosen column does not exist, or two columns are the same field.
    """
    columns: dict[str, str] = {}
    for name, wanted in chosen.items():
        column = _find(file, names, wanted)
        if column in columns:
            raise CatalogueError(
                f"the column {column!a} is chosen for {columns[column]} and {name}; choose one of them"
            )
        columns[column] = "image" if name in IMAGE_NAMES else name
    ignored = []
    for field in FIELDS:
        candidates = [column for column in names if column not in columns and _field_of(column) == field]
        if field in columns.values():
            ignored += candidates
        elif field == "image":
            columns |= dict.fromkeys(candidates, field)
        elif field in candidates and f"{field} (2)" not in candidates:
            columns[field] = field  # a column with this very name; others, such as "Title", are attributes
        elif len(candidates) == 1:
            columns[candidates[0]] = field
        elif candidates:
            one, two = candidates[:2]
            raise CatalogueError(
                f"{file}: the columns {one!a} and {two!a} can both be the {field}; choose one, as in --column "
                f"{shortened(f'{field}={one}')!r}"
            )
    if "id" not in columns.values():
        missing = "the first line must name the columns; id is missing" if is_table else "no row has an id"
        hint = next(filter(None, names), None)
        raise CatalogueError(f"{file}: {missing}" + (f"; choose a column, as in --column 'id={hint}'" if hint else ""))
    used = {*columns.values()} - {*IMAGE_NAMES}
    for column in names:
        if column and column not in columns and column not in ignored:
            if column in used:
                ignored.append(column)
            else:
                columns[column] = column
    return columns, tuple(ignored)


def _find(file: str, names: Sequence[str], wanted: str) -> str:
    wanted = wanted.strip()
    if wanted in names:
        return wanted
    found = [name for name in names if name.casefold() == wanted.casefold()]
    if len(found) == 1:
        return found[0]
    known = ", ".join(filter(None, names))
    hint = did_you_mean(wanted, names) or f"; there are {shortened(known)}"
    raise CatalogueError(f"{file} has no column {wanted!a}{hint}")


def _field_of(column: str) -> str | None:
    """Returns the field that has the name of a column, or ``None``."""
    numbered = _NUMBERED.fullmatch(column)
    name = (numbered["name"] if numbered else column).strip().casefold()
    return "image" if name in IMAGE_NAMES else name if name in FIELDS else None
