"""Loads a whole catalogue file: its products, and what could not be read."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from caslie_tools.catalogue.format import CatalogueFormat, ReadingOptions, inspect_catalogue
from caslie_tools.catalogue.reading import BadRow, read_catalogue
from caslie_tools.catalogue.reports import FailedItem
from caslie_tools.domain import Product


@dataclass(frozen=True, kw_only=True)
class LoadedCatalogue:
    """The content of a catalogue file."""

    products: tuple[Product, ...]
    failed: tuple[FailedItem, ...]
    """Rows and values that cannot be read."""
    lost_rows: int
    """Rows that are not a product. Nobody knows which products they were."""
    format: CatalogueFormat


async def load_catalogue(path: Path, reading: ReadingOptions | None) -> LoadedCatalogue:
    """Loads a catalogue file outside the event loop.

    Raises:
        CatalogueError: If the file cannot be read, or has no product.
    """
    return await asyncio.to_thread(_load, path, reading)


def _load(path: Path, reading: ReadingOptions | None) -> LoadedCatalogue:
    written = inspect_catalogue(path, reading)
    rows = list(read_catalogue(path, written))
    return LoadedCatalogue(
        products=tuple(row for row in rows if isinstance(row, Product)),
        failed=tuple(FailedItem(item=row.item, reason=row.reason) for row in rows if not isinstance(row, Product)),
        lost_rows=sum(isinstance(row, BadRow) for row in rows),
        format=written,
    )
