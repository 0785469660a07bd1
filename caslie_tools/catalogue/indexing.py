"""Indexes a catalogue in two passes: stores all products and images, then makes one general caption per image.

A captioner may compare an image with the images of other products. With two passes, all images are stored before the
first caption is made, so that the captions do not depend on the order of the products or on interruptions. An
interrupted run resumes: products and captions that are already stored are skipped.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from caslie_tools._concurrency import ConcurrencyLimit, requested_by, run_together
from caslie_tools.catalogue.format import ReadingOptions
from caslie_tools.catalogue.general_captions import general_context
from caslie_tools.catalogue.loading import load_catalogue
from caslie_tools.catalogue.reports import FailedItem, IndexReport
from caslie_tools.catalogue.upkeep import missing_products, remove_old_captions, why_not_prune
from caslie_tools.domain import ImageRef, Product, ProgressCallback
from caslie_tools.exceptions import CatalogueError, ImageError, ModelError, UnknownProductError
from caslie_tools.images.loading import LoadedImage
from caslie_tools.pipeline.captioning import NOTHING_TO_DESCRIBE
from caslie_tools.pipeline.pipeline import Pipeline
from caslie_tools.roles.interfaces import CaptionRequest
from caslie_tools.store import digest_product
from caslie_tools.tasks import PlacedImage

_BATCH_IMAGES = 8
"""Images that are read and stored in one batch. A large photo takes about 40 MB while it is embedded or captioned."""
_MAX_PARALLEL_READS = 8
_MAX_CACHED_BYTES = 256 * 1024 * 1024
"""Memory for encoded images from URLs, between the two passes. Images beyond it are fetched again."""


async def index_catalogue(
    path: Path,
    pipeline: Pipeline,
    *,
    reading: ReadingOptions | None = None,
    prune: bool = False,
    progress: ProgressCallback | None = None,
) -> IndexReport:
    """Indexes a catalogue file in the store of a pipeline.

    An image that was stored by a previous run and cannot be read now is reported, and its stored version is kept. An
    image behind a URL is fetched once and is assumed not to change. Files are compared by their content.

    Args:
        path: The catalogue; see :func:`~caslie_tools.catalogue.reading.read_catalogue`.
        pipeline: Store, captioners and limits.
        reading: What is known about the file.
        prune: Remove the products of the store that the file does not have, with what only they use. Nothing is removed
            if a row of the file cannot be read, because it may be any product.
        progress: Called for every finished product of each pass.

    Raises:
        CatalogueError: If the file cannot be read, or has no product.
        ModelError: If an embedding model failed. Products that are already stored are kept.
        StoreError: If the store cannot be written. Products that are already stored are kept.
    """
    loaded = await load_catalogue(path, reading)
    not_removed = why_not_prune(loaded.lost_rows) if prune else ""
    report = await index_products(
        loaded.products, pipeline, prune=prune and not not_removed, failed=loaded.failed, progress=progress
    )
    return report.model_copy(update={"format": loaded.format, "not_removed": not_removed})


async def index_products(
    products: Sequence[Product],
    pipeline: Pipeline,
    *,
    prune: bool = False,
    failed: Iterable[FailedItem] = (),
    progress: ProgressCallback | None = None,
) -> IndexReport:
    """Indexes products in the store of a pipeline; see :func:`index_catalogue`.

    Args:
        products: The products, with unique ids.
        pipeline: Store, captioners and limits.
        prune: Remove all other products of the store.
        failed: Items that failed before, for the report.
        progress: Called for every finished product of each pass.

    Raises:
        CatalogueError: If all products of the store would be removed because there are no products.
    """
    started = time.monotonic()
    if prune and not products:
        raise CatalogueError("the catalogue has no product, so all products of the store would be removed")
    run = _Run(pipeline, progress or (lambda *_: None))
    with requested_by(id(run)):
        await run.store_products(products)
        removed = await asyncio.to_thread(missing_products, products, pipeline.store) if prune else []
        await pipeline.store.adelete_products(removed)
        await run.store_captions(products)
        captions_removed = await remove_old_captions(pipeline)
    return IndexReport(
        products=len(products),
        images=run.images,
        captions_made=len(run.made),
        captions_reused=run.reused,
        skipped=run.skipped,
        failed=(*failed, *run.failures(products)),
        removed=tuple(removed),
        captions_removed=captions_removed,
        seconds=round(time.monotonic() - started, 3),
    )


class _Run:
    """The counters and the two passes of one run."""

    def __init__(self, pipeline: Pipeline, progress: ProgressCallback) -> None:
        self.pipeline = pipeline
        self.store = pipeline.store
        self.progress = progress
        self.images = self.reused = self.skipped = 0
        self.made: set[str] = set()
        """Keys of the new captions."""
        self.failed: dict[tuple[str, int], FailedItem] = {}
        """By the product's id and the position of the image."""
        self._read_limit = ConcurrencyLimit(_MAX_PARALLEL_READS)
        self._cached: dict[str, bytes] = {}
        self._cached_bytes = 0

    async def store_products(self, products: Sequence[Product]) -> None:
        """Runs the first pass: reads and stores new and changed products."""
        done = 0
        for batch in _batches(products):
            changed = [
                item for item in await run_together(self._read(product) for product in batch) if item is not None
            ]
            self.skipped += len(batch) - len(changed)
            if changed:
                await self.store.aput_products(changed)
            for product in batch:
                done += 1
                self.progress("reading", product.id, done, len(products))

    async def store_captions(self, products: Sequence[Product]) -> None:
        """Runs the second pass: makes the missing captions."""
        done = 0

        async def caption(product: Product) -> None:
            nonlocal done
            await self._caption_images(product)
            done += 1
            self.progress("captioning", product.id, done, len(products))

        for batch in _batches(products):
            await run_together(caption(product) for product in batch)

    async def _read(self, product: Product) -> tuple[Product, list[LoadedImage | str | None]] | None:
        """Returns a product with its images for the store, or ``None`` if the stored product has not changed."""
        digest, known = await asyncio.to_thread(self._stored, product.id)
        images = await run_together(
            self._read_image(product, position, known.get(ref)) for position, ref in enumerate(product.images)
        )
        hashes = [image.sha256 if isinstance(image, LoadedImage) else image for image in images]
        return None if digest == digest_product(product, hashes) else (product, images)

    def _stored(self, product_id: str) -> tuple[str | None, dict[ImageRef, str | None]]:
        try:
            references = self.store.get_product(product_id).images
        except UnknownProductError:
            return None, {}
        # If another process changes the product at the same time, the digest differs and the product is stored again.
        images = dict(zip(references, self.store.images_of(product_id), strict=False))
        return self.store.product_digest(product_id), images

    async def _read_image(self, product: Product, position: int, known: str | None) -> LoadedImage | str | None:
        """Returns an image, only its hash if the store contains it, or ``None`` if it cannot be read."""
        ref = product.images[position]
        if known is not None and ref.path is None:
            return known
        try:
            async with self._read_limit():
                if known is not None and await asyncio.to_thread(self.pipeline.loader.digest, ref) == known:
                    return known
                image = await self.pipeline.loader.load(ref)
        except ImageError as error:
            self._fail(product, position, str(error))
            return known
        if ref.url is not None and self._cached_bytes + len(image.data) <= _MAX_CACHED_BYTES:
            self._cached[image.sha256] = image.data
            self._cached_bytes += len(image.data)
        return image

    async def _caption_images(self, product: Product) -> None:
        stored = await self.store.aimages_of(product.id)
        for position, sha256 in enumerate(stored[: len(product.images)]):
            if sha256 is not None:
                self.images += 1
                await self._caption_image(product, position, stored)

    async def _caption_image(self, product: Product, position: int, stored: list[str | None]) -> None:
        context = general_context(product)
        # The product is part of the request: only the load below decides which product a shared image is captioned for.
        image = PlacedImage(ref=product.images[position], place=0, product=product.id, sha256=stored[position])

        async def load() -> CaptionRequest:
            loaded = await self._load_again(product, position, stored)
            # Several products may show the image: always leave out the same one of what the image resembles.
            first = next(iter(await self.store.aproducts_of(loaded.sha256)), None)
            return CaptionRequest(image=loaded, context=context, product=first)

        try:
            # Only in the exact context: otherwise the captions would depend on the order of the products. Stored at
            # once: a caption that was paid for is kept, even if the run is interrupted.
            caption = (await self.pipeline.captions.get(image, context, save=True, load=load)).caption
        except (ImageError, ModelError) as error:
            self._fail(product, position, str(error))
            return
        if caption is None:
            self._fail(product, position, NOTHING_TO_DESCRIBE)
        elif caption.source == "cache" or caption.key in self.made:  # made for another product with the same image
            self.reused += 1
        else:
            self.made.add(caption.key)

    async def _load_again(self, product: Product, position: int, stored: list[str | None]) -> LoadedImage:
        """Loads an image that the first pass stored; stores it again if it has changed since then."""
        expected, ref = stored[position], product.images[position]
        data = self._cached.get(expected or "")
        loaded = await self.pipeline.loader.load(ref if data is None else ImageRef(data=data))
        if loaded.sha256 != expected:  # changed since this run or an interrupted run stored it
            changed: list[LoadedImage | str | None] = [*stored]
            changed[position] = loaded
            await self.store.aput_products([(product, changed)])
            stored[position] = loaded.sha256
        return loaded

    def failures(self, products: Sequence[Product]) -> Iterator[FailedItem]:
        """Yields the failed images in the order of the products and their images."""
        places = ((product.id, position) for product in products for position in range(len(product.images)))
        return (self.failed[place] for place in places if place in self.failed)

    def _fail(self, product: Product, position: int, reason: str) -> None:
        item = FailedItem(item=f"{product.id}: {product.images[position]}", reason=reason)
        self.failed.setdefault((product.id, position), item)


def _batches(products: Iterable[Product]) -> Iterator[list[Product]]:
    batch: list[Product] = []
    images = 0
    for product in products:
        batch.append(product)
        images += max(1, len(product.images))
        if images >= _BATCH_IMAGES:
            yield batch
            batch, images = [], 0
    if batch:
        yield batch
