"""The roles on tiny models in this process: what they answer, and how they share a model and a processor."""

import asyncio
import gc
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from caslie_tools.backends.transformers.embeddings import LocalEmbeddings
from caslie_tools.backends.transformers.roles import LocalCaptioner, LocalJudge, LocalPredictor
from caslie_tools.backends.transformers.settings import (
    LocalCaptionerSettings,
    LocalEmbeddingsSettings,
    LocalJudgeSettings,
    LocalPredictorSettings,
)
from caslie_tools.domain import ImageRef, QueryContext
from caslie_tools.exceptions import ModelError
from caslie_tools.images.lazy import LazyImage
from caslie_tools.images.loading import ImageLoader
from caslie_tools.roles.interfaces import JudgeRequest
from caslie_tools.roles.prompts import caption_prompt, judge_prompt, prediction_prompt
from caslie_tools.tasks import FusedInstance, get_task
from caslie_tools.tasks.fusion import fuse
from caslie_tools.tasks.layouts import render
from tests.doubles import caption_request, draw_picture

from .tiny_models import BOS, CONTEXT_LENGTH

CATEGORIES = {"input": {"title": "Kelp bottle"}, "options": ["A: Jackets", "B: Bottles"]}
QUESTION = {"question": "Which colour?", "products": [{"id": "mug", "title": "Mug"}]}
PICTURE = draw_picture("350 ML", "red")
SMALL = draw_picture("", "red", size=(20, 20))
LARGE = draw_picture("", "red", size=(300, 200))


def fused(task: str, record: dict[str, Any]) -> FusedInstance:
    definition = get_task(task)
    instance = definition.read(record)
    return fuse(definition, instance, [None for _ in instance.images])


def request(caption: str = "A red mug.", image: bytes | None = None) -> JudgeRequest:
    context = QueryContext(task="product_qa", aim="answering", focus="What colour is it?", question="Does it help?")
    shown = None if image is None else LazyImage(ImageRef(data=image), ImageLoader())
    return JudgeRequest(context=context, caption=caption, image=shown)


def captioner(folder: Path, **settings: Any) -> LocalCaptioner:
    return LocalCaptioner(LocalCaptionerSettings(model=str(folder), device="cpu", **{"max_tokens": 8} | settings))


def judge(folder: Path, **settings: Any) -> LocalJudge:
    return LocalJudge(LocalJudgeSettings(model=str(folder), device="cpu", **settings))


def predictor(folder: Path, **settings: Any) -> LocalPredictor:
    whole = {"max_tokens": 8, "temperature": 0.0} | settings
    return LocalPredictor(LocalPredictorSettings(model=str(folder), device="cpu", **whole))


def tokens(folder: Path, text: str) -> list[str]:
    from transformers import AutoTokenizer

    found: list[str] = AutoTokenizer.from_pretrained(folder).tokenize(text)
    return found


class TestCaptioner:
    async def test_the_same_picture_has_the_same_caption(self, tiny: Path) -> None:
        one = captioner(tiny / "vision")
        first, again = [await one.ainvoke(caption_request(PICTURE)) for _ in range(2)]
        assert first.text
        assert first == again

    async def test_two_pictures_have_two_captions(self, tiny: Path) -> None:
        one = captioner(tiny / "vision")
        pictures = [draw_picture("", colour, size=(32, 32)) for colour in ("black", "white")]
        first, second = [await one.ainvoke(caption_request(picture)) for picture in pictures]
        assert first.text != second.text

    async def test_a_small_picture_is_not_blown_up_and_a_large_one_is_reduced(self, tiny: Path) -> None:
        text = len(tokens(tiny / "vision", caption_prompt(caption_request().context)))
        tight = text + 50  # room for one tile, with what comes around it
        for picture, side in ((SMALL, 1024), (LARGE, 32)):
            await captioner(tiny / "vision", context_length=tight, max_side=side).ainvoke(caption_request(picture))
        with pytest.raises(ModelError, match=f"cannot take a prompt of .* it is allowed {tight} in all"):
            await captioner(tiny / "vision", context_length=tight).ainvoke(caption_request(LARGE))

    async def test_a_model_of_text_cannot_caption(self, tiny: Path) -> None:
        with pytest.raises(ModelError, match="sees no images; give the role one that does"):
            await captioner(tiny / "text").ainvoke(caption_request(PICTURE))

    def test_is_known_by_its_model_and_revision(self) -> None:
        one = LocalCaptioner(LocalCaptionerSettings(model="some/vlm", revision="v1"))
        assert one.get_name() == "some/vlm@v1"


