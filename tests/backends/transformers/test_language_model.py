"""The roles on tiny models in this process: their responses, and how they share a model."""

import asyncio
import gc
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from caslie_tools.backends.transformers.language_model import TransformersLanguageModel
from caslie_tools.backends.transformers.settings import (
    TransformersCaptionerSettings,
    TransformersJudgeSettings,
    TransformersPredictorSettings,
)
from caslie_tools.backends.transformers.worker import ModelWorker
from caslie_tools.domain import ImageRef, QueryContext
from caslie_tools.exceptions import ModelError
from caslie_tools.images.lazy import LazyImage
from caslie_tools.images.loading import ImageLoader
from caslie_tools.profiles.building import build_captioner, build_judge, build_predictor
from caslie_tools.roles.captioner import ModelCaptioner
from caslie_tools.roles.interfaces import JudgeRequest
from caslie_tools.roles.judge import ModelJudge
from caslie_tools.roles.predictor import ModelPredictor
from caslie_tools.roles.prompts import caption_prompt, judge_prompt, prediction_prompt
from caslie_tools.tasks.layouts import render
from tests.doubles import caption_request, draw_picture
from tests.tasks.records import fused
from tests.time_limits import HANG_SECONDS

from .tiny_models import BOS, CONTEXT_LENGTH

CATEGORIES = {"input": {"title": "Kelp bottle"}, "options": ["A: Jackets", "B: Bottles"]}
QUESTION = {"question": "Which colour?", "products": [{"id": "mug", "title": "Mug"}]}
PICTURE = draw_picture("350 ML", "red")
SMALL = draw_picture("", "red", size=(20, 20))
LARGE = draw_picture("", "red", size=(300, 200))


def request(caption: str = "A red mug.", image: bytes | None = None) -> JudgeRequest:
    context = QueryContext(task="product_qa", aim="answering", focus="What colour is it?", question="Does it help?")
    shown = None if image is None else LazyImage(ImageRef(data=image), ImageLoader())
    return JudgeRequest(context=context, caption=caption, image=shown)


def captioner(folder: Path, **settings: Any) -> ModelCaptioner:
    return build_captioner(
        TransformersCaptionerSettings(model=str(folder), device="cpu", **{"max_tokens": 8} | settings)
    )


def judge(folder: Path, **settings: Any) -> ModelJudge:
    return build_judge(TransformersJudgeSettings(model=str(folder), device="cpu", **settings))


def predictor(folder: Path, **settings: Any) -> ModelPredictor:
    whole = {"max_tokens": 8, "temperature": 0.0} | settings
    return build_predictor(TransformersPredictorSettings(model=str(folder), device="cpu", **whole))


def worker_of(role: ModelCaptioner | ModelJudge) -> ModelWorker:
    assert isinstance(role.model, TransformersLanguageModel)
    return role.model.worker


def tokens(folder: Path, text: str) -> list[str]:
    from transformers import AutoTokenizer

    found: list[str] = AutoTokenizer.from_pretrained(folder).tokenize(text)
    return found


class TestCaptioner:
    async def test_one_image_always_gets_the_same_caption(self, tiny: Path) -> None:
        role = captioner(tiny / "vision")
        first, again = [await role.ainvoke(caption_request(PICTURE)) for _ in range(2)]
        assert first.text
        assert first == again

    async def test_two_images_get_different_captions(self, tiny: Path) -> None:
        role = captioner(tiny / "vision")
        pictures = [draw_picture("", colour, size=(32, 32)) for colour in ("black", "white")]
        first, second = [await role.ainvoke(caption_request(picture)) for picture in pictures]
        assert first.text != second.text

    async def test_a_small_image_is_not_enlarged_and_a_large_one_is_reduced(self, tiny: Path) -> None:
        text = len(tokens(tiny / "vision", caption_prompt(caption_request().context)))
        tight = text + 50  # room for one tile, with what comes around it
        for picture, side in ((SMALL, 1024), (LARGE, 32)):
            await captioner(tiny / "vision", context_length=tight, max_side=side).ainvoke(caption_request(picture))
        with pytest.raises(ModelError, match=f"cannot take a prompt of .* its limit is {tight} in all"):
            await captioner(tiny / "vision", context_length=tight).ainvoke(caption_request(LARGE))

    async def test_a_text_model_cannot_caption(self, tiny: Path) -> None:
        with pytest.raises(ModelError, match="takes no images; give the role a vision-language model"):
            await captioner(tiny / "text").ainvoke(caption_request(PICTURE))

    def test_its_identity_is_its_models_name_and_revision(self) -> None:
        role = build_captioner(TransformersCaptionerSettings(model="some/vlm", revision="v1"))
        assert role.get_name() == "some/vlm@v1"


