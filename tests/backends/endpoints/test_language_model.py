"""The roles on a model behind an endpoint, over a small real server: the requests they send and what they return."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from caslie_tools.backends.endpoints.settings import (
    EndpointCaptionerSettings,
    EndpointJudgeSettings,
    EndpointPredictorSettings,
)
from caslie_tools.domain import ImageRef, QueryContext
from caslie_tools.exceptions import EndpointAnswerError
from caslie_tools.images.lazy import LazyImage
from caslie_tools.images.loading import ImageLoader
from caslie_tools.profiles.building import build_captioner, build_judge, build_predictor
from caslie_tools.roles.interfaces import JudgeRequest
from caslie_tools.tasks.layouts import render
from caslie_tools.testing import Fault, FaultyServer
from tests.doubles import caption_request, draw_picture
from tests.tasks.records import fused

CATEGORIES = {"input": {"title": "Kelp bottle"}, "options": ["A: Jackets", "B: Bottles"]}


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer(respond=lambda body: "  A red\nmug.  ") as running:
        yield running


def where(server: FaultyServer) -> dict[str, Any]:
    return {"urls": (server.url,), "model": "model", "max_attempts": 1}


def request(caption: str = "A red mug.", image: LazyImage | None = None) -> JudgeRequest:
    context = QueryContext(task="product_qa", aim="answering", focus="What colour is it?", question="Does it help?")
    return JudgeRequest(context=context, caption=caption, image=image)


class TestCaptioner:
    async def test_the_images_bytes_are_sent_and_never_its_url(self, server: FaultyServer) -> None:
        captioner = build_captioner(EndpointCaptionerSettings(**where(server), max_side=64))
        draft = await captioner.ainvoke(caption_request(draw_picture("350 ML", "red", size=(640, 480))))
        assert draft.text == "  A red\nmug.  "  # EC3 cleans the captions of every captioner
        image, text = server.requests[0].body["messages"][0]["content"]
        assert image["image_url"]["url"].startswith("data:image/")
        assert "What is" not in image["image_url"]["url"]
        assert "Which colour is it?" in text["text"]
        assert server.requests[0].body["max_tokens"] == 128

    async def test_prompts_about_one_image_share_their_prefix(self, server: FaultyServer) -> None:
        captioner = build_captioner(EndpointCaptionerSettings(**where(server)))
        for focus in ("Which colour is it?", "How much does it hold?"):
            await captioner.ainvoke(caption_request(focus=focus))
        first, second = (received.body["messages"][0]["content"] for received in server.requests)
        assert first[0] == second[0]
        assert first[1] != second[1]

    def test_its_identity_is_its_models_name(self) -> None:
        settings = EndpointCaptionerSettings(urls=("http://127.0.0.1:1/v1",), model="some/vlm")
        assert build_captioner(settings).get_name() == "some/vlm"


class TestJudge:
    async def test_one_call_gives_a_vote_and_its_probability(self, server: FaultyServer) -> None:
        vote = await build_judge(EndpointJudgeSettings(**where(server), name="one")).ainvoke(request())
        assert (vote.judge, vote.verdict) == ("one", "yes")
        assert vote.probability == pytest.approx(0.75 + 0.25 / 3)
        (received,) = server.requests
        # Both spellings: a model that cannot write its own spelling of an answer may write the other answer.
        assert received.body["structured_outputs"] == {"choice": ["Yes", "yes", "No", "no"]}
        assert received.body["logprobs"] is True

    async def test_without_log_probabilities_the_vote_still_counts(self, server: FaultyServer) -> None:
        server.faults = [Fault.NO_LOGPROBS]
        vote = await build_judge(EndpointJudgeSettings(**where(server))).ainvoke(request())
        assert (vote.verdict, vote.probability) == ("yes", None)

    async def test_an_ignored_constraint_is_an_error_not_a_vote(self, server: FaultyServer) -> None:
        server.faults = [Fault.UNCONSTRAINED]
        with pytest.raises(EndpointAnswerError, match="ignored the constraint"):
            await build_judge(EndpointJudgeSettings(**where(server))).ainvoke(request())

    async def test_a_judge_that_sees_the_image_gets_it(self, server: FaultyServer) -> None:
        judge = build_judge(EndpointJudgeSettings(**where(server), sees_image=True))
        vote = await judge.ainvoke(
            request(image=LazyImage(ImageRef(data=draw_picture("350 ML", "red")), ImageLoader()))
        )
        assert vote.verdict == "yes"
        content = server.requests[0].body["messages"][0]["content"]
        assert [part["type"] for part in content] == ["image_url", "text"]
        assert "A red mug." in content[1]["text"]

    @pytest.mark.parametrize("sees_image", [False, True])
    async def test_a_system_message_comes_first(self, server: FaultyServer, sees_image: bool) -> None:
        system = "You are a helpful AI assistant."
        judge = build_judge(EndpointJudgeSettings(**where(server), system=system, sees_image=sees_image))
        await judge.ainvoke(request(image=LazyImage(ImageRef(data=draw_picture("350 ML")), ImageLoader())))
        first, second = server.requests[0].body["messages"]
        assert first == {"role": "system", "content": system}
        assert second["role"] == "user"

    async def test_a_judge_that_sees_the_image_abstains_without_one(self, server: FaultyServer) -> None:
        vote = await build_judge(EndpointJudgeSettings(**where(server), sees_image=True)).ainvoke(request())
        assert vote.verdict == "abstain"
        assert server.requests == []


class TestPredictor:
    async def test_a_tuned_model_gets_a_prompt_in_its_layout(self, server: FaultyServer) -> None:
        instance = fused("cc", CATEGORIES)
        answer = await build_predictor(EndpointPredictorSettings(**where(server), layout="mistral")).ainvoke(instance)
        (received,) = server.requests
        assert received.path == "/v1/completions"
        assert received.body["prompt"] == render(instance, "mistral")
        assert received.body["structured_outputs"] == {"choice": ["A", "B"]}
        assert answer.text == "A"
        assert answer.probabilities == pytest.approx({"A": 0.75, "B": 0.25})

    async def test_an_instruct_model_gets_a_message(self, server: FaultyServer) -> None:
        answer = await build_predictor(EndpointPredictorSettings(**where(server), prompt="chat")).ainvoke(
            fused("cc", CATEGORIES)
        )
        assert server.requests[0].path == "/v1/chat/completions"
        assert answer.text == "A"

    @pytest.mark.parametrize("prompt", ["completion", "chat"])
    async def test_with_the_reference_s_decoding_the_answer_is_free_text(self, prompt: Any) -> None:
        async with FaultyServer(respond=lambda body: " B: Bottles\n") as server:
            settings = EndpointPredictorSettings(**where(server), prompt=prompt, decoding="sampled")
            answer = await build_predictor(settings).ainvoke(fused("cc", CATEGORIES))
        body = server.requests[0].body
        assert (body["max_tokens"], body["temperature"], body["top_p"]) == (100, 0.15, 0.95)
        assert not {"structured_outputs", "logprobs"} & body.keys()
        assert (answer.text, answer.probabilities) == ("B: Bottles", None)

    @pytest.mark.parametrize("prompt", ["completion", "chat"])
    async def test_the_answer_to_an_open_question_is_not_constrained(self, server: FaultyServer, prompt: Any) -> None:
        instance = fused("pqa", {"question": "Which colour?", "products": [{"id": "mug", "title": "Mug"}]})
        answer = await build_predictor(EndpointPredictorSettings(**where(server), prompt=prompt)).ainvoke(instance)
        assert "structured_outputs" not in server.requests[0].body
        assert server.requests[0].body["temperature"] == 0.15
        assert (answer.text, answer.answerable) == ("A red\nmug.", True)
