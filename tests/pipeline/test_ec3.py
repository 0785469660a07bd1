import asyncio

import pytest

from caslie_tools.domain import Evidence, caption_key
from caslie_tools.exceptions import InputError, ModelError
from caslie_tools.pipeline.ec3 import EC3, MAX_CAPTION_CHARACTERS
from caslie_tools.roles.interfaces import CaptionRequest
from caslie_tools.roles.prompts import EC3_PROMPT_VERSION
from tests.doubles import FixedCaptioner, FunctionCaptioner, caption_request, raising
from tests.event_loop import settle

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

    async def test_each_newline_and_tab_becomes_a_space(self) -> None:
        caption = await EC3([FixedCaptioner(" A\tred\n\nmug.\n")]).ainvoke(caption_request())
        assert caption is not None
        assert caption.text == "A red  mug."

    async def test_a_text_that_is_too_long_is_cut(self) -> None:
        caption = await EC3([FixedCaptioner("red mug " * 1000)]).ainvoke(caption_request())
        assert caption is not None
        assert caption.text == ("red mug " * 1000)[:MAX_CAPTION_CHARACTERS].rstrip()

    async def test_finding_nothing_to_describe_is_not_a_failure(self) -> None:
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

    async def test_a_captioner_with_an_unusable_answer_has_failed(self) -> None:
        nonsense = FunctionCaptioner(lambda request: 7)  # type: ignore[arg-type, return-value]
        caption = await EC3([nonsense, FixedCaptioner("A red mug.")]).ainvoke(caption_request())
        assert caption is not None
        assert caption.captioner == "fixed-captioner"

    @pytest.mark.virtual_time
    async def test_a_captioner_that_hangs_is_cancelled_at_its_time_limit(self) -> None:
        held = HeldCaptioner()
        caption = await EC3([held, FixedCaptioner("A red mug.")], timeout_seconds=0.01).ainvoke(caption_request())
        assert caption is not None
        assert (caption.captioner, held.cancelled) == ("fixed-captioner", 1)

    async def test_when_all_captioners_fail_the_error_names_them_without_their_messages(self) -> None:
        last = TimeoutError("hunter2")
        ec3 = EC3([FunctionCaptioner(raising(SECRET), name="near"), FunctionCaptioner(raising(last), name="far")])
        with pytest.raises(ModelError, match=r"near: ConnectionError; far: TimeoutError.*text only") as caught:
            await ec3.ainvoke(caption_request())
        assert caught.value.__cause__ is last
        assert "hunter2" not in str(caught.value)

    def test_a_captioner_is_required(self) -> None:
        with pytest.raises(InputError, match="at least one captioner"):
            EC3([])


class TestSync:
    def test_it_captions_without_a_loop(self) -> None:
        caption = EC3([FixedCaptioner("A red mug.")]).invoke(caption_request())
        assert caption is not None
        assert caption.text == "A red mug."

    async def test_it_captions_within_a_loop(self) -> None:
        assert EC3([FixedCaptioner("A red mug.")]).invoke(caption_request()) is not None

    def test_a_batch_keeps_its_order_and_the_limit_of_its_config(self) -> None:
        async def work(request: CaptionRequest) -> str:
            await settle()
            return request.context.focus

        captioner = FunctionCaptioner(work)
        focuses = ["colour", "size", "lid", "handle"]
        requests = [caption_request(focus=focus) for focus in focuses]
        captions = EC3([captioner]).batch(requests, {"max_concurrency": 2})
        assert [caption and caption.text for caption in captions] == focuses
        assert (captioner.calls, captioner.peak) == (4, 2)

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