class TestJudge:
    @pytest.mark.parametrize("model", ["text", "vision"])
    async def test_a_vote_has_a_probability_and_is_repeatable(self, tiny: Path, model: str) -> None:
        role = judge(tiny / model, name="one")
        first, again = [await role.ainvoke(request()) for _ in range(2)]
        assert first == again
        assert first.probability is not None
        assert 0 < first.probability < 1
        assert first.verdict == ("yes" if first.probability > 0.5 else "no")
        assert (await role.ainvoke(request("A blue mug."))).probability != first.probability

    @pytest.mark.parametrize("model", ["text", "vision"])
    async def test_a_system_message_reaches_the_model(self, tiny: Path, model: str) -> None:
        votes = [await judge(tiny / model, system=system).ainvoke(request()) for system in ("", "Vote.")]
        assert votes[0].probability != votes[1].probability

    async def test_the_probability_is_the_share_of_the_tokens_that_begin_yes(self, tiny: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(tiny / "text")
        asked = request()
        text = f"{BOS}user: {judge_prompt(asked.context, asked.caption)}\nassistant: "
        with torch.inference_mode():
            model = AutoModelForCausalLM.from_pretrained(tiny / "text")
            numbers = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
            chances = torch.softmax(model(numbers).logits[0, -1], dim=-1)
        begun = [tokenizer.decode([number]).strip().lower() for number in range(len(tokenizer))]
        yes, no = (
            sum(float(chances[number]) for number, start in enumerate(begun) if start and word.startswith(start))
            for word in ("yes", "no")
        )
        vote = await judge(tiny / "text").ainvoke(asked)
        assert vote.probability == pytest.approx(yes / (yes + no), rel=1e-4)

    async def test_a_judge_that_sees_the_image_votes_on_that_image(self, tiny: Path) -> None:
        role = judge(tiny / "vision", sees_image=True)
        red, blue = draw_picture("", "red", size=(32, 32)), draw_picture("", "blue", size=(32, 32))
        chances = [(await role.ainvoke(request(image=picture))).probability for picture in (red, blue, red)]
        assert chances[0] == chances[2] != chances[1]

    async def test_a_judge_that_sees_the_image_abstains_without_one(self, tiny: Path) -> None:
        assert (await judge(tiny / "vision", sees_image=True).ainvoke(request())).verdict == "abstain"

    async def test_a_missing_chat_template_is_a_model_error_that_says_what_to_do(
        self, copied: Callable[[str], Path]
    ) -> None:
        folder = copied("text")
        (folder / "chat_template.jinja").unlink()
        with pytest.raises(ModelError, match="has no chat template"):
            await judge(folder).ainvoke(request())

    async def test_a_chat_template_that_fails_is_a_model_error(self, copied: Callable[[str], Path]) -> None:
        folder = copied("text")
        (folder / "chat_template.jinja").write_text("{{ raise_exception('never') }}")
        with pytest.raises(ModelError, match="failed: TemplateError; check that it is an instruct model"):
            await judge(folder).ainvoke(request())


class TestPredictor:
    @pytest.mark.parametrize("prompt", ["completion", "chat"])
    async def test_the_answer_to_a_closed_task_is_one_of_its_labels(self, tiny: Path, prompt: str) -> None:
        answer = await predictor(tiny / "text", prompt=prompt).ainvoke(fused("cc", CATEGORIES))
        assert answer.probabilities is not None
        assert set(answer.probabilities) == {"A", "B"}
        assert sum(answer.probabilities.values()) == pytest.approx(1)
        assert answer.text in answer.probabilities

    async def test_a_raw_prompt_is_answered_as_by_a_constrained_server(self, tiny: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(tiny / "text")
        model = AutoModelForCausalLM.from_pretrained(tiny / "text")
        vocabulary = tokenizer.get_vocab()
        allowed = {vocabulary[text]: word for word in ("yes", "no") for text in (word, word[0]) if text in vocabulary}
        role = predictor(tiny / "text", prompt="completion")
        answers = set()
        for title in ("Pan", "Lid", "Mug", "Kettle", "Tea", "Glass", "Red pan", "A pan of steel"):
            instance = fused("psi", {"query": "lid", "product title": title})
            with torch.inference_mode():
                logits = model(tokenizer(render(instance, "alpaca"), return_tensors="pt")["input_ids"])
            likeliest = max(allowed, key=lambda number: float(logits.logits[0, -1, number]))
            answers.add((await role.ainvoke(instance)).text == allowed[likeliest])
        assert answers == {True}

    @pytest.mark.parametrize("prompt", ["completion", "chat"])
    async def test_the_answer_to_an_open_question_is_generated(self, tiny: Path, prompt: str) -> None:
        answer = await predictor(tiny / "text", prompt=prompt).ainvoke(fused("pqa", QUESTION))
        assert answer.text
        assert answer.probabilities is None

    async def test_every_prompt_has_one_bos_token(self, tiny: Path) -> None:
        instance = fused("cc", CATEGORIES)
        raw = render(instance, "alpaca")
        message = f"{BOS}user: {prediction_prompt(instance, ('A', 'B'))}\nassistant: "
        for prompt, own in (("completion", raw), ("chat", message)):
            expected = len(tokens(tiny / "text", own)) + (prompt == "completion")
            with pytest.raises(ModelError, match=f"a prompt of {expected} tokens"):
                await predictor(tiny / "text", prompt=prompt, context_length=1).ainvoke(instance)

    async def test_a_temperature_samples_different_answers(self, tiny: Path) -> None:
        role = predictor(tiny / "text", temperature=2.0, top_p=0.99)
        assert len({(await role.ainvoke(fused("pqa", QUESTION))).text for _ in range(4)}) > 1


class TestSharing:
    async def test_roles_with_the_same_model_load_it_once(self, copied: Callable[[str], Path]) -> None:
        folder = copied("vision")
        roles = (captioner(folder), judge(folder, name="one"), judge(folder, name="two", sees_image=True))
        await asyncio.gather(
            roles[0].ainvoke(caption_request(PICTURE)),
            *(one.ainvoke(request(image=PICTURE)) for one in roles[1:]),
        )
        shutil.rmtree(folder)  # a model that is loaded after this fails
        first, second, third = (worker_of(role) for role in roles)
        assert first is second is third
        assert (await predictor(folder, prompt="chat").ainvoke(fused("cc", CATEGORIES))).text in {"A", "B"}

    async def test_the_model_is_unloaded_with_the_last_role(self, copied: Callable[[str], Path]) -> None:
        folder = copied("text")
        role = judge(folder)
        await role.ainvoke(request())
        del role
        gc.collect()
        shutil.rmtree(folder)
        with pytest.raises(ModelError, match="no such folder"):
            await judge(folder).ainvoke(request())

    async def test_a_call_that_times_out_stops_and_lets_the_next_one_run(self, tiny: Path) -> None:
        endless = predictor(tiny / "text", max_tokens=CONTEXT_LENGTH - 10_000, context_length=CONTEXT_LENGTH)
        role = judge(tiny / "text")
        await role.ainvoke(request())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await endless.ainvoke(fused("pqa", QUESTION))
        async with asyncio.timeout(HANG_SECONDS):  # it would write for minutes
            assert (await role.ainvoke(request())).verdict != "abstain"

    async def test_a_waiting_call_can_be_cancelled(self, tiny: Path) -> None:
        role = judge(tiny / "text")
        first, second = [asyncio.create_task(role.ainvoke(request())) for _ in range(2)]
        await asyncio.sleep(0)
        second.cancel()
        assert (await first).verdict in {"yes", "no"}
        with pytest.raises(asyncio.CancelledError):
            await second
