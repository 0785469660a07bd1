import asyncio

import pytest

from caslie_tools.domain import ImageRef
from caslie_tools.exceptions import ImageError
from caslie_tools.images.lazy import LazyImage
from caslie_tools.images.loading import ImageLimits, ImageLoader, LoadedImage
from tests.doubles import draw_picture

PICTURE = draw_picture("350 ML", "red")


class CountingLoader(ImageLoader):
    """Counts its loads. The first ``failures`` loads fail."""

    def __init__(self, *, failures: int = 0) -> None:
        super().__init__()
        self.loads = 0
        self.failures = failures

    async def load(self, ref: ImageRef) -> LoadedImage:
        self.loads += 1
        if self.loads <= self.failures:
            raise ImageError("the server of the image is busy")
        return await super().load(ref)


async def test_concurrent_and_later_calls_share_one_load() -> None:
    loader = CountingLoader()
    image = LazyImage(ImageRef(data=PICTURE), loader)
    assert loader.loads == 0
    first, second = await asyncio.gather(image.load(), image.load())
    assert first is second is await image.load()
    assert loader.loads == 1


async def test_a_cancelled_caller_does_not_cancel_the_load_of_the_others() -> None:
    image = LazyImage(ImageRef(data=PICTURE), ImageLoader())
    first, second = asyncio.create_task(image.load()), asyncio.create_task(image.load())
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).data == PICTURE


async def test_a_failed_load_is_tried_again() -> None:
    loader = CountingLoader(failures=1)
    image = LazyImage(ImageRef(data=PICTURE), loader)
    with pytest.raises(ImageError, match="busy"):
        await image.load()
    assert (await image.load()).data == PICTURE
    assert loader.loads == 2


async def test_the_limits_are_those_of_the_loader() -> None:
    image = LazyImage(ImageRef(data=PICTURE), ImageLoader(ImageLimits(max_bytes=100)))
    with pytest.raises(ImageError, match="larger than 100 bytes"):
        await image.load()


def test_its_text_shows_no_bytes() -> None:
    assert repr(LazyImage(ImageRef(data=b"123"), ImageLoader())) == "LazyImage('3 bytes')"
