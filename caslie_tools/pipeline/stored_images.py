"""References to images in a store take the place of locations and bytes, so that a state of a graph holds neither."""

import asyncio
import itertools
from collections.abc import Iterable, Mapping

from caslie_tools.domain import ImageRef, Product
from caslie_tools.images.loading import ImageLoader
from caslie_tools.images.reading import is_data_url
from caslie_tools.store import CaptionStore
from caslie_tools.tasks import Instance, PlacedImage


async def refer_to_store(
    images: Iterable[PlacedImage], products: Mapping[str, Product], store: CaptionStore
) -> tuple[PlacedImage, ...]:
    """Refers to images of products by their position in the store, and adds the hashes that the store has.

    Args:
        images: Images of an instance, those of each product in order.
        products: The products by id.
        store: The store that holds them.
    """
    positions = {product: itertools.count() for product in products}
    hashes = {product: await asyncio.to_thread(store.images_of, product) for product in products}
    placed: list[PlacedImage] = []
    for image in images:
        if image.product is None:
            placed.append(image)
            continue
        product = products[image.product]
        position = next(positions[product.id]) % len(product.images)  # a product may be asked for twice
        sha256 = next(iter(hashes[product.id][position : position + 1]), None)
        placed.append(image.model_copy(update={"ref": product.stored_image(position), "sha256": sha256}))
    return tuple(placed)


async def store_uploads(instance: Instance, store: CaptionStore, loader: ImageLoader) -> Instance:
    """Stores images that a request brought as bytes; returns the instance with references to them.

    Raises:
        ImageError: If an image cannot be read.
        StoreError: If the store cannot be written.
    """
    images: list[PlacedImage] = []
    for image in instance.images:
        if image.ref is not None and _has_bytes(image.ref):
            loaded = await loader.load(image.ref)
            image = image.model_copy(update={"ref": await asyncio.to_thread(store.put_upload, loaded.data)})
        images.append(image)
    return instance.model_copy(update={"images": tuple(images)})


def _has_bytes(ref: ImageRef) -> bool:
    return ref.data is not None or (ref.url is not None and is_data_url(ref.url))
