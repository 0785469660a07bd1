import base64
import json
from typing import Any

import pytest

from caslie_tools.domain import ImageRef
from caslie_tools.exceptions import InputError
from caslie_tools.pipeline.pipeline import Pipeline, Request
from caslie_tools.settings import Settings
from caslie_tools.store import CaptionStore
from tests.doubles import HashEmbeddings, HashPictures, draw_picture, light_models

MUG: dict[str, Any] = {"query": "red mug", "product title": "Stoneware mug"}


@pytest.fixture
def store() -> CaptionStore:
    return CaptionStore.in_memory(HashEmbeddings(), image_embeddings=HashPictures())


def pipeline(store: CaptionStore, **settings: Any) -> Pipeline:
    return Pipeline(store, light_models(), Settings(quorum=1, **settings))


def data_url(size: int) -> ImageRef:
    return ImageRef(url=f"data:image/png;base64,{base64.b64encode(bytes(size)).decode()}")


def test_a_question_with_more_images_than_are_used_is_refused(store: CaptionStore) -> None:
    images = (ImageRef(url="https://shop.example/a.png"),) * 3
    with pytest.raises(InputError, match="the question has 3 images, more than 2; send fewer"):
        pipeline(store, max_images=2).validate(Request(question="?", images=images))


@pytest.mark.parametrize("images", [(ImageRef(data=bytes(600)),) * 2, (data_url(600), None, data_url(600))])
@pytest.mark.parametrize("request_", [{"question": "?"}, {"task": "psi", "record": {"input": MUG}}])
def test_images_that_are_too_large_together_are_refused(
    store: CaptionStore, images: tuple[ImageRef | None, ...], request_: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match=r"the images of the request have 1,2\d\d bytes, more than 1,000"):
        pipeline(store, max_request_bytes=1000).validate(Request(**request_, images=images))


def test_so_are_those_of_a_record(store: CaptionStore) -> None:
    record = {"input": MUG, "images": json.dumps([data_url(2000).url])}
    with pytest.raises(InputError, match="the images of the request have"):
        pipeline(store, max_request_bytes=1000).validate(Request(task="psi", record=record))


def test_urls_of_the_web_do_not_count(store: CaptionStore) -> None:
    images = (ImageRef(url=f"https://shop.example/{'a' * 2000}.png"),)
    assert pipeline(store, max_request_bytes=1000).validate(Request(question="?", images=images)) is None


@pytest.mark.parametrize(
    "record",
    [
        {"input": MUG | {"query": "x" * 1_000_001}},
        {"input": ["x" * 600_000, "y" * 600_000]},
        {"x" * 1_000_001: 1},
        [["x" * 1_000_001]],
    ],
)
def test_an_instance_with_too_much_text_is_refused(store: CaptionStore, record: Any) -> None:
    with pytest.raises(InputError, match=r"the instance has 1,\d\d\d,\d\d\d characters"):
        pipeline(store).validate(Request(task="psi", record=record))


async def test_only_the_image_that_is_searched_for_is_loaded_to_find_products(store: CaptionStore) -> None:
    broken = ImageRef(data=b"not an image")
    request = Request(question="Which one?", images=(ImageRef(data=draw_picture("A", "red")), *[broken] * 20))
    instance = await pipeline(store).retrieve(request)
    assert sum(image.ref == broken for image in instance.images) == 20
