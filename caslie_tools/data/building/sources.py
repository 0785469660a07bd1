"""Reads a shop's sources: the catalogue, its logs and all their pictures."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from caslie_tools.catalogue.reading import BadRow, read_catalogue
from caslie_tools.data.building.logs import Fault, LogRow, read_events, read_questions, read_reviews, read_searches
from caslie_tools.data.building.options import BuildOptions
from caslie_tools.data.building.pictures import PictureShelf
from caslie_tools.data.building.report import Source
from caslie_tools.data.building.shop import Shop
from caslie_tools.domain import Product
from caslie_tools.exceptions import DataError, ImageError

LOGS: Mapping[str, Callable[..., Iterator[Any]]] = {
    "searches": read_searches,
    "reviews": read_reviews,
    "questions": read_questions,
    "events": read_events,
}
"""Readers of the logs, by kind."""

Read = TypeVar("Read")


async def read_shop(
    catalogue: Path, logs: Mapping[str, Path], options: BuildOptions, shelf: PictureShelf, *, strict: bool
) -> tuple[Shop, list[Source], list[Fault]]:
    """Reads a shop's sources and shelves the pictures; what cannot be used is returned, or, when strict, raised.

    Args:
        catalogue: See :func:`~caslie_tools.catalogue.reading.read_catalogue`.
        logs: Files by kind, of :data:`LOGS`.
        options: What counts as a placeholder.
        shelf: Takes the pictures.
        strict: Stop at the first row or picture that cannot be used.

    Raises:
        CatalogueError: If the catalogue cannot be read at all.
        DataError: If a log cannot be read at all, or, when strict, something cannot be used.
    """
    faults: list[Fault] = []

    def usable(items: Iterable[Read | Fault]) -> list[Read]:
        good: list[Read] = []
        for item in items:
            if not isinstance(item, Fault):
                good.append(item)
            elif strict:
                raise DataError(f"{item}; mend it, or build without --strict")
            else:
                faults.append(item)
        return good

    rows = await asyncio.to_thread(lambda: usable(_products(catalogue)))
    products = {product.id: product for product in sorted(rows, key=lambda product: product.id)}
    sources = [_source("catalogue", catalogue, len(products))]
    read: dict[str, list[Any]] = {}
    for kind, path in sorted(logs.items()):
        read[kind] = await asyncio.to_thread(lambda: sorted(usable(LOGS[kind](path, products)), key=_canonical))  # noqa: B023 (awaited here)
        sources.append(_source(kind, path, len(read[kind])))
    shelved = await shelf.put(image for product in products.values() for image in product.images)
    reviews = {review.image: review for review in read.get("reviews", ()) if review.image is not None}
    shelved_reviews = await shelf.put(reviews)
    usable(
        Fault(source=catalogue.name, item=product.id, reason="a picture cannot be read", detail=str(shelved[image]))
        for product in products.values()
        for image in product.images
        if isinstance(shelved[image], ImageError)
    )
    usable(
        Fault(
            source=logs["reviews"].name,
            item=f"review of {reviews[image].product}",
            reason="a picture cannot be read",
            detail=str(found),
        )
        for image, found in shelved_reviews.items()
        if isinstance(found, ImageError)
    )
    pictures = {
        product.id: [found for image in product.images if isinstance(found := shelved[image], str)]
        for product in products.values()
    }
    shows = {(product, picture) for product, own in pictures.items() for picture in own} | {
        (review.product, found)
        for review in read.get("reviews", ())
        if review.image is not None and isinstance(found := shelved_reviews[review.image], str)
    }
    sharing = Counter(picture for _, picture in shows)
    placeholders = {picture for picture, count in sharing.items() if count > options.placeholder_products}
    # A choice, not a mistake: strict does not stop at it.
    faults += [
        Fault(
            source=catalogue.name if picture in shelved.values() else logs["reviews"].name,
            item=picture,
            reason="a picture of so many products is a placeholder",
        )
        for picture in sorted(placeholders)
    ]
    shop = Shop(
        products=products,
        pictures={product: tuple(one for one in own if one not in placeholders) for product, own in pictures.items()},
        review_pictures={
            image: found
            for image, found in shelved_reviews.items()
            if isinstance(found, str) and found not in placeholders
        },
        **read,
    )
    return shop, sources, faults


def _products(catalogue: Path) -> Iterator[Product | Fault]:
    for row in read_catalogue(catalogue):
        if isinstance(row, BadRow):
            yield Fault(source=catalogue.name, item=row.item, reason="it is no product", detail=row.reason)
        else:
            yield row


def _canonical(row: LogRow) -> str:
    return row.model_dump_json()


def _source(role: str, path: Path, rows: int) -> Source:
    with path.open("rb") as file:
        return Source(role=role, name=path.name, sha256=hashlib.file_digest(file, "sha256").hexdigest(), rows=rows)
