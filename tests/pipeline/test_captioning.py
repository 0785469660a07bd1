"""Finding a stored caption or making a new one: lookups, sharing and the limit."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from caslie_tools._concurrency import requested_by
from caslie_tools.domain import ImageRef, QueryContext, caption_key
from caslie_tools.exceptions import ImageError, ModelError
from caslie_tools.images.loading import ImageLoader
from caslie_tools.pipeline.captioning import CaptionProvider, CaptionResult
from caslie_tools.pipeline.ec3 import EC3
from caslie_tools.roles.interfaces import CaptionRequest
from caslie_tools.roles.prompts import EC3_PROMPT_VERSION
from caslie_tools.roles.usage import record_tokens
from caslie_tools.store import CaptionStore
from caslie_tools.tasks import PlacedImage
from tests.doubles import FixedCaptioner, FunctionCaptioner, HashEmbeddings, draw_picture, load_picture, raising
from tests.event_loop import settle

RED = draw_picture("350 ML", "red")
HASH = load_picture(RED).sha256
CONTEXT = QueryContext(task="product_qa", focus="Which mug holds 350 ml?")
SIMILAR = QueryContext(task="product_qa", focus="Which mug holds 350 ml today?")  # cosine with CONTEXT: about 0.9
OTHER = QueryContext(task="product_qa", focus="Is it red?")


class HeldCaptioner(FunctionCaptioner):
    """Returns the context's focus as soon as it is released."""

    def __init__(self) -> None:
        super().__init__(self._wait, name="held")
        self.started = asyncio.Event()
        self.released = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.order: list[str] = []

    async def _wait(self, request: CaptionRequest) -> str:
        self.order.append(request.context.focus)
        self.started.set()
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        record_tokens(prompt=100, completion=20, cached=None)
        return f"about {request.context.focus}"


@pytest.fixture
def store() -> Iterator[CaptionStore]:
    with CaptionStore.in_memory(HashEmbeddings()) as store:
        yield store


@pytest.fixture
def held() -> HeldCaptioner:
    return HeldCaptioner()


def provider_with(store: CaptionStore, *captioners: FunctionCaptioner, slots: int = 4) -> CaptionProvider:
    return CaptionProvider(store, EC3(captioners), ImageLoader(), max_parallel_images=slots)


def image(data: bytes = RED, **fields: Any) -> PlacedImage:
    return PlacedImage(ref=ImageRef(data=data), place=0, **fields)


def start(provider: CaptionProvider, *args: Any, **options: Any) -> "asyncio.Task[CaptionResult]":
    return asyncio.create_task(provider.get(*args, **options))


def text_of(result: CaptionResult) -> str | None:
    return None if result.caption is None else result.caption.text


