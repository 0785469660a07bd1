import base64
from pathlib import Path

import pytest

from caslie_tools import build_graph
from caslie_tools.domain import ImageRef
from caslie_tools.exceptions import ImageError
from caslie_tools.images.loading import ImageLoader
from caslie_tools.pipeline.stored_images import refer_to_store, store_uploads
from caslie_tools.store import CaptionStore
from caslie_tools.tasks import Instance, PlacedImage
from caslie_tools.tasks.product_qa import product_question
from tests.doubles import HashEmbeddings, HashPictures, draw_picture, light_products
from tests.graphs.pipelines import pipeline_with

MUG = draw_picture("350 ML", "blue")
DATA_URL = f"data:image/png;base64,{base64.b64encode(MUG).decode()}"


@pytest.fixture
def store(tmp_path: Path) -> CaptionStore:
    return CaptionStore.open(tmp_path / "store", HashEmbeddings(), image_embeddings=HashPictures())


async def test_images_of_products_are_named_by_their_position(store: CaptionStore, tmp_path: Path) -> None:
    products = light_products(tmp_path)
    loader = ImageLoader()
    store.put_products([(each, [await loader.load(ref) for ref in each.images]) for each in products])
    jacket = next(each for each in products if each.id == "jacket")
    own = ImageRef(data=MUG)
    images = product_question("?", [jacket, jacket], [own]).images
    placed = await refer_to_store(images, {"jacket": jacket}, store)
    positions = [image.ref.stored if image.ref else None for image in placed]
    assert positions == [*["product/0/jacket", "product/1/jacket"] * 2, None]
    assert [image.sha256 for image in placed] == [*store.images_of("jacket") * 2, None]
    assert placed[-1].ref == own


@pytest.mark.parametrize("own", [ImageRef(data=MUG), ImageRef(url=DATA_URL)])
async def test_bytes_are_stored_and_other_references_stay(store: CaptionStore, own: ImageRef) -> None:
    web = PlacedImage(ref=ImageRef(url="https://shop.example/a.png"), place=0)
    missing = PlacedImage(ref=None, place=1)
    instance = Instance(task="psi", input={}, images=(PlacedImage(ref=own, place=0), web, missing))
    loader = ImageLoader(resolve=store.resolve_image)
    first, *others = (await store_uploads(instance, store, loader)).images
    assert others == [web, missing]
    assert first.ref is not None
    assert first.ref.stored is not None
    assert (await loader.load(first.ref)).data == MUG


async def test_an_upload_that_is_no_image_is_refused(store: CaptionStore) -> None:
    instance = Instance(task="psi", input={}, images=(PlacedImage(ref=ImageRef(data=b"text"), place=0),))
    with pytest.raises(ImageError):
        await store_uploads(instance, store, ImageLoader())


async def test_the_state_of_a_graph_holds_no_bytes(store: CaptionStore) -> None:
    graph = build_graph(pipeline_with(store, store_uploads=True))
    state = await graph.ainvoke({"question": "How many ML?", "images": [DATA_URL]})
    (result,) = state["image_results"]
    assert result.image.ref.stored.startswith("upload/")
    assert "350 ML" in result.caption.text
