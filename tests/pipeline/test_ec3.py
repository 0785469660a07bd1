import asyncio

import pytest

from caslie_tools.domain import Evidence, caption_key
from caslie_tools.exceptions import InputError, ModelError
from caslie_tools.pipeline.ec3 import EC3, MAX_CAPTION_CHARACTERS
from caslie_tools.roles.interfaces import CaptionRequest
from caslie_tools.roles.prompts import EC3_PROMPT_VERSION
from tests.doubles import FixedCaptioner, FunctionCaptioner, caption_request, draw_picture, raising
from tests.test_concurrency import settle

SECRET = ConnectionError("https://api.example/?key=hunter2 is down")


class HeldCaptioner(FunctionCaptioner):
    """Answers with the context's focus, once it is released."""

    def __init__(self) -> None:
        super().__init__(self._wait, name="held")
        self.released = asyncio.Event()
        self.cancelled = 0

    async def _wait(self, request: CaptionRequest) -> str:
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return f"about {request.context.focus}"


async def test_a_caption_carries_its_provenance() -> None:
    seen = (Evidence(kind="text", text="350 ML", score=0.9),)
    request = caption_request()
    caption = await EC3([FixedCaptioner("A red mug.", evidence=seen, name="model-7b")]).ainvoke(request)
    assert caption is not None
    assert caption.text == "A red mug."
    assert (caption.captioner, caption.prompt_version) == ("model-7b", EC3_PROMPT_VERSION)
    assert (caption.image, caption.context, caption.evidence) == (request.image.sha256, request.context, seen)
    assert caption.key == caption_key(request.image.sha256, request.context, "model-7b", EC3_PROMPT_VERSION)
    assert caption.source == "generated"


async def test_the_captioner_gets_the_request_itself() -> None:
    captioner, request = FixedCaptioner("A red mug."), caption_request(product="m1")
    await EC3([captioner]).ainvoke(request)
    assert captioner.requests == [request]


class TestText:
    @pytest.mark.parametrize("text", ["", " ", "\n\t", "A", " . \n"])
    async def test_fewer_than_two_characters_are_no_caption(self, text: str) -> None:
        assert await EC3([FixedCaptioner(text)]).ainvoke(caption_request()) is None

    async def test_newlines_and_tabs_become_spaces(self) -> None:
        caption = await EC3([FixedCaptioner(" A\tred\r\n\n  mug.\n")]).ainvoke(caption_request())
        assert caption is not None
        assert caption.text == "A red mug."

    async def test_what_a_model_adds_without_end_is_cut(self) -> None:
        caption = await EC3([FixedCaptioner("red mug " * 1000)]).ainvoke(caption_request())
        assert caption is not None
        assert caption.text == ("red mug " * 1000)[:MAX_CAPTION_CHARACTERS].rstrip()

    async def test_having_nothing_to_say_is_an_answer_and_not_a_failure(self) -> None:
        second = FixedCaptioner("A red mug.")
        assert await EC3([FixedCaptioner(""), second]).ainvoke(caption_request()) is None
        assert second.calls == 0


class TestFallback:
    async def test_captioners_are_tried_in_order_until_one_answers(self) -> None:
        down = FunctionCaptioner(raising(SECRET), name="down")
        good, spare = FixedCaptioner("A red mug.", name="good"), FixedCaptioner("A blue mug.", name="spare")
        ec3 = EC3([down, good, spare])
        caption = await ec3.ainvoke(caption_request())
        assert caption is not None
        assert (caption.text, caption.captioner) == ("A red mug.", "good")
        assert (down.calls, good.calls, spare.calls) == (1, 1, 0)
        assert ec3.identities == ("down", "good", "spare")

    async def test_one_that_answers_nonsense_has_failed_too(self) -> None:
        nonsense = FunctionCaptioner(lambda request: 7)  # type: ignore[arg-type, return-value]
        caption = await EC3([nonsense, FixedCaptioner("A red mug.")]).ainvoke(caption_request())
        assert caption is not None
        assert caption.captioner == "fixed-captioner"

    async def test_one_that_hangs_runs_out_of_time(self) -> None:
        held = HeldCaptioner()
        caption = await EC3([held, FixedCaptioner("A red mug.")], timeout_seconds=0.01).ainvoke(caption_request())
        assert caption is not None
        assert (caption.captioner, held.cancelled) == ("fixed-captioner", 1)

    async def test_when_all_fail_the_error_names_them_but_not_their_messages(self) -> None:
        last = TimeoutError("hunter2")
        ec3 = EC3([FunctionCaptioner(raising(SECRET), name="near"), FunctionCaptioner(raising(last), name="far")])
        with pytest.raises(ModelError, match=r"near: ConnectionError; far: TimeoutError.*text only") as caught:
            await ec3.ainvoke(caption_request())
        assert caught.value.__cause__ is last
        assert "hunter2" not in str(caught.value)

    def test_no_captioner_is_refused(self) -> None:
        with pytest.raises(InputError, match="at least one captioner"):
            EC3([])


