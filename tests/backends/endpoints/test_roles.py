"""The roles over a small real server: what is sent, and what becomes of what comes back."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from caslie_tools.backends.endpoints.roles import (
    EndpointCaptioner,
    EndpointEmbeddings,
    EndpointJudge,
    EndpointPredictor,
)
from caslie_tools.backends.endpoints.settings import (
    CaptionerSettings,
    EmbeddingsSettings,
    JudgeSettings,
    PredictorSettings,
)
from caslie_tools.domain import ImageRef, QueryContext
from caslie_tools.exceptions import EndpointAnswerError, ModelError
from caslie_tools.images.lazy import LazyImage
from caslie_tools.images.loading import ImageLoader
from caslie_tools.profiles.building import endpoint_profile
from caslie_tools.profiles.settings import ProfileSettings
from caslie_tools.roles.interfaces import JudgeRequest
from caslie_tools.store import CaptionStore
from caslie_tools.tasks import FusedInstance, get_task
from caslie_tools.tasks.fusion import fuse
from caslie_tools.tasks.layouts import render
from caslie_tools.testing import Fault, FaultyServer
from tests.doubles import caption_request, draw_picture

CATEGORIES = {"input": {"title": "Kelp bottle"}, "options": ["A: Jackets", "B: Bottles"]}


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer(says=lambda body: "  A red\nmug.  ") as running:
        yield running


def where(server: FaultyServer) -> dict[str, Any]:
    return {"urls": (server.url,), "model": "model", "timeout_seconds": 5.0, "max_attempts": 1}


def fused(task: str, record: dict[str, Any]) -> FusedInstance:
    definition = get_task(task)
    instance = definition.read(record)
    return fuse(definition, instance, [None for _ in instance.images])


def request(caption: str = "A red mug.", image: LazyImage | None = None) -> JudgeRequest:
    context = QueryContext(task="product_qa", aim="answering", focus="What colour is it?", question="Does it help?")
    return JudgeRequest(context=context, caption=caption, image=image)


class TestCaptioner:
    async def test_sends_the_bytes_and_never_a_url(self, server: FaultyServer) -> None:
        captioner = EndpointCaptioner(CaptionerSettings(**where(server), max_side=64))
        draft = await captioner.ainvoke(caption_request(draw_picture("350 ML", "red", size=(640, 480))))
        assert draft.text == "  A red\nmug.  "  # EC3 cleans captions, whoever wrote them
        image, text = server.requests[0].body["messages"][0]["content"]
        assert image["image_url"]["url"].startswith("data:image/")
        assert "What is" not in image["image_url"]["url"]
        assert "Which colour is it?" in text["text"]
        assert server.requests[0].body["max_tokens"] == 128

    async def test_equal_images_share_their_prefix(self, server: FaultyServer) -> None:
        captioner = EndpointCaptioner(CaptionerSettings(**where(server)))
        for focus in ("Which colour is it?", "How much does it hold?"):
            await captioner.ainvoke(caption_request(focus=focus))
        first, second = (received.body["messages"][0]["content"] for received in server.requests)
        assert first[0] == second[0]
        assert first[1] != second[1]

    def test_is_known_by_its_model(self) -> None:
        settings = CaptionerSettings(urls=("http://127.0.0.1:1/v1",), model="some/vlm")
        assert EndpointCaptioner(settings).get_name() == "some/vlm"


class TestJudge:
    async def test_votes_with_a_probability_from_one_call(self, server: FaultyServer) -> None:
        vote = await EndpointJudge(JudgeSettings(**where(server), name="one")).ainvoke(request())
        assert (vote.judge, vote.verdict, vote.probability) == ("one", "yes", pytest.approx(0.75 + 0.25 / 3))
        (received,) = server.requests
        # Both spellings: kept from the one it would begin with, a model may take the other answer.
        assert received.body["structured_outputs"] == {"choice": ["Yes", "yes", "No", "no"]}
        assert received.body["logprobs"] is True

    async def test_without_log_probabilities_the_vote_still_counts(self, server: FaultyServer) -> None:
        server.faults = [Fault.NO_LOGPROBS]
        vote = await EndpointJudge(JudgeSettings(**where(server))).ainvoke(request())
        assert (vote.verdict, vote.probability) == ("yes", None)

    async def test_an_ignored_constraint_is_an_error_not_a_vote(self, server: FaultyServer) -> None:
        server.faults = [Fault.UNCONSTRAINED]
        with pytest.raises(EndpointAnswerError, match="ignored the constraint"):
            await EndpointJudge(JudgeSettings(**where(server))).ainvoke(request())

    async def test_one_that_sees_the_image_gets_it(self, server: FaultyServer) -> None:
        judge = EndpointJudge(JudgeSettings(**where(server), sees_image=True))
        vote = await judge.ainvoke(
            request(image=LazyImage(ImageRef(data=draw_picture("350 ML", "red")), ImageLoader()))
        )
        assert vote.verdict == "yes"
        content = server.requests[0].body["messages"][0]["content"]
        assert [part["type"] for part in content] == ["image_url", "text"]
        assert "A red mug." in content[1]["text"]

    async def test_one_that_sees_the_image_abstains_without_one(self, server: FaultyServer) -> None:
        vote = await EndpointJudge(JudgeSettings(**where(server), sees_image=True)).ainvoke(request())
        assert vote.verdict == "abstain"
        assert server.requests == []


class TestPredictor:
    async def test_prompts_a_tuned_model_in_its_layout(self, server: FaultyServer) -> None:
        instance = fused("cc", CATEGORIES)
        answer = await EndpointPredictor(PredictorSettings(**where(server), layout="mistral")).ainvoke(instance)
        (received,) = server.requests
        assert received.path == "/v1/completions"
        assert received.body["prompt"] == render(instance, "mistral", wire="paper")
        assert received.body["structured_outputs"] == {"choice": ["A", "B"]}
        assert answer.text == "A"
        assert answer.probabilities == pytest.approx({"A": 0.75, "B": 0.25})

    async def test_prompts_a_chat_model_with_a_message(self, server: FaultyServer) -> None:
        answer = await EndpointPredictor(PredictorSettings(**where(server), prompt="chat")).ainvoke(
            fused("cc", CATEGORIES)
        )
        assert server.requests[0].path == "/v1/chat/completions"
        assert answer.text == "A"

    @pytest.mark.parametrize("prompt", ["completion", "chat"])
    async def test_open_questions_are_written_freely(self, server: FaultyServer, prompt: Any) -> None:
        instance = fused("pqa", {"question": "Which colour?", "products": [{"id": "mug", "title": "Mug"}]})
        answer = await EndpointPredictor(PredictorSettings(**where(server), prompt=prompt)).ainvoke(instance)
        assert "structured_outputs" not in server.requests[0].body
        assert server.requests[0].body["temperature"] == 0.15
        assert (answer.text, answer.answerable) == ("A red\nmug.", True)


class TestEmbeddings:
    async def test_embeds_in_batches_and_in_order(self, server: FaultyServer) -> None:
        embeddings = EndpointEmbeddings(EmbeddingsSettings(**where(server), batch_size=2))
        texts = ["one", "two", "three"]
        vectors = await embeddings.aembed_documents(texts)
        assert [len(received.body["input"]) for received in server.requests] == [2, 1]
        assert vectors == [await embeddings.aembed_query(text) for text in texts]
        assert embeddings.identity == "model"

    def test_an_endpoint_that_is_down_is_a_model_error(self) -> None:
        settings = EmbeddingsSettings(urls=("http://127.0.0.1:9/v1",), model="model", max_attempts=1)
        with pytest.raises(ModelError, match="model"):
            EndpointEmbeddings(settings).embed_query("one")


async def test_a_profile_puts_every_role_on_its_endpoint(server: FaultyServer, tmp_path: Any) -> None:
    settings = ProfileSettings(
        name="mine",
        captioners=(CaptionerSettings(**where(server)),),
        judges=tuple(JudgeSettings(**where(server), name=name) for name in ("one", "two", "three")),
        predictor=PredictorSettings(**where(server)),
        embeddings=EmbeddingsSettings(**where(server)),
    )
    profile = endpoint_profile(settings)
    assert server.requests == []
    with CaptionStore.open(tmp_path / "store", profile.embeddings) as store:
        models = profile.models(store)
    assert [judge.get_name() for judge in models.judges] == ["one", "two", "three"]
    assert profile.name == "mine"
