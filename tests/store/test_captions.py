from collections.abc import Callable

import pytest

from caslie_tools.domain import GENERAL_TASK, Caption, Evidence, Product, QueryContext
from caslie_tools.exceptions import InputError
from caslie_tools.store import CaptionStore
from tests.doubles import HashEmbeddings
from tests.store.items import caption, picture, put_kept, shown

RED, BLUE = "a" * 64, "b" * 64


def _find(store: CaptionStore, focus: str, image: str = RED, threshold: float = 0.5, **changes: str) -> object:
    options = {"captioner": "camera", "prompt_version": "1"} | changes
    context = QueryContext(task="product_qa" if focus else GENERAL_TASK, focus=focus)
    found = store.find_caption(image, context, threshold=threshold, **options)
    return None if found is None else (found[0].text, round(found[1], 3))


@pytest.fixture
def filled(store: CaptionStore) -> CaptionStore:
    store.put_captions(
        [
            caption(RED, "A red mug.", "which colour is the mug"),
            caption(RED, "It holds 350 ml.", "how much does the mug hold"),
            caption(RED, "A mug on a table."),
        ]
    )
    return store


def test_the_same_context_is_found_without_calling_the_model(reopen: Callable[..., CaptionStore]) -> None:
    with reopen() as store:
        store.put_captions([caption(RED, "A red mug.", "which colour is the mug")])
    embeddings = HashEmbeddings()
    store = reopen(embeddings=embeddings)
    assert _find(store, "which colour is the mug", threshold=2) == ("A red mug.", 1.0)
    assert embeddings.texts == []


def test_the_nearest_context_is_found_above_the_threshold(filled: CaptionStore) -> None:
    assert _find(filled, "what colour is this mug") == ("A red mug.", 1.0)  # the same words
    assert _find(filled, "how much water does the mug hold") == ("It holds 350 ml.", pytest.approx(0.85, abs=0.1))
    assert _find(filled, "how much water does the mug hold", threshold=0.99) is None
    assert _find(filled, "dishwasher safe") is None


def test_the_source_of_a_found_caption_is_the_cache(filled: CaptionStore) -> None:
    context = QueryContext(task="product_qa", focus="which colour is the mug")
    found = filled.find_caption(RED, context, captioner="camera", prompt_version="1", threshold=1)
    assert found is not None
    assert found[0] == caption(RED, "A red mug.", "which colour is the mug").model_copy(
        update={"source": "cache", "created_at": found[0].created_at}
    )
    assert {stored.source for stored in filled.captions()} == {"cache"}


@pytest.mark.parametrize(
    "changes",
    [{"image": BLUE}, {"captioner": "another"}, {"prompt_version": "2"}],
    ids=lambda changes: next(iter(changes)),
)
def test_captions_of_another_image_captioner_or_prompt_are_not_found(
    filled: CaptionStore, changes: dict[str, str]
) -> None:
    assert _find(filled, "which colour is the mug", threshold=-1, **changes) is None


def test_captions_for_another_task_have_their_own_key(filled: CaptionStore) -> None:
    context = QueryContext(task="another_task", focus="which colour is the mug")
    found = filled.find_caption(RED, context, captioner="camera", prompt_version="1", threshold=0.9)
    assert found is not None  # near, because the focus is the same
    assert found[0].context.task == "product_qa"
    filled.put_captions([found[0].model_copy(update={"key": "other", "context": context, "text": "For another task."})])
    assert len(filled.captions(image=RED)) == 4  # but it is another caption


def test_a_general_caption_is_reused_only_in_the_same_context(filled: CaptionStore) -> None:
    assert _find(filled, "", threshold=-1) == ("A mug on a table.", 1.0)
    other = QueryContext(task="another_task")
    assert filled.find_caption(RED, other, captioner="camera", prompt_version="1", threshold=-1) is None


def test_a_caption_is_not_reused_if_the_numbers_differ(store: CaptionStore) -> None:
    store.put_captions([caption(RED, "It does not hold 500 ml.", "does the mug hold 500 ml")])
    assert _find(store, "does the mug hold 350 ml") is None
    assert _find(store, "can the mug hold 500 ml") == ("It does not hold 500 ml.", pytest.approx(0.9, abs=0.11))