class TestFinding:
    async def test_a_new_caption_is_made_under_the_key_of_its_captioner(self, store: CaptionStore) -> None:
        caption = (await provider_with(store, FixedCaptioner("A red mug.")).get(image(), CONTEXT)).caption
        assert caption is not None
        assert (caption.text, caption.source) == ("A red mug.", "generated")
        assert caption.key == caption_key(HASH, CONTEXT, "fixed-captioner", EC3_PROMPT_VERSION)

    @pytest.mark.parametrize("save", [True, False])
    async def test_a_new_caption_is_stored_only_on_request(self, store: CaptionStore, save: bool) -> None:
        result = await provider_with(store, FixedCaptioner("A red mug.")).get(image(), CONTEXT, save=save)
        assert result.caption is not None
        assert store.captions() == ([result.caption.model_copy(update={"source": "cache"})] if save else [])

    async def test_a_stored_caption_is_found_again(self, store: CaptionStore) -> None:
        captioner = FixedCaptioner("A red mug.")
        provider = provider_with(store, captioner)
        await provider.get(image(), CONTEXT, save=True)
        caption = (await provider.get(image(), CONTEXT)).caption
        assert caption is not None
        assert (caption.text, caption.source, captioner.calls) == ("A red mug.", "cache", 1)

    async def test_an_image_with_a_known_hash_is_not_loaded_for_a_stored_caption(
        self, store: CaptionStore, tmp_path: Path
    ) -> None:
        provider = provider_with(store, FixedCaptioner("A red mug."))
        await provider.get(image(), CONTEXT, save=True)
        missing = PlacedImage(ref=ImageRef(path=tmp_path / "missing.png"), place=0, sha256=HASH)
        assert text_of(await provider.get(missing, CONTEXT)) == "A red mug."

    @pytest.mark.parametrize(("reuse_threshold", "calls"), [(None, 2), (0.95, 2), (0.8, 1)])
    async def test_a_caption_for_a_similar_context_is_reused_above_the_threshold(
        self, store: CaptionStore, reuse_threshold: float | None, calls: int
    ) -> None:
        captioner = FunctionCaptioner(lambda request: request.context.focus)
        provider = provider_with(store, captioner)
        await provider.get(image(), CONTEXT, save=True)
        await provider.get(image(), SIMILAR, reuse_threshold=reuse_threshold)
        assert captioner.calls == calls

    async def test_the_preferred_captioner_s_stored_caption_comes_first(self, store: CaptionStore) -> None:
        first, second = FixedCaptioner("First.", name="one"), FixedCaptioner("Second.", name="two")
        for captioner in (second, first):
            await provider_with(store, captioner).get(image(), CONTEXT, save=True)
        assert text_of(await provider_with(store, first, second).get(image(), CONTEXT)) == "First."
        assert text_of(await provider_with(store, second, first).get(image(), CONTEXT)) == "Second."

    async def test_an_image_that_changed_is_looked_up_by_its_new_hash(self, store: CaptionStore) -> None:
        captioner = FixedCaptioner("A red mug.")
        provider = provider_with(store, captioner)
        await provider.get(image(), CONTEXT, save=True)
        outdated = image(sha256="0" * 64)
        assert text_of(await provider.get(outdated, SIMILAR, reuse_threshold=0.8)) == "A red mug."
        assert captioner.calls == 1

    async def test_a_caption_that_was_stored_while_a_call_waited_is_used(
        self, store: CaptionStore, held: HeldCaptioner
    ) -> None:
        provider = provider_with(store, held, slots=1)
        first = start(provider, image(product="a"), CONTEXT, save=True)
        await held.started.wait()
        second = start(provider, image(product="b"), CONTEXT, save=True)
        await settle()
        held.released.set()
        results = await asyncio.gather(first, second)
        assert [result.caption and result.caption.source for result in results] == ["generated", "cache"]
        assert held.calls == 1

    async def test_an_image_without_anything_to_describe_has_no_caption(self, store: CaptionStore) -> None:
        assert (await provider_with(store, FixedCaptioner("")).get(image(), CONTEXT, save=True)).caption is None
        assert store.captions() == []

    async def test_a_missing_image_is_an_error(self, store: CaptionStore) -> None:
        with pytest.raises(ImageError, match="there is no image"):
            await provider_with(store, FixedCaptioner("A mug.")).get(PlacedImage(ref=None, place=0), CONTEXT)

    async def test_a_failed_captioner_stores_nothing(self, store: CaptionStore) -> None:
        with pytest.raises(ModelError):
            await provider_with(store, FunctionCaptioner(raising(OSError("down")))).get(image(), CONTEXT, save=True)
        assert store.captions() == []


