"""The roles on self-hosted endpoints: captioner, judges, tuned predictor and embeddings over one client."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import RunnableConfig

from caslie_tools._concurrency import AsyncRunnable, run_sync
from caslie_tools.chat import read_open_answer
from caslie_tools.domain import Answer, CaptionDraft, Vote
from caslie_tools.endpoints.choices import choice_probabilities
from caslie_tools.endpoints.configuration import (
    CaptionerSettings,
    EmbeddingsSettings,
    JudgeSettings,
    PredictorSettings,
)
from caslie_tools.endpoints.connection import Endpoint
from caslie_tools.exceptions import ModelError
from caslie_tools.images import ImageLoader
from caslie_tools.layouts import render
from caslie_tools.parsing import parse_yes_no
from caslie_tools.prompts import caption_prompt, judge_prompt, prediction_prompt, question_prompt, truth_prompt
from caslie_tools.roles import CaptionRequest, JudgeRequest
from caslie_tools.tasks import FusedInstance, get_task

_TOP_LOGPROBS = 20
"""The most that servers list by default."""
_CHOICE_TOKENS = 8
"""A choice is a letter or yes or no: more than enough."""


def image_message(image_url: str, text: str) -> list[Mapping[str, Any]]:
    """Returns one user message of an image and a text.

    The image comes first: questions about one image share that prefix, so a server encodes it once.
    """
    content = [{"type": "image_url", "image_url": {"url": image_url}}, {"type": "text", "text": text}]
    return [{"role": "user", "content": content}]


def text_message(text: str) -> list[Mapping[str, Any]]:
    """Returns one user message."""
    return [{"role": "user", "content": text}]


class EndpointCaptioner(AsyncRunnable[CaptionRequest, CaptionDraft]):
    """EC3's captioner: a vision-language model behind chat completions.

    The image's bytes are sent as a data URL, reduced to what the model needs and never enlarged.
    """

    def __init__(self, settings: CaptionerSettings) -> None:
        self.settings = settings
        self.endpoint = Endpoint(settings)
        self.name = settings.model

    async def ainvoke(
        self,
        input: CaptionRequest,  # noqa: A002 (LangChain's name)
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> CaptionDraft:
        """Captions one image."""
        url = input.image.data_url(max_side=self.settings.max_side)
        answer = await self.endpoint.chat(
            image_message(url, caption_prompt(input.context)),
            max_tokens=self.settings.max_tokens,
            temperature=self.settings.temperature,
        )
        return CaptionDraft(text=answer.text)


class EndpointJudge(AsyncRunnable[JudgeRequest, Vote]):
    """One of CQE's judges: a vote constrained to yes or no, with its probability, in one call.

    With ``sees_image`` it gets the picture as well and votes on whether the caption is true to it, which a judge of
    texts cannot know; where there is no picture it abstains.
    """

    def __init__(self, settings: JudgeSettings, loader: ImageLoader) -> None:
        self.settings = settings
        self.endpoint = Endpoint(settings)
        self.loader = loader
        self.name = settings.name or settings.model

    async def ainvoke(
        self,
        input: JudgeRequest,  # noqa: A002 (LangChain's name)
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Vote:
        """Votes on one caption."""
        if not self.settings.sees_image:
            messages = text_message(judge_prompt(input.context, input.caption))
        elif input.image is None:
            return Vote(judge=self.name, verdict="abstain", reason="there is no picture to look at")
        else:
            image = await self.loader.load(input.image)
            messages = image_message(image.data_url(max_side=1024), truth_prompt(input.caption))
        answer = await self.endpoint.chat(
            messages, max_tokens=_CHOICE_TOKENS, choice=("yes", "no"), top_logprobs=_TOP_LOGPROBS
        )
        verdict = parse_yes_no(answer.text)
        if verdict is None:
            return Vote(judge=self.name, verdict="abstain", reason="answered neither yes nor no")
        chances = choice_probabilities(("yes", "no"), answer.top_logprobs[0]) if answer.top_logprobs else None
        return Vote(judge=self.name, verdict=verdict, probability=chances["yes"] if chances else None)


class EndpointPredictor(AsyncRunnable[FusedInstance, Answer]):
    """UniM3's predictor: a tuned CASLIE model by raw completion, or any chat model.

    Tasks with a closed set of answers are constrained to it, and every answer's probability comes with the call. What
    comes back is taken whole: there is no marker in it to cut at.
    """

    def __init__(self, settings: PredictorSettings) -> None:
        self.settings = settings
        self.endpoint = Endpoint(settings)
        self.name = settings.model

    async def ainvoke(
        self,
        input: FusedInstance,  # noqa: A002 (LangChain's name)
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Answer:
        """Answers one instance."""
        labels = get_task(input.task).labels(input)
        return await (self._choose(input, labels) if labels else self._write(input))

    async def _choose(self, instance: FusedInstance, labels: Sequence[str]) -> Answer:
        # The likeliest answer, not a sample: the same instance gets the same answer.
        if self.settings.prompt == "completion":
            prompt = render(instance, self.settings.layout, wire=self.settings.wire)
            answer = await self.endpoint.complete(
                prompt, max_tokens=_CHOICE_TOKENS, choice=labels, top_logprobs=_TOP_LOGPROBS
            )
        else:
            answer = await self.endpoint.chat(
                text_message(prediction_prompt(instance, tuple(labels))),
                max_tokens=_CHOICE_TOKENS,
                choice=labels,
                top_logprobs=_TOP_LOGPROBS,
            )
        chances = choice_probabilities(labels, answer.top_logprobs[0]) if answer.top_logprobs else None
        return Answer(text=answer.text, probabilities=chances)

    async def _write(self, instance: FusedInstance) -> Answer:
        settings = self.settings
        if settings.prompt == "completion":
            answer = await self.endpoint.complete(
                render(instance, settings.layout, wire=settings.wire),
                max_tokens=settings.max_tokens,
                temperature=settings.temperature,
                top_p=settings.top_p,
            )
        else:
            answer = await self.endpoint.chat(
                text_message(question_prompt(instance)),
                max_tokens=settings.max_tokens,
                temperature=settings.temperature,
                top_p=settings.top_p,
            )
        return read_open_answer(answer.text.strip(), instance)


class EndpointEmbeddings(Embeddings):
    """LangChain embeddings over ``/v1/embeddings``."""

    def __init__(self, settings: EmbeddingsSettings) -> None:
        self.settings = settings
        self.endpoint = Endpoint(settings)

    @property
    def identity(self) -> str:
        """The model's name: a store built with another model is refused."""
        return self.settings.model

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embeds texts, in batches.

        Raises:
            ModelError: If the endpoint fails or answers with another number of vectors.
        """
        vectors: list[list[float]] = []
        for start in range(0, len(texts), self.settings.batch_size):
            batch = texts[start : start + self.settings.batch_size]
            answer = await self.endpoint.embed(batch)
            if len(answer) != len(batch):
                raise ModelError(f"{self.settings.model} answered {len(answer)} vectors for {len(batch)} texts")
            vectors += answer
        return vectors

    async def aembed_query(self, text: str) -> list[float]:
        """Embeds one text."""
        return (await self.aembed_documents([text]))[0]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Synchronous twin of :meth:`aembed_documents`."""
        return run_sync(self.aembed_documents(texts))

    def embed_query(self, text: str) -> list[float]:
        """Synchronous twin of :meth:`aembed_query`."""
        return run_sync(self.aembed_query(text))