def test_of_two_contexts_at_the_same_distance_the_lower_key_is_chosen(store: CaptionStore) -> None:
    captions = [caption(RED, text, focus) for text, focus in [("one", "colour of mug"), ("two", "mug of colour")]]
    lowest = min(captions, key=lambda found: found.key)
    for order in (captions, captions[::-1]):
        store.put_captions(order)
        assert _find(store, "mug colour please") == (lowest.text, pytest.approx(0.8, abs=0.2))


def test_storing_again_changes_nothing_and_another_text_replaces_the_caption(filled: CaptionStore) -> None:
    put_kept(filled, filled.captions())
    before = filled.stats().model_copy(update={"bytes": 0})
    first = caption(RED, "A red mug.", "which colour is the mug")
    filled.put_captions([first, first])
    assert filled.stats().model_copy(update={"bytes": 0}) == before
    put_kept(filled, [first.model_copy(update={"text": "A crimson mug."})])
    assert filled.similarity_search("crimson", k=1)[0].page_content == "A crimson mug."
    assert filled.stats().model_copy(update={"bytes": 0}) == before
    assert _find(filled, "which colour is the mug") == ("A crimson mug.", 1.0)


def test_evidence_is_stored(store: CaptionStore) -> None:
    given = caption(RED, "A label.", "label").model_copy(
        update={"evidence": (Evidence(kind="text", text="350 ML", score=0.93),), "source": "generated"}
    )
    store.put_captions([given])
    kept = store.get_caption(given.key)
    assert isinstance(kept, Caption)
    assert kept == given.model_copy(update={"source": "cache"})
    assert store.get_caption("nothing") is None


def test_an_empty_caption_is_stored_but_no_search_finds_it(store: CaptionStore) -> None:
    store.put_captions([caption(RED, "  ", "which colour")])
    assert _find(store, "which colour") == ("  ", 1.0)
    assert store.similarity_search("which colour", k=9) == []


def test_captions_can_be_listed_by_product_and_by_image(store: CaptionStore) -> None:
    red, blue = picture("red"), picture("blue")
    store.put_products([shown(Product(id="1"), red, None), shown(Product(id="2"), red, blue)])
    store.put_captions([caption(red, "R"), caption(blue, "B"), caption(RED, "elsewhere")])
    assert [stored.text for stored in store.captions("1")] == ["R"]
    assert [stored.text for stored in store.captions("2")] == ["R", "B"]
    assert [stored.text for stored in store.captions(image=blue.sha256)] == ["B"]
    assert store.captions("1", image=blue.sha256) == []
    assert sorted(stored.text for stored in store.captions()) == ["B", "R", "elsewhere"]


def test_equal_query_texts_are_embedded_once(reopen: Callable[..., CaptionStore]) -> None:
    with reopen() as store:
        store.put_captions([caption(image, "A mug.", "what is it") for image in (RED, BLUE)])
    embeddings = HashEmbeddings()
    store = reopen(embeddings=embeddings)
    for image in (RED, BLUE, RED):
        assert _find(store, "what is this", image=image) is not None
    store.similarity_search("what is this")
    assert embeddings.texts.count("what is this") == 1


def test_observations_are_stored_by_image_and_observer(store: CaptionStore) -> None:
    assert store.get_observation(RED, "model-1") is None
    store.put_observation(RED, "model-1", {"tags": [["lemon", 0.7]]})
    store.put_observation(RED, "model-2", {})
    store.put_observation(RED, "model-1", {"tags": []})
    assert store.get_observation(RED, "model-1") == {"tags": []}
    assert store.get_observation(RED, "model-2") == {}
    assert store.get_observation(BLUE, "model-1") is None
    with pytest.raises(InputError, match="model-1"):
        store.put_observation(RED, "model-1", {"score": float("nan")})
    with pytest.raises(InputError, match="model-1"):
        store.put_observation(RED, "model-1", {"when": object()})


async def test_async_twins_return_the_same_results(store: CaptionStore) -> None:
    given = caption(RED, "A red mug.", "which colour")
    await store.aput_captions([given])
    found = await store.afind_caption(RED, given.context, captioner="camera", prompt_version="1", threshold=1)
    assert found is not None
    assert await store.aget_caption(given.key) == found[0]
    assert await store.acaptions(image=RED) == [found[0]]
    await store.aput_observation(RED, "model", {"a": 1})
    assert await store.aget_observation(RED, "model") == {"a": 1}
