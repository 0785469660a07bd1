"""Indexes a catalogue: products and pictures first, then one general caption per picture.

Two passes, so that a caption may say which other products a picture resembles and still come out the same however
often the run was interrupted. Whatever was stored stays stored; a run that goes on skips it.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal, TypeAlias

from caslie_tools._concurrency import Bound
from caslie_tools.catalogue import BadRow, read_catalogue
from caslie_tools.domain import ImageRef, Model, Product, QueryContext
from caslie_tools.exceptions import ImageError, ModelError
from caslie_tools.images import LoadedImage
from caslie_tools.sight import Sight
from caslie_tools.store.products import digest_product

_BATCH = 16
_PARALLEL_LOADS = 8
_KNOWN_CHARACTERS = 2000

Progress: TypeAlias = Callable[[Literal["reading", "captioning"], str, int, int], None]
"""Called with the pass, the item just finished, how many are done and how many there are."""


class FailedItem(Model):
    """Something that could not be indexed."""

    item: str
    """A product's id, a row's line, or ``product: image``."""
    reason: str


class IndexReport(Model):
    """What a run did. Counts are of this catalogue, not of the store."""

    products: int
    """Products of the catalogue that are in the store now."""
    images: int
    """Their images that could be read."""
    captions_made: int
    captions_reused: int
    """Images that had a fitting caption already."""
    skipped: int
    """Products that were in the store already, unchanged."""
    failed: tuple[FailedItem, ...]
    seconds: float


def general_context(product: Product) -> QueryContext:
    """Returns the context of the caption every picture gets when it is indexed, before anybody asked anything."""
    return QueryContext(
        task="index",
        aim="telling shoppers what the product is, what its label says and how it looks",
        known=product.text[:_KNOWN_CHARACTERS],
        question="Does the information from the image tell shoppers something about this product?",
    )


async def index_catalogue(path: Path, sight: Sight, *, progress: Progress | None = None) -> IndexReport:
    """Indexes a catalogue file into a sight's store.

    Args:
        path: The catalogue; see :func:`~caslie_tools.catalogue.read_catalogue`.
        sight: Store, captioners and limits.
        progress: Told of every finished item.

    Raises:
        CatalogueError: If the file cannot be read at all.
        StoreError: If the store cannot be written. What was stored before stays.
    """
    rows = await asyncio.to_thread(lambda: list(read_catalogue(path)))
    products = [row for row in rows if isinstance(row, Product)]
    failed = [FailedItem(item=row.item, reason=row.reason) for row in rows if isinstance(row, BadRow)]
    return await index_products(products, sight, failed=failed, progress=progress)


async def index_products(
    products: Sequence[Product],
    sight: Sight,
    *,
    failed: Iterable[FailedItem] = (),
    progress: Progress | None = None,
) -> IndexReport:
    """Indexes products into a sight's store; arguments and errors as for :func:`index_catalogue`."""
    started = time.monotonic()
    run = _Run(sight, list(failed), progress or (lambda *_: None))
    await run.store_products(products)
    await run.store_captions(products)
    return IndexReport(
        products=len(products),
        images=run.images,
        captions_made=run.made,
        captions_reused=run.reused,
        skipped=run.skipped,
        failed=tuple(run.failed),
        seconds=round(time.monotonic() - started, 3),
    )


class _Run:
    """One run's counters and its two passes."""

    def __init__(self, sight: Sight, failed: list[FailedItem], progress: Progress) -> None:
        self.sight = sight
        self.store = sight.store
        self.failed = failed
        self.progress = progress
        self.loading = Bound(_PARALLEL_LOADS)
        self.images = self.made = self.reused = self.skipped = 0

    async def store_products(self, products: Sequence[Product]) -> None:
        done = 0
        for batch in _batches(products):
            unchanged = await asyncio.gather(*(asyncio.to_thread(self._unchanged, product) for product in batch))
            changed = [product for product, same in zip(batch, unchanged, strict=True) if not same]
            self.skipped += len(batch) - len(changed)
            loaded = await asyncio.gather(*(self._load_all(product) for product in changed))
            if loaded:
                await asyncio.to_thread(self.store.put_products, loaded)
            for product in batch:
                done += 1
                self.progress("reading", product.id, done, len(products))

    async def store_captions(self, products: Sequence[Product]) -> None:
        done = 0
        for batch in _batches(products):
            for finished in asyncio.as_completed([self._caption(product) for product in batch]):
                product = await finished
                done += 1
                self.progress("captioning", product.id, done, len(products))

    def _unchanged(self, product: Product) -> bool:
        if (stored := self.store.product_digest(product.id)) is None:
            return False
        known = dict(enumerate(self.store.images_of(product.id)))
        # A file is read again to see whether it changed; what is behind a URL is taken to stay.
        hashes = [
            known.get(position) if ref.path is None else _file_digest(ref.path)
            for position, ref in enumerate(product.images)
        ]
        return None not in hashes and stored == digest_product(product, hashes)

    async def _load_all(self, product: Product) -> tuple[Product, list[LoadedImage | None]]:
        return product, list(await asyncio.gather(*(self._load(product, ref) for ref in product.images)))

    async def _load(self, product: Product, ref: ImageRef) -> LoadedImage | None:
        try:
            async with self.loading():
                return await self.sight.loader.load(ref)
        except ImageError as error:
            self.failed.append(FailedItem(item=f"{product.id}: {ref}", reason=str(error)))
            return None

    async def _caption(self, product: Product) -> Product:
        context = general_context(product)
        known = await asyncio.to_thread(self.store.images_of, product.id)
        for ref, sha256 in zip(product.images, known, strict=True):
            if sha256 is None:
                continue
            self.images += 1
            if await self.sight.find(sha256, context):
                self.reused += 1
                continue
            try:
                caption = await self.sight.make(await self.sight.loader.load(ref), context, product=product.id)
            except (ImageError, ModelError) as error:
                self.failed.append(FailedItem(item=f"{product.id}: {ref}", reason=str(error)))
                continue
            if caption is not None:
                # At once, not at the end of a batch: what was paid for is kept, whatever happens next.
                await asyncio.to_thread(self.store.put_captions, [caption])
                self.made += 1
        return product


def _batches(products: Sequence[Product]) -> Iterator[list[Product]]:
    iterator = iter(products)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def _file_digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
