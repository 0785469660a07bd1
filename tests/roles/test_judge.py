import pytest
from langchain_core.language_models import FakeListLLM, FakeMessagesListChatModel
from langchain_core.messages import AIMessage

from caslie_tools.backends.endpoints.endpoint import Endpoint
from caslie_tools.backends.endpoints.language_model import EndpointLanguageModel
from caslie_tools.backends.endpoints.settings import EndpointJudgeSettings
from caslie_tools.domain import ImageRef, QueryContext, Verdict
from caslie_tools.images.lazy import LazyImage
from caslie_tools.images.loading import ImageLoader
from caslie_tools.pipeline.cqe import CQE
from caslie_tools.roles.interfaces import JudgeRequest
from caslie_tools.roles.judge import ModelJudge
from caslie_tools.testing import FaultyServer
from caslie_tools.testing.faulty_server import Fault
from tests.doubles import FixedJudge, RecordingChatModel, RecordingLLM, draw_picture, judge_request
from tests.roles.prompt_data import data_of


@pytest.mark.parametrize(
    ("response", "verdict"),
    [("yes", "yes"), ("No.", "no"), ("**Yes**", "yes"), ("not helpful", "abstain"), ("", "abstain"),
     ("Yes or no", "abstain"), ("none", "abstain"), ("I cannot tell", "abstain")],
)  # fmt: skip
def test_a_judge_reads_yes_and_no_and_abstains_on_anything_else(response: str, verdict: Verdict) -> None:
    judge = ModelJudge(FakeMessagesListChatModel(responses=[AIMessage(response)]), name="judge")
    context = QueryContext(task="psi", aim="telling", focus="charger", question="Does it help?")
    vote = judge.invoke(JudgeRequest(context=context, caption="A charger."))
    assert (vote.judge, vote.verdict, vote.probability) == ("judge", verdict, None)
    assert bool(vote.reason) is (verdict == "abstain")


def test_an_llm_can_judge() -> None:
    assert ModelJudge(FakeListLLM(responses=[" Yes, it does."]), name="judge").invoke(judge_request()).verdict == "yes"


async def test_the_prompt_has_the_task_the_text_and_the_caption() -> None:
    model = RecordingChatModel(replies=["yes"])
    context = QueryContext(task="psi", aim="telling apart", focus="usb-c", known="USB-A", question="Does it help?")
    await ModelJudge(model).ainvoke(JudgeRequest(context=context, caption="A charger."))
    (prompt,) = model.texts
    assert data_of(prompt) == {
        "task_text": "usb-c", "known_about_product": "USB-A", "information_from_image": "A charger.",
    }  # fmt: skip
    assert prompt.startswith("The task is telling apart. Does it help?")
    assert prompt.endswith("Answer only yes or no.")


async def test_a_judge_that_sees_the_image_votes_on_whether_the_caption_is_true() -> None:
    model = RecordingChatModel(replies=["yes"])
    image = LazyImage(ImageRef(data=draw_picture("350 ML", "red")), ImageLoader())
    context = QueryContext(task="psi", focus="mug")
    vote = await ModelJudge(model, sees_image=True).ainvoke(
        JudgeRequest(context=context, caption="A red mug.", image=image)
    )
    assert vote.verdict == "yes"
    content = model.seen[0][0].content
    assert [part["type"] for part in content if isinstance(part, dict)] == ["image_url", "text"]
    assert data_of(model.texts[0]) == {"caption": "A red mug."}


async def test_a_judge_that_sees_the_image_abstains_without_one() -> None:
    model = RecordingChatModel(replies=["yes"])
    vote = await ModelJudge(model, sees_image=True).ainvoke(judge_request())
    assert (vote.verdict, vote.reason) == ("abstain", "there is no image")
    assert model.seen == []


async def test_a_system_message_comes_before_the_prompt() -> None:
    chat, llm = RecordingChatModel(replies=["yes"]), RecordingLLM(reply="yes")
    for model in (chat, llm):
        await ModelJudge(model, system="You are a judge.").ainvoke(judge_request())
    system, prompt = chat.seen[0]
    assert (system.type, system.text) == ("system", "You are a judge.")
    assert llm.prompts == [f"You are a judge.\n\n{prompt.text}"]


async def test_a_judge_whose_server_refuses_a_prompt_for_its_length_abstains() -> None:
    async with FaultyServer() as server:
        server.faults = [Fault.HTTP_400]
        settings = EndpointJudgeSettings(urls=(server.url,), model="model")
        refusing = ModelJudge(EndpointLanguageModel(Endpoint(settings)), name="refusing")
        decision = await CQE([refusing, FixedJudge("yes", name="other")]).ainvoke(judge_request())
    vote, _ = decision.votes
    assert (vote.verdict, vote.failure) == ("abstain", "refused")
    assert (decision.kept, decision.abstentions) == (True, 1)


async def test_five_chat_models_make_a_jury() -> None:
    models = [RecordingChatModel(replies=[response]) for response in ("yes", "**No**", "hm", "Yes.", "yes")]
    cqe = CQE([ModelJudge(model, name=f"judge-{number}") for number, model in enumerate(models)])
    decision = await cqe.ainvoke(JudgeRequest(context=QueryContext(task="t", focus="f"), caption="c"))
    assert [vote.verdict for vote in decision.votes] == ["yes", "no", "abstain", "yes", "yes"]
    assert decision.kept