class TestSharing:
    async def test_equal_calls_share_one_caption_and_its_usage(self, store: CaptionStore, held: HeldCaptioner) -> None:
        provider = provider_with(store, held)
        calls = [start(provider, image(), CONTEXT) for _ in range(5)]
        await held.started.wait()
        held.released.set()
        results = await asyncio.gather(*calls)
        assert held.calls == 1
        assert results == [results[0]] * 5
        assert (results[0].usage.calls, results[0].usage.prompt_tokens) == (1, 100)

    async def test_a_stored_caption_has_no_usage(self, store: CaptionStore, held: HeldCaptioner) -> None:
        provider = provider_with(store, held)
        held.released.set()
        assert (await provider.get(image(), CONTEXT, save=True)).usage.calls == 1
        assert (await provider.get(image(), CONTEXT)).usage.calls == 0

    async def test_equal_calls_share_while_they_wait_for_a_slot(self, store: CaptionStore, held: HeldCaptioner) -> None:
        provider = provider_with(store, held, slots=1)
        calls = [start(provider, image(), OTHER)]
        await held.started.wait()
        calls += [start(provider, image(), CONTEXT) for _ in range(4)]
        await settle()
        held.released.set()
        await asyncio.gather(*calls)
        assert held.order == [OTHER.focus, CONTEXT.focus]

    async def test_another_context_image_product_or_option_is_another_call(
        self, store: CaptionStore, held: HeldCaptioner
    ) -> None:
        provider = provider_with(store, held, slots=10)
        held.released.set()
        results = await asyncio.gather(
            provider.get(image(), CONTEXT),
            provider.get(image(), OTHER),
            provider.get(image(draw_picture("500 ML", "red")), CONTEXT),
            provider.get(image(product="m1"), CONTEXT),
        )
        assert held.calls == 4
        assert [text_of(result) for result in results][:2] == [f"about {CONTEXT.focus}", f"about {OTHER.focus}"]

    async def test_calls_whose_images_have_the_same_bytes_share_one_caption(
        self, store: CaptionStore, held: HeldCaptioner
    ) -> None:
        provider = provider_with(store, held)
        loaded = asyncio.Barrier(2)

        async def load() -> CaptionRequest:
            await loaded.wait()
            return CaptionRequest(image=load_picture(RED), context=CONTEXT, product="first")

        calls = [start(provider, image(product=name, sha256=HASH), CONTEXT, load=load) for name in ("a", "b")]
        await held.started.wait()
        await settle()
        held.released.set()
        results = await asyncio.gather(*calls)
        assert results == [results[0]] * 2
        assert [request.product for request in held.requests] == ["first"]

    async def test_a_cancelled_call_does_not_stop_the_others(self, store: CaptionStore, held: HeldCaptioner) -> None:
        provider = provider_with(store, held)
        calls = [start(provider, image(), CONTEXT) for _ in range(3)]
        await held.started.wait()
        calls[0].cancel()
        await settle()
        held.released.set()
        assert all(result.caption is not None for result in await asyncio.gather(*calls[1:]))
        assert (held.calls, held.cancelled.is_set()) == (1, False)

    async def test_when_all_calls_are_cancelled_the_captioner_is_cancelled_and_its_slot_is_free(
        self, store: CaptionStore, held: HeldCaptioner
    ) -> None:
        provider = provider_with(store, held, slots=1)
        calls = [start(provider, image(), CONTEXT) for _ in range(3)]
        await held.started.wait()
        for call in calls:
            call.cancel()
        await held.cancelled.wait()
        held.released.set()
        assert (await provider.get(image(), CONTEXT)).caption is not None
        assert held.calls == 2


class TestLimit:
    async def test_no_more_images_than_the_limit_are_in_progress(self, store: CaptionStore) -> None:
        met = asyncio.Barrier(3)

        async def work(request: CaptionRequest) -> str:
            await met.wait()  # passes only if three calls run at the same time
            return request.context.focus

        captioner = FunctionCaptioner(work)
        provider = provider_with(store, captioner, slots=3)
        contexts = [QueryContext(task="product_qa", focus=f"question {number}") for number in range(9)]
        results = await asyncio.gather(*(provider.get(image(), context) for context in contexts))
        assert [text_of(result) for result in results] == [context.focus for context in contexts]
        assert (captioner.calls, captioner.peak) == (9, 3)

    async def test_a_stored_caption_does_not_wait_for_a_slot(self, store: CaptionStore, held: HeldCaptioner) -> None:
        captioner = FunctionCaptioner(
            lambda request: held.function(request) if request.context == OTHER else "Stored.", name="both"
        )
        provider = provider_with(store, captioner, slots=1)
        known = image(sha256=HASH)
        await provider.get(known, CONTEXT, save=True)
        slow = start(provider, known, OTHER)
        await held.started.wait()
        assert text_of(await provider.get(known, CONTEXT)) == "Stored."
        held.released.set()
        await slow

    async def test_requesters_take_turns(self, store: CaptionStore, held: HeldCaptioner) -> None:
        provider = provider_with(store, held, slots=1)

        def start_for(requester: str, count: int) -> "list[asyncio.Task[CaptionResult]]":
            contexts = [QueryContext(task="product_qa", focus=f"{requester} {number}") for number in range(count)]
            with requested_by(requester):
                return [start(provider, image(), context) for context in contexts]

        calls = start_for("catalogue", 4)
        await held.started.wait()
        await settle()
        calls += start_for("question", 2)
        await settle()
        held.released.set()
        await asyncio.gather(*calls)
        assert held.order == [
            "catalogue 0",
            "catalogue 1",
            "question 0",
            "catalogue 2",
            "question 1",
            "catalogue 3",
        ]
