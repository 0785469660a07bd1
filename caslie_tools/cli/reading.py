"""Options that say how a catalogue is read, for the commands that read one."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from caslie_tools.catalogue.format import ReadingOptions

_PANEL: Final = "Reading the catalogue (detected by default)"
_DELIMITERS: Final = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "bar": "|"}


class Decimal(StrEnum):
    """The decimal mark of numbers."""

    COMMA = "comma"
    POINT = "point"


Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="FIELD=COLUMN",
        help="The column of a field, for example price=cost or id=SKU. Another name renames an attribute. Repeatable.",
        rich_help_panel=_PANEL,
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option("--encoding", help="Encoding of the file, for example utf-8 or cp1250.", rich_help_panel=_PANEL),
]
Delimiter = Annotated[
    str | None,
    typer.Option(
        "--delimiter", help="Separator of the columns: a character, comma, semicolon or tab.", rich_help_panel=_PANEL
    ),
]
DecimalMark = Annotated[
    Decimal | None, typer.Option("--decimal", help="Decimal mark of the numbers.", rich_help_panel=_PANEL)
]


def reading_options(
    columns: list[str] | None,
    encoding: str | None,
    delimiter: str | None,
    decimal: Decimal | None,
    *,
    trust_paths: bool = False,
) -> "ReadingOptions":
    """Returns how the catalogue of a command is read.

    Raises:
        InputError: If an option cannot be used.
    """
    from caslie_tools.catalogue.format import ReadingOptions
    from caslie_tools.exceptions import InputError

    chosen: dict[str, str] = {}
    for text in columns or ():
        field, found, column = (part.strip() for part in text.partition("="))
        if not (field and found and column):
            raise InputError(f"--column {text!a} is not of the form FIELD=COLUMN, such as price=cost")
        if field in chosen:
            raise InputError(f"--column names two columns for {field!a}; choose one of them")
        chosen[field] = column
    separator = _DELIMITERS.get(delimiter, delimiter) if delimiter else None
    if separator is not None and len(separator) != 1:
        raise InputError(f"--delimiter {delimiter!a} is not one character; choose one of comma, semicolon, tab")
    return ReadingOptions(
        columns=chosen,
        encoding=encoding,
        delimiter=separator,
        decimal=None if decimal is None else decimal.value,
        trust_paths=trust_paths,
    )