class TestSharing:
    async def test_equal_requests_that_meet_share_one_call(self) -> None:
        held = HeldCaptioner()
        ec3 = EC3([held], max_concurrency=10)
        # Equal by content: each has read the picture for itself.
        calls = [asyncio.create_task(ec3.ainvoke(caption_request())) for _ in range(5)]
        await settle()
        held.released.set()
        captions = await asyncio.gather(*calls)
        assert held.calls == 1
        assert captions == [captions[0]] * 5

    async def test_another_context_picture_or_product_is_another_call(self) -> None:
        held = HeldCaptioner()
        ec3 = EC3([held], max_concurrency=10)
        requests = [
            caption_request(),
            caption_request(focus="How large is it?"),
            caption_request(known="Jug"),
            caption_request(draw_picture("500 ML", "red")),
            caption_request(product="m1"),
        ]
        calls = [asyncio.create_task(ec3.ainvoke(request)) for request in requests]
        await settle()
        held.released.set()
        captions = await asyncio.gather(*calls)
        assert held.calls == 5
        assert [caption and caption.text for caption in captions][:2] == [
            "about Which colour is it?",
            "about How large is it?",
        ]

    async def test_one_that_leaves_does_not_stop_the_others(self) -> None:
        held = HeldCaptioner()
        ec3 = EC3([held])
        calls = [asyncio.create_task(ec3.ainvoke(caption_request())) for _ in range(3)]
        await settle()
        calls[0].cancel()
        await settle()
        held.released.set()
        left = await asyncio.gather(*calls[1:])
        assert all(caption is not None for caption in left)
        assert (held.calls, held.cancelled) == (1, 0)

    async def test_when_all_leave_the_call_is_cancelled_and_its_place_is_free(self) -> None:
        held = HeldCaptioner()
        ec3 = EC3([held, FixedCaptioner("not after a cancellation")], max_concurrency=1)
        calls = [asyncio.create_task(ec3.ainvoke(caption_request())) for _ in range(3)]
        await settle()
        for call in calls:
            call.cancel()
        await settle()
        assert (held.calls, held.cancelled, held.running) == (1, 1, 0)
        held.released.set()
        caption = await ec3.ainvoke(caption_request())
        assert caption is not None
        assert caption.captioner == "held"

    async def test_no_more_calls_than_the_bound_are_under_way(self) -> None:
        async def work(request: CaptionRequest) -> str:
            await settle()
            return request.context.focus

        captioner = FunctionCaptioner(work)
        requests = [caption_request(focus=f"question {number}") for number in range(9)]
        captions = await EC3([captioner], max_concurrency=3).abatch(requests)
        assert [caption and caption.text for caption in captions] == [f"question {number}" for number in range(9)]
        assert (captioner.calls, captioner.peak) == (9, 3)


class TestSync:
    def test_it_captions_without_a_loop(self) -> None:
        caption = EC3([FixedCaptioner("A red mug.")]).invoke(caption_request())
        assert caption is not None
        assert caption.text == "A red mug."

    async def test_it_captions_within_a_loop(self) -> None:
        assert EC3([FixedCaptioner("A red mug.")]).invoke(caption_request()) is not None

    def test_a_batch_keeps_the_order_the_bound_and_asks_equal_requests_once(self) -> None:
        async def work(request: CaptionRequest) -> str:
            await settle()
            return request.context.focus

        captioner = FunctionCaptioner(work)
        focuses = ["colour", "size", "colour", "lid", "size", "colour"]
        captions = EC3([captioner], max_concurrency=2).batch([caption_request(focus=focus) for focus in focuses])
        assert [caption and caption.text for caption in captions] == focuses
        assert (captioner.calls, captioner.peak) == (3, 2)

    def test_a_batch_can_return_its_failures(self) -> None:
        def work(request: CaptionRequest) -> str:
            if request.context.focus == "size":
                raise SECRET
            return "A red mug."

        good, bad = EC3([FunctionCaptioner(work)]).batch(
            [caption_request(focus="colour"), caption_request(focus="size")], return_exceptions=True
        )
        assert good is not None
        assert good.text == "A red mug."
        assert isinstance(bad, ModelError)
