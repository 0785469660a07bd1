"""Any LangChain chat model in any role: captioner, judge or predictor.

The model is used through LangChain's own interface only, so it may be anybody's: ``init_chat_model`` will do.
"""

import re
from typing import Any

from langchain_core.language_models import BaseChatModel, BaseLLM
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig

from caslie_tools._concurrency import AsyncRunnable
from caslie_tools.domain import Answer, CaptionDraft, Vote
from caslie_tools.roles.interfaces import CaptionRequest, JudgeRequest
from caslie_tools.roles.prompts import NOT_ANSWERABLE, caption_prompt, judge_prompt, prediction_prompt, question_prompt
from caslie_tools.roles.usage import record_tokens
from caslie_tools.tasks import FusedInstance, get_task
from caslie_tools.tasks.answers import parse_yes_no
from caslie_tools.tasks.evidence import evidence
from caslie_tools.tasks.fusion import WireFormat
from caslie_tools.tasks.layouts import Layout, render

_CITED = re.compile(r"\[(\d{1,4}(?:\s*,\s*\d{1,4})*)\]")


def model_identity(model: BaseChatModel | BaseLLM) -> str:
    """Returns a name that tells two models apart: the model's own name where LangChain knows it."""
    for attribute in ("model_name", "model", "model_id"):
        if isinstance(name := getattr(model, attribute, None), str) and name:
            return name
    return model.get_name()


class ChatCaptioner(AsyncRunnable[CaptionRequest, CaptionDraft]):
    """A vision-language chat model as captioner.

    Args:
        model: The chat model; it must accept images.
        name: Its identity, part of every caption's key; by default the model's own name.
        max_side: Longest side, in pixels, an image is sent with; it is never enlarged.
    """

    def __init__(self, model: BaseChatModel, *, name: str | None = None, max_side: int = 1024) -> None:
        self.model = model
        self.name = name or model_identity(model)
        self.max_side = max_side

    async def ainvoke(
        self,
        input: CaptionRequest,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> CaptionDraft:
        """Captions one image. Its bytes are sent, never its URL: a server must not be made to fetch for others."""
        message = HumanMessage(
            content=[
                {"type": "image_url", "image_url": {"url": input.image.data_url(max_side=self.max_side)}},
                {"type": "text", "text": caption_prompt(input.context)},
            ]
        )
        return CaptionDraft(text=await _ask(self.model, message, config, **kwargs))


class ChatJudge(AsyncRunnable[JudgeRequest, Vote]):
    """A chat model as judge: yes or no, anything else abstains.

    Args:
        model: The chat model.
        name: The judge's name in votes and traces; by default the model's own.
    """

    def __init__(self, model: BaseChatModel, *, name: str | None = None) -> None:
        self.model = model
        self.name = name or model_identity(model)

    async def ainvoke(
        self,
        input: JudgeRequest,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Vote:
        """Votes on one caption."""
        message = HumanMessage(content=judge_prompt(input.context, input.caption))
        verdict = parse_yes_no(await _ask(self.model, message, config, **kwargs))
        if verdict is None:
            return Vote(judge=self.name, verdict="abstain", reason="answered neither yes nor no")
        return Vote(judge=self.name, verdict=verdict)


class ChatPredictor(AsyncRunnable[FusedInstance, Answer]):
    """A chat model as predictor, for the closed tasks and for open questions with citations.

    Args:
        model: The chat model.
        name: Its name in traces; by default the model's own.
    """

    def __init__(self, model: BaseChatModel, *, name: str | None = None) -> None:
        self.model = model
        self.name = name or model_identity(model)

    async def ainvoke(
        self,
        input: FusedInstance,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Answer:
        """Answers one instance."""
        labels = get_task(input.task).labels(input)
        prompt = prediction_prompt(input, labels) if labels else question_prompt(input)
        answer = (await _ask(self.model, HumanMessage(content=prompt), config, **kwargs)).strip()
        return Answer(text=answer) if labels else read_open_answer(answer, input)


class CompletionPredictor(AsyncRunnable[FusedInstance, Answer]):
    """A tuned CASLIE model as predictor, by raw completion in the layout it was trained on.

    Args:
        model: A LangChain LLM (text in, text out).
        layout: The model's layout.
        wire: ``paper`` for the published weights.
        name: Its name in traces; by default the model's own.
    """

    def __init__(
        self, model: BaseLLM, *, layout: Layout = "alpaca", wire: WireFormat = "paper", name: str | None = None
    ) -> None:
        self.model = model
        self.layout: Layout = layout
        self.wire: WireFormat = wire
        self.name = name or model_identity(model)

    async def ainvoke(
        self,
        input: FusedInstance,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Answer:
        """Answers one instance. What comes back is taken whole: no marker that product text could hold cuts it."""
        answer = (await self.model.ainvoke(render(input, self.layout, wire=self.wire), config, **kwargs)).strip()
        if get_task(input.task).labels(input):
            return Answer(text=answer)
        return read_open_answer(answer, input)


async def _ask(model: BaseChatModel, message: HumanMessage, config: RunnableConfig | None, **kwargs: Any) -> str:
    answer = await model.ainvoke([message], config, **kwargs)
    if used := answer.usage_metadata:
        cached = used.get("input_token_details", {}).get("cache_read")
        record_tokens(prompt=used["input_tokens"], completion=used["output_tokens"], cached=cached)
    return str(answer.text)


def read_open_answer(answer: str, instance: FusedInstance) -> Answer:
    """Reads the answer to an open question, as :func:`~caslie_tools.roles.prompts.question_prompt` asks for it.

    Numbers in square brackets cite the evidence; those that name none are left alone.
    """
    if NOT_ANSWERABLE in answer.upper():
        return Answer(text="The products' texts and images do not answer this.", answerable=False)
    sources = evidence(instance)
    numbers = dict.fromkeys(int(number) for group in _CITED.findall(answer) for number in group.split(","))
    cited = tuple(sources[number - 1] for number in numbers if 1 <= number <= len(sources))
    return Answer(text=answer, citations=cited, answerable=bool(answer))
