"""Keeps a store true to its catalogue: what a run would change, products to remove, and old captions."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

from caslie_tools.catalogue.format import ReadingOptions
from caslie_tools.catalogue.general_captions import general_context
from caslie_tools.catalogue.loading import load_catalogue
from caslie_tools.catalogue.reports import IndexPreview
from caslie_tools.domain import Caption, Product
from caslie_tools.exceptions import ImageError
from caslie_tools.images.loading import ImageLoader
from caslie_tools.pipeline.pipeline import Pipeline
from caslie_tools.store import CaptionStore

_SECONDS_PER_DAY: Final = 24 * 3600

_State: TypeAlias = Literal["new", "changed", "unchanged"]


async def preview_catalogue(
    path: Path, pipeline: Pipeline, *, reading: ReadingOptions | None = None, prune: bool = False
) -> IndexPreview:
    """Tells what indexing a catalogue file would change. Nothing is written, captioned or fetched from the web.

    Args:
        path: The catalogue.
        pipeline: The store, and the limits for reading images.
        reading: What is known about the file.
        prune: Whether products of the store that the file does not have are to be removed.

    Raises:
        CatalogueError: If the file cannot be read, or has no product.
    """
    loaded = await load_catalogue(path, reading)
    not_removed = why_not_prune(loaded.lost_rows) if prune else ""
    preview = await preview_products(loaded.products, pipeline, prune=prune and not not_removed)
    return preview.model_copy(update={"failed": loaded.failed, "format": loaded.format, "not_removed": not_removed})


async def preview_products(products: Sequence[Product], pipeline: Pipeline, *, prune: bool = False) -> IndexPreview:
    """Tells what indexing products would change; see :func:`preview_catalogue`."""
    ids: dict[_State, list[str]] = {"new": [], "changed": [], "unchanged": []}
    for product in products:
        ids[await asyncio.to_thread(_state, product, pipeline.store, pipeline.loader)].append(product.id)
    removed = await asyncio.to_thread(missing_products, products, pipeline.store) if prune else ()
    return IndexPreview(
        new=tuple(ids["new"]), changed=tuple(ids["changed"]), unchanged=len(ids["unchanged"]), removed=tuple(removed)
    )


def why_not_prune(lost_rows: int) -> str:
    """Returns why no product may be removed, or an empty text.

    Args:
        lost_rows: Rows of the file that are not a product. Each may be any product of the store.
    """
    if not lost_rows:
        return ""
    rows = "1 row" if lost_rows == 1 else f"{lost_rows} rows"
    return f"no product was removed, because {rows} of the catalogue cannot be read; correct the file and try again"


def missing_products(products: Iterable[Product], store: CaptionStore) -> list[str]:
    """Returns the ids of the store's products that a catalogue does not have, sorted."""
    return sorted(set(store.product_ids()) - {product.id for product in products})


async def remove_old_captions(pipeline: Pipeline) -> int:
    """Removes captions that are out of date: general ones for old texts, and those for questions that nobody asks.

    The last general caption of an image by a captioner stays, so that a captioner that fails costs no caption.

    Args:
        pipeline: The store and the settings.

    Returns:
        The number of captions that were removed.
    """
    store = pipeline.store
    outdated = await asyncio.to_thread(_outdated_general_captions, store)
    await store.aremove_captions(outdated)
    days = pipeline.settings.caption_unused_days
    unused = 0 if days is None else await store.aremove_unused_captions(days * _SECONDS_PER_DAY)
    return len(outdated) + unused


def _outdated_general_captions(store: CaptionStore) -> list[str]:
    captions: dict[tuple[str, str], list[Caption]] = {}
    for caption in store.repeated_general_captions():
        captions.setdefault((caption.image, caption.captioner), []).append(caption)
    outdated: list[str] = []
    for (image, _), found in captions.items():
        current = {general_context(product) for product in map(store.find_product, store.products_of(image)) if product}
        if any(caption.context in current for caption in found):
            outdated += [caption.key for caption in found if caption.context not in current]
    return outdated


def _state(product: Product, store: CaptionStore, loader: ImageLoader) -> _State:
    found = store.find_product(product.id)
    if found is None:
        return "new"
    if found != product:
        return "changed"
    for ref, stored in zip(product.images, store.images_of(product.id), strict=False):
        if stored is None:
            return "changed"  # it could not be read before, and is tried again
        if ref.path is not None:
            try:
                if loader.digest(ref) != stored:
                    return "changed"
            except ImageError:
                continue  # it cannot be read now: what is stored stays
    return "unchanged"
