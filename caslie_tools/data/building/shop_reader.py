"""Reads a shop's sources: the catalogue, the logs, and the pictures of both."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from caslie_tools.catalogue.format import ReadingOptions, inspect_catalogue
from caslie_tools.catalogue.reading import BadValue, read_catalogue
from caslie_tools.data.building.logs import (
    LogRow,
    SourceFault,
    read_events,
    read_questions,
    read_reviews,
    read_searches,
)
from caslie_tools.data.building.options import BuildOptions
from caslie_tools.data.building.picture_files import PictureStaging
from caslie_tools.data.building.report import PLACEHOLDER, Source
from caslie_tools.data.building.shop_data import ShopData
from caslie_tools.domain import WITH_LOCATIONS, Product
from caslie_tools.exceptions import DataError, ImageError

LOGS: Mapping[str, Callable[..., Iterator[Any]]] = {
    "searches": read_searches,
    "reviews": read_reviews,
    "questions": read_questions,
    "events": read_events,
}
"""The reader of each kind of log."""

Read = TypeVar("Read")


async def read_shop_data(
    catalogue: Path,
    logs: Mapping[str, Path],
    options: BuildOptions,
    staging: PictureStaging,
    *,
    strict: bool,
    reading: ReadingOptions | None = None,
) -> tuple[ShopData, list[Source], list[SourceFault]]:
    """Reads a shop's sources and stages the pictures.

    Args:
        catalogue: See :func:`~caslie_tools.catalogue.reading.read_catalogue`.
        logs: Files by kind of log, see :data:`LOGS`.
        options: The options of the build, for the definition of a placeholder.
        staging: Receives the pictures.
        strict: Stop at the first row, value or picture that cannot be used.
        reading: What is known about the catalogue file.

    Returns:
        The shop's data, the files they were read from, and the rows and pictures that cannot be used.

    Raises:
        CatalogueError: If the catalogue cannot be read at all.
        DataError: If a log cannot be read at all or, with ``strict``, if a row or picture cannot be used.
    """
    faults: list[SourceFault] = []

    def usable(items: Iterable[Read | SourceFault]) -> list[Read]:
        good: list[Read] = []
        for item in items:
            if not isinstance(item, SourceFault):
                good.append(item)
            elif strict:
                raise DataError(f"{item}; correct it, or build without --strict")
            else:
                faults.append(item)
        return good

    rows = await asyncio.to_thread(lambda: usable(_products(catalogue, reading)))
    products = {product.id: product for product in sorted(rows, key=lambda product: product.id)}
    sources = [_source("catalogue", catalogue, len(products))]
    read: dict[str, list[Any]] = {}
    for kind, path in sorted(logs.items()):
        read[kind] = await asyncio.to_thread(lambda: sorted(usable(LOGS[kind](path, products)), key=_canonical))  # noqa: B023 (awaited here)
        sources.append(_source(kind, path, len(read[kind])))
    staged = await staging.add(image for product in products.values() for image in product.images)
    reviews = {review.image: review for review in read.get("reviews", ()) if review.image is not None}
    staged_reviews = await staging.add(reviews)
    usable(
        _unreadable(catalogue, product.id, error)
        for product in products.values()
        for image in product.images
        if isinstance(error := staged[image], ImageError)
    )
    usable(
        _unreadable(logs["reviews"], f"review of {reviews[image].product}", error)
        for image, error in staged_reviews.items()
        if isinstance(error, ImageError)
    )
    pictures = {
        product.id: [found for image in product.images if isinstance(found := staged[image], str)]
        for product in products.values()
    }
    pictured = {(product, picture) for product, own in pictures.items() for picture in own} | {
        (review.product, found)
        for review in read.get("reviews", ())
        if review.image is not None and isinstance(found := staged_reviews[review.image], str)
    }
    counts = Counter(picture for _, picture in pictured)
    placeholders = {picture for picture, count in counts.items() if count > options.placeholder_products}
    # `strict` does not stop here: leaving out placeholders is a choice of the build, not a mistake in the data.
    faults += [
        SourceFault(
            source=catalogue.name if picture in staged.values() else logs["reviews"].name,
            item=picture,
            reason=PLACEHOLDER,
        )
        for picture in sorted(placeholders)
    ]
    shop = ShopData(
        products=products,
        pictures={
            product: tuple(each for each in own if each not in placeholders) for product, own in pictures.items()
        },
        review_pictures={
            image: found
            for image, found in staged_reviews.items()
            if isinstance(found, str) and found not in placeholders
        },
        **read,
    )
    return shop, sources, faults


def _products(catalogue: Path, reading: ReadingOptions | None) -> Iterator[Product | SourceFault]:
    for row in read_catalogue(catalogue, inspect_catalogue(catalogue, reading)):
        if isinstance(row, Product):
            yield row
            continue
        reason = "a value cannot be read" if isinstance(row, BadValue) else "the row is not a valid product"
        yield SourceFault(source=catalogue.name, item=row.item, reason=reason, detail=row.reason)


def _unreadable(source: Path, item: str, error: ImageError) -> SourceFault:
    return SourceFault(source=source.name, item=item, reason="the picture cannot be read", detail=str(error))


def _canonical(row: LogRow) -> str:
    return row.model_dump_json(context=WITH_LOCATIONS)


def _source(role: str, path: Path, rows: int) -> Source:
    with path.open("rb") as file:
        return Source(role=role, name=path.name, sha256=hashlib.file_digest(file, "sha256").hexdigest(), rows=rows)
