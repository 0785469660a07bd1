"""The format of a catalogue: how the file is written, what its columns mean, and how its numbers are written."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from caslie_tools.catalogue.amounts import DecimalEvidence, DecimalMark, split_price
from caslie_tools.catalogue.columns import FIELDS, IMAGE_NAMES, resolve_columns
from caslie_tools.catalogue.rows import DELIMITERS, TableFormat, column_names, detect_format, read_rows
from caslie_tools.domain import FrozenModel
from caslie_tools.exceptions import CatalogueError

KIND: Final = "a catalogue"


class ReadingOptions(FrozenModel):
    """What the reader of a catalogue cannot know, or detects wrongly."""

    columns: dict[str, str] = Field(default_factory=dict)
    """The column of a field, by the field: ``{"price": "cost"}``. Another name than that of a field renames an
    attribute."""
    encoding: str | None = None
    """The encoding, such as ``cp1250``. By default it is detected."""
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    """The separator of the columns of a CSV file. By default it is detected."""
    decimal: Literal["comma", "point"] | None = None
    """The decimal mark of the numbers. By default it is detected for each column."""
    trust_paths: bool = False
    """Allow paths of images outside the folder of the catalogue. Only for a catalogue that you trust."""


class CatalogueFormat(FrozenModel):
    """How a catalogue is read."""

    written: TableFormat
    columns: dict[str, str]
    """The field or attribute of each column that is read, by the column. Several columns can be the field ``image``."""
    ignored: tuple[str, ...] = ()
    """Columns that are not read, because another column was named for their field."""
    price_mark: DecimalMark = "."
    """The decimal mark of the prices. ``?``: unknown, so a price with two meanings, such as ``1.234``, is an error."""
    decimal_commas: tuple[str, ...] = ()
    """Columns of attributes whose numbers have a decimal comma."""
    ambiguous: tuple[str, ...] = ()
    """Columns of attributes in which numbers such as ``1.234`` have two meanings. They are read as texts."""
    currency: str = ""
    """The currency of most prices: a code of ISO 4217 or a sign. Empty if no price names one."""
    trust_paths: bool = False
    """Whether paths of images may lead out of the folder of the catalogue."""

    @property
    def renamed(self) -> dict[str, str]:
        """The columns that have another name than their field, by the column."""
        return {column: name for column, name in self.columns.items() if name != column and column not in IMAGE_NAMES}

    def describe(self) -> Iterator[str]:
        """Yields what differs from a plain file: UTF-8, commas, the names of the fields, and numbers with points."""
        encoding = self.written.encoding.removesuffix("-sig")
        if encoding != "utf-8":
            guessed = " (a guess: check the texts, or set the encoding)" if self.written.encoding_guessed else ""
            yield f"as {encoding}{guessed}"
        if self.written.delimiter not in ("", ","):
            yield f"columns separated by {DELIMITERS.get(self.written.delimiter, repr(self.written.delimiter))}"
        for column, name in self.renamed.items():
            yield f"{name} from '{column}'"
        if self.ignored:
            yield f"without {', '.join(self.ignored)}"
        commas = [column for column, name in self.columns.items() if name == "price" and self.price_mark == ","]
        if commas := [*commas, *self.decimal_commas]:
            yield f"decimal comma in {', '.join(commas)}"
        if self.ambiguous:
            yield f"numbers with two meanings as texts in {', '.join(self.ambiguous)}"
        if self.currency:
            yield f"prices in {self.currency}"


def inspect_catalogue(path: Path, options: ReadingOptions | None = None) -> CatalogueFormat:
    """Finds out how a catalogue is to be read. It reads the whole file once.

    Args:
        path: A ``.csv``, ``.tsv``, ``.txt``, ``.jsonl`` or ``.ndjson`` file.
        options: What is known about the file.

    Raises:
        CatalogueError: If the file cannot be read, has no column of ids, or does not have a column of the options.
    """
    options = options or ReadingOptions()
    known = {name.casefold() for name in (*FIELDS, *IMAGE_NAMES, *options.columns.values())}
    written = detect_format(
        path,
        kind=KIND,
        known=known,
        encoding=options.encoding,
        delimiter=options.delimiter,
        error=CatalogueError,
    )
    columns, ignored = resolve_columns(
        path.name, column_names(path, written, error=CatalogueError), options.columns, is_table=bool(written.delimiter)
    )
    price = next((column for column, name in columns.items() if name == "price"), None)
    attributes = {column: _Numbers() for column, name in columns.items() if name not in FIELDS}
    prices, currencies, rows = DecimalEvidence(), Counter[str](), 0
    for _, row in read_rows(path, kind=KIND, error=CatalogueError, written=written):
        rows += 1
        if isinstance(row, str):
            continue
        for column, numbers in attributes.items():
            numbers.add(row.get(column))
        if price is not None and isinstance(value := row.get(price), str) and value.strip():
            with suppress(ValueError):
                number, currency = split_price(value)
                prices.add(number)
                currencies.update([currency] if currency else [])
    if not rows:
        raise CatalogueError(f"{path.name}: there is no product in the file")
    marks = _decimal_marks(options.decimal, prices, attributes, written)
    return CatalogueFormat(
        written=written,
        columns=columns,
        ignored=ignored,
        price_mark=marks.pop(""),
        decimal_commas=tuple(column for column, mark in marks.items() if mark == ","),
        ambiguous=tuple(column for column, mark in marks.items() if mark == "?"),
        currency=currencies.most_common(1)[0][0] if currencies else "",
        trust_paths=options.trust_paths,
    )


class _Numbers:
    """What the texts of an attribute's column say about its numbers."""

    def __init__(self) -> None:
        self.decimals = DecimalEvidence()
        self.only_numbers = True

    def add(self, value: object) -> None:
        if self.only_numbers and isinstance(value, str) and value.strip():
            self.only_numbers = self.decimals.add(value)


def _decimal_marks(
    decimal: Literal["comma", "point"] | None,
    prices: DecimalEvidence,
    attributes: Mapping[str, _Numbers],
    written: TableFormat,
) -> dict[str, DecimalMark]:
    """Returns the decimal marks of the columns that need one. The key of the price is empty."""
    numeric = {column: numbers.decimals for column, numbers in attributes.items() if numbers.only_numbers}
    if decimal is not None:
        return dict.fromkeys(("", *numeric), ",") if decimal == "comma" else {"": "."}
    price = prices.mark
    # "36,38" may also be two sizes. Without a sign of decimal commas in the rest of the file, it stays a text.
    plausible = price == "," or written.delimiter not in ("", ",")
    commas: dict[str, DecimalMark] = {
        column: "," for column, found in numeric.items() if plausible and found.mark == ","
    }
    if not price:
        if commas:
            price = ","
        elif prices.ambiguous[","] or (prices.ambiguous["."] and written.delimiter == ";"):
            price = "?"  # spreadsheets separate columns by semicolons where people write a decimal comma
        else:
            price = "."
    unclear = [column for column, found in numeric.items() if not found.mark and found.ambiguous["."]]
    marks: dict[str, DecimalMark] = {"": price, **commas}
    return marks if price == "." else marks | dict.fromkeys(unclear, "?")
