"""Finds a stored caption of an image for a context, or makes one with EC3."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from caslie_tools._concurrency import ConcurrencyLimit, SingleFlight
from caslie_tools.domain import Caption, ImageRef, QueryContext, caption_key
from caslie_tools.exceptions import ImageError
from caslie_tools.images.loading import ImageLoader
from caslie_tools.pipeline.ec3 import EC3
from caslie_tools.roles.interfaces import CaptionRequest
from caslie_tools.roles.prompts import EC3_PROMPT_VERSION
from caslie_tools.roles.usage import Usage, track_usage
from caslie_tools.store import CaptionStore
from caslie_tools.tasks import PlacedImage

NOTHING_TO_DESCRIBE: Final = "the captioner found nothing to describe"
"""Message for an image that was captioned without an error, and has no caption."""

LoadRequest: TypeAlias = Callable[[], Awaitable[CaptionRequest]]
"""Loads an image and returns the request for EC3."""


@dataclass(frozen=True, kw_only=True)
class CaptionResult:
    """A caption and the cost of making it."""

    caption: Caption | None
    """``None`` if the captioner found nothing to describe. ``caption.source`` is ``cache`` for a stored caption."""
    usage: Usage = field(default_factory=Usage)
    """What the captioners' calls took. Callers that share one call all receive the usage of that call."""


@dataclass(frozen=True, kw_only=True)
class _Key:
    """Two calls with equal keys have the same result."""

    image: str | ImageRef
    """The SHA-256 of the image's bytes, or its reference while the hash is unknown."""
    context: QueryContext
    product: str | None
    reuse_threshold: float | None
    save: bool


class CaptionProvider:
    """Provides captions: a stored caption if there is one, else a new one from EC3.

    Equal calls share their work while it is in progress. Calls for the same image, by its hash or its reference, share
    the lookup, the loading and the caption, even while they wait for a free slot. Calls whose images turn out to have
    the same bytes share the captioner's call.

    Args:
        store: Holds the captions.
        ec3: Makes new captions.
        loader: Loads images.
        max_parallel_images: Number of images that are loaded and captioned at the same time, over all callers. Callers
            take turns by requester (:func:`~caslie_tools._concurrency.requested_by`). Stored captions need no slot.
    """

    def __init__(self, store: CaptionStore, ec3: EC3, loader: ImageLoader, *, max_parallel_images: int) -> None:
        self.store = store
        self.ec3 = ec3
        self.loader = loader
        self._limit = ConcurrencyLimit(max_parallel_images)
        self._requests = SingleFlight[CaptionResult]()
        self._captions = SingleFlight[CaptionResult]()

    async def get(
        self,
        image: PlacedImage,
        context: QueryContext,
        *,
        reuse_threshold: float | None = None,
        save: bool = False,
        load: LoadRequest | None = None,
    ) -> CaptionResult:
        """Returns a caption of an image for a context.

        Args:
            image: The image. If its hash is set, a stored caption is found without loading the image.
            context: What the caption is for.
            reuse_threshold: Minimum cosine similarity of two contexts at which a caption that was made for one is
                reused for the other. ``None`` reuses a caption only in the exact context it was made for.
            save: Whether a new caption is stored before it is returned.
            load: Loads the image and returns the request for EC3. By default the reference of ``image`` is loaded.

        Raises:
            ImageError: If the image is missing or cannot be read.
            ModelError: If every captioner failed.
            StoreError: If the new caption cannot be stored.
        """
        ref = image.ref
        if ref is None:
            raise ImageError("there is no image")

        async def load_reference() -> CaptionRequest:
            return CaptionRequest(image=await self.loader.load(ref), context=context, product=image.product)

        key = _Key(
            image=image.sha256 or ref,
            context=context,
            product=image.product,
            reuse_threshold=reuse_threshold,
            save=save,
        )
        return await self._requests(key, lambda: self._find_or_make(key, load or load_reference))

    async def _find_or_make(self, key: _Key, load: LoadRequest) -> CaptionResult:
        if stored := await self._find(key):
            return CaptionResult(caption=stored)
        async with self._limit():
            request = await load()
            loaded = replace(key, image=request.image.sha256, product=request.product)
            if loaded.image != key.image and (stored := await self._find(loaded)):
                return CaptionResult(caption=stored)
            return await self._captions(loaded, lambda: self._make(loaded, request))

    async def _make(self, key: _Key, request: CaptionRequest) -> CaptionResult:
        # Another call may have stored the caption while this one waited for its slot.
        if stored := await self._find(replace(key, reuse_threshold=None)):
            return CaptionResult(caption=stored)
        with track_usage() as usage:
            caption = await self.ec3.ainvoke(request)
        if caption is not None and key.save:
            await self.store.aput_captions([caption])
        return CaptionResult(caption=caption, usage=usage)

    async def _find(self, key: _Key) -> Caption | None:
        """Returns the stored caption by the first captioner that has one."""
        if not isinstance(key.image, str):
            return None
        for captioner in self.ec3.identities:
            if (stored := await asyncio.to_thread(self._find_by, captioner, key.image, key)) is not None:
                return stored
        return None

    def _find_by(self, captioner: str, image: str, key: _Key) -> Caption | None:
        if key.reuse_threshold is None:
            return self.store.get_caption(caption_key(image, key.context, captioner, EC3_PROMPT_VERSION))
        similar = self.store.find_caption(
            image,
            key.context,
            captioner=captioner,
            prompt_version=EC3_PROMPT_VERSION,
            threshold=key.reuse_threshold,
        )
        return None if similar is None else similar[0]