class TestJudge:
    @pytest.mark.parametrize("model", ["text", "vision"])
    async def test_votes_with_a_probability_and_the_same_each_time(self, tiny: Path, model: str) -> None:
        one = judge(tiny / model, name="one")
        first, again = [await one.ainvoke(request()) for _ in range(2)]
        assert first == again
        assert first.probability is not None
        assert 0 < first.probability < 1
        assert first.verdict == ("yes" if first.probability > 0.5 else "no")
        assert (await one.ainvoke(request("A blue mug."))).probability != first.probability

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

    async def test_one_that_sees_the_image_votes_on_that_image(self, tiny: Path) -> None:
        one = judge(tiny / "vision", sees_image=True)
        red, blue = draw_picture("", "red", size=(32, 32)), draw_picture("", "blue", size=(32, 32))
        chances = [(await one.ainvoke(request(image=picture))).probability for picture in (red, blue, red)]
        assert chances[0] == chances[2] != chances[1]

    async def test_one_that_sees_the_image_abstains_without_one(self, tiny: Path) -> None:
        assert (await judge(tiny / "vision", sees_image=True).ainvoke(request())).verdict == "abstain"

    async def test_without_a_chat_template_it_says_what_to_do(self, copied: Callable[[str], Path]) -> None:
        folder = copied("text")
        (folder / "chat_template.jinja").unlink()
        with pytest.raises(ModelError, match="has no chat template"):
            await judge(folder).ainvoke(request())

    async def test_a_template_that_fails_is_a_model_error(self, copied: Callable[[str], Path]) -> None:
        folder = copied("text")
        (folder / "chat_template.jinja").write_text("{{ raise_exception('never') }}")
        with pytest.raises(ModelError, match="failed: TemplateError; check that it is an instruct model"):
            await judge(folder).ainvoke(request())


