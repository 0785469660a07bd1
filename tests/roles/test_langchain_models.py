import pytest
from langchain_core.language_models import FakeListLLM, FakeMessagesListChatModel
from langchain_core.messages import AIMessage

from caslie_tools.exceptions import InputError
from caslie_tools.roles.captioner import ModelCaptioner
from caslie_tools.roles.langchain_models import ChatLanguageModel, CompletionLanguageModel, as_language_model
from caslie_tools.roles.language_model import Prompt
from tests.doubles import RecordingChatModel, caption_request


def test_every_model_of_langchain_is_wrapped_once() -> None:
    chat, llm = as_language_model(RecordingChatModel(replies=["x"])), as_language_model(FakeListLLM(responses=["x"]))
    assert isinstance(chat, ChatLanguageModel)
    assert isinstance(llm, CompletionLanguageModel)
    assert as_language_model(chat) is chat


def test_its_name_is_the_models_own_or_else_the_runnables() -> None:
    assert as_language_model(RecordingChatModel(replies=["x"], model_name="vision-11b")).name == "vision-11b"
    assert as_language_model(FakeMessagesListChatModel(responses=[])).name == "FakeMessagesListChatModel"


async def test_a_response_in_blocks_is_read_as_its_text() -> None:
    model = ChatLanguageModel(
        RecordingChatModel(replies=[[{"type": "text", "text": "A red "}, {"type": "text", "text": "mug."}]])
    )
    assert await model.write(Prompt(text="What is it?"), max_tokens=9, temperature=0.0) == "A red mug."


async def test_a_choice_is_the_text_that_the_model_writes() -> None:
    for model in (
        ChatLanguageModel(FakeMessagesListChatModel(responses=[AIMessage(" Perhaps. \n")])),
        CompletionLanguageModel(FakeListLLM(responses=[" Perhaps. \n"])),
    ):
        choice = await model.choose(Prompt(text="Does it help?"), ("yes", "no"))
        assert (choice.text, choice.probabilities) == ("Perhaps.", None)


async def test_an_llm_takes_no_images() -> None:
    with pytest.raises(InputError, match="FakeListLLM takes no images; use a chat model"):
        await ModelCaptioner(FakeListLLM(responses=["A mug."])).ainvoke(caption_request())


async def test_a_chat_model_may_have_bound_arguments() -> None:
    model = FakeMessagesListChatModel(responses=[AIMessage("A red mug.")]).bind(stop=["."])
    assert (await ModelCaptioner(model, name="bound").ainvoke(caption_request())).text == "A red mug."
