"""Tests with real product photos. They are skipped if the photos are not available."""

from caslie_tools.backends.embedded import EmbeddedCaptioner
from caslie_tools.domain import ImageRef, QueryContext
from caslie_tools.images.loading import ImageLoader, LoadedImage
from caslie_tools.roles.interfaces import CaptionRequest
from caslie_tools.store import CaptionStore
from tests.backends.embedded.images import put
from tests.paths import GROCERY, needs_grocery

pytestmark = needs_grocery


def packshot(name: str) -> LoadedImage:
    return ImageLoader().load_sync(ImageRef(path=GROCERY / "images" / f"{name}.jpg"))


async def test_the_text_on_a_carton_is_recognised(captioner: EmbeddedCaptioner) -> None:
    context = QueryContext(task="product_qa", focus="What does the label say?", known="a carton")
    draft = await captioner.ainvoke(CaptionRequest(image=packshot("Bravo-Orange-Juice"), context=context))

    assert "BRAVO" in draft.text
    assert "APELSIN" in draft.text


async def test_an_apple_resembles_apples(captioner: EmbeddedCaptioner, store: CaptionStore) -> None:
    for name, category in (("Pink-Lady", "Apple"), ("Red-Delicious", "Apple"), ("Leek", "Leek"), ("Ginger", "Ginger")):
        put(store, name, packshot(name), category=f"Food > {category}")
    context = QueryContext(task="category_classification", aim="finding the category")
    draft = await captioner.ainvoke(CaptionRequest(image=packshot("Royal-Gala"), context=context))

    assert draft.text.startswith("It resembles")
    assert draft.evidence[0].text == "Food > Apple"