class TestPredictor:
    @pytest.mark.parametrize("prompt", ["completion", "chat"])
    async def test_a_closed_task_gets_one_of_its_answers(self, tiny: Path, prompt: str) -> None:
        answer = await predictor(tiny / "text", prompt=prompt).ainvoke(fused("cc", CATEGORIES))
        assert answer.probabilities is not None
        assert set(answer.probabilities) == {"A", "B"}
        assert sum(answer.probabilities.values()) == pytest.approx(1)
        assert answer.text in answer.probabilities

    async def test_a_raw_prompt_is_answered_as_under_a_servers_constraint(self, tiny: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(tiny / "text")
        model = AutoModelForCausalLM.from_pretrained(tiny / "text")
        vocabulary = tokenizer.get_vocab()
        allowed = {vocabulary[text]: word for word in ("yes", "no") for text in (word, word[0]) if text in vocabulary}
        one = predictor(tiny / "text", prompt="completion")
        answers = set()
        for title in ("Pan", "Lid", "Mug", "Kettle", "Tea", "Glass", "Red pan", "A pan of steel"):
            instance = fused("psi", {"query": "lid", "product title": title})
            with torch.inference_mode():
                logits = model(tokenizer(render(instance, "alpaca", wire="paper"), return_tensors="pt")["input_ids"])
            likeliest = max(allowed, key=lambda number: float(logits.logits[0, -1, number]))
            answers.add((await one.ainvoke(instance)).text == allowed[likeliest])
        assert answers == {True}

    @pytest.mark.parametrize("prompt", ["completion", "chat"])
    async def test_an_open_question_is_written_on(self, tiny: Path, prompt: str) -> None:
        answer = await predictor(tiny / "text", prompt=prompt).ainvoke(fused("pqa", QUESTION))
        assert answer.text
        assert answer.probabilities is None

    async def test_there_is_one_bos_whatever_the_prompt(self, tiny: Path) -> None:
        instance = fused("cc", CATEGORIES)
        raw = render(instance, "alpaca", wire="paper")
        message = f"{BOS}user: {prediction_prompt(instance, ('A', 'B'))}\nassistant: "
        for prompt, own in (("completion", raw), ("chat", message)):
            expected = len(tokens(tiny / "text", own)) + (prompt == "completion")
            with pytest.raises(ModelError, match=f"a prompt of {expected} tokens"):
                await predictor(tiny / "text", prompt=prompt, context_length=1).ainvoke(instance)

    async def test_sampling_is_possible(self, tiny: Path) -> None:
        one = predictor(tiny / "text", temperature=2.0, top_p=0.99)
        assert len({(await one.ainvoke(fused("pqa", QUESTION))).text for _ in range(4)}) > 1


class TestSharing:
    async def test_roles_of_one_model_load_it_once(self, copied: Callable[[str], Path]) -> None:
        folder = copied("vision")
        roles = (captioner(folder), judge(folder, name="one"), judge(folder, name="two", sees_image=True))
        await asyncio.gather(
            roles[0].ainvoke(caption_request(PICTURE)),
            *(one.ainvoke(request(image=PICTURE)) for one in roles[1:]),
        )
        shutil.rmtree(folder)  # whatever is loaded now cannot be loaded again
        assert roles[0].model is roles[1].model is roles[2].model
        assert (await predictor(folder, prompt="chat").ainvoke(fused("cc", CATEGORIES))).text in {"A", "B"}

    async def test_it_is_let_go_with_the_last_of_them(self, copied: Callable[[str], Path]) -> None:
        folder = copied("text")
        one = judge(folder)
        await one.ainvoke(request())
        del one
        gc.collect()
        shutil.rmtree(folder)
        with pytest.raises(ModelError, match="no such folder"):
            await judge(folder).ainvoke(request())

    async def test_a_call_out_of_time_stops_and_gives_way(self, tiny: Path) -> None:
        endless = predictor(tiny / "text", max_tokens=CONTEXT_LENGTH - 10_000, context_length=CONTEXT_LENGTH)
        one = judge(tiny / "text")
        await one.ainvoke(request())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await endless.ainvoke(fused("pqa", QUESTION))
        async with asyncio.timeout(5):  # it would write for minutes
            assert (await one.ainvoke(request())).verdict != "abstain"

    async def test_a_call_that_waits_can_be_given_up(self, tiny: Path) -> None:
        one = judge(tiny / "text")
        first, second = [asyncio.create_task(one.ainvoke(request())) for _ in range(2)]
        await asyncio.sleep(0)
        second.cancel()
        assert (await first).verdict in {"yes", "no"}
        with pytest.raises(asyncio.CancelledError):
            await second


class TestEmbeddings:
    def embeddings(self, tiny: Path, **settings: Any) -> LocalEmbeddings:
        return LocalEmbeddings(LocalEmbeddingsSettings(model=str(tiny / "encoder"), device="cpu", **settings))

    def test_are_unit_vectors_whatever_the_batch(self, tiny: Path) -> None:
        texts = ["a red mug", "product image", "a much longer text about a garden hose of 20 m"]
        vectors = self.embeddings(tiny, batch_size=2).embed_documents(texts)
        assert [sum(number * number for number in vector) for vector in vectors] == pytest.approx([1, 1, 1])
        for text, vector in zip(texts, vectors, strict=True):
            assert self.embeddings(tiny).embed_query(text) == pytest.approx(vector, abs=1e-5)
        assert vectors[0] != pytest.approx(vectors[1], abs=1e-2)

    def test_a_long_text_is_cut(self, tiny: Path) -> None:
        first, longer = self.embeddings(tiny).embed_documents(["yes " * 100, "yes " * 500])
        assert first == pytest.approx(longer, abs=1e-5)

    def test_name_model_and_revision(self, tiny: Path) -> None:
        assert self.embeddings(tiny).identity == str(tiny / "encoder")
        assert self.embeddings(tiny, revision="v2").identity == f"{tiny / 'encoder'}@v2"
