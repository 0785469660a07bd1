"""An image that is loaded only when something needs its pixels."""

from caslie_tools._concurrency import SingleFlight
from caslie_tools.domain import ImageRef
from caslie_tools.images.loading import ImageLoader, LoadedImage


class LazyImage:
    """An image reference together with the loader that may read it.

    The image is loaded at the first call of :meth:`load` and kept, so that several judges share one load. Calls that
    run at the same time on one event loop wait for the same load. A failed load is not kept: the next call tries again.

    Args:
        ref: Where the image is.
        loader: Reads the image within its own limits.
    """

    def __init__(self, ref: ImageRef, loader: ImageLoader) -> None:
        self.ref = ref
        self._loader = loader
        self._loaded: LoadedImage | None = None
        self._loads = SingleFlight[LoadedImage]()

    def __repr__(self) -> str:
        return f"LazyImage({self.ref.label!r})"

    async def load(self) -> LoadedImage:
        """Returns the loaded image.

        Raises:
            ImageError: If the image is missing, broken or over one of the loader's limits.
            ImageFetchError: If the image's URL cannot be fetched, or must not be.
        """
        if self._loaded is None:
            self._loaded = await self._loads(self.ref, lambda: self._loader.load(self.ref))
        return self._loaded
