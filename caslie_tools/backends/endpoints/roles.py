"""The roles on self-hosted endpoints: captioner, judges, tuned predictor and embeddings over one client."""

from collections.abc import Mapping, Sequence
from typing import Any

from caslie_tools._concurrency import AsyncEmbeddings
from caslie_tools.backends.endpoints.connection import Endpoint
from caslie_tools.backends.endpoints.settings import (
    CaptionerSettings,
    EmbeddingsSettings,
    JudgeSettings,
    PredictorSettings,
)
from caslie_tools.exceptions import ModelError
from caslie_tools.roles.choices import choice_probabilities
from caslie_tools.roles.prompted import Choice, Prompt, Prompted, PromptedCaptioner, PromptedJudge, PromptedPredictor

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


class _OnEndpoint(Prompted):
    """Asks an endpoint. An image's bytes are sent as a data URL."""

    endpoint: Endpoint

    async def _write(self, prompt: Prompt, *, max_tokens: int, temperature: float, top_p: float = 1.0) -> str:
        if prompt.raw:
            answer = await self.endpoint.complete(
                prompt.text, max_tokens=max_tokens, temperature=temperature, top_p=top_p
            )
        else:
            answer = await self.endpoint.chat(
                _messages(prompt), max_tokens=max_tokens, temperature=temperature, top_p=top_p
            )
        return answer.text

    async def _choose(self, prompt: Prompt, choices: Sequence[str]) -> Choice:
        if prompt.raw:
            answer = await self.endpoint.complete(
                prompt.text, max_tokens=_CHOICE_TOKENS, choice=choices, top_logprobs=_TOP_LOGPROBS
            )
            text = answer.text
        else:
            # Chat models begin an answer with a capital: one that means "No" and may only say "no" takes "yes" instead.
            spelled = {spelling: choice for choice in choices for spelling in (choice.capitalize(), choice)}
            answer = await self.endpoint.chat(
                _messages(prompt), max_tokens=_CHOICE_TOKENS, choice=tuple(spelled), top_logprobs=_TOP_LOGPROBS
            )
            text = spelled[answer.text]
        chances = choice_probabilities(choices, answer.top_logprobs[0]) if answer.top_logprobs else None
        return Choice(text=text, probabilities=chances)


def _messages(prompt: Prompt) -> list[Mapping[str, Any]]:
    if prompt.image is None:
        return text_message(prompt.text)
    return image_message(prompt.image.data_url(max_side=prompt.max_side), prompt.text)


class EndpointCaptioner(_OnEndpoint, PromptedCaptioner):
    """A captioner behind chat completions."""

    def __init__(self, settings: CaptionerSettings) -> None:
        self.settings = settings
        self.endpoint = Endpoint(settings)
        self.name = settings.model


class EndpointJudge(_OnEndpoint, PromptedJudge):
    """A judge whose vote is constrained to yes or no, with its probability, in one call."""

    def __init__(self, settings: JudgeSettings) -> None:
        self.settings = settings
        self.endpoint = Endpoint(settings)
        self.name = settings.name


class EndpointPredictor(_OnEndpoint, PromptedPredictor):
    """A predictor whose closed answers are constrained to what the task has."""

    def __init__(self, settings: PredictorSettings) -> None:
        self.settings = settings
        self.endpoint = Endpoint(settings)
        self.name = settings.model


class EndpointEmbeddings(AsyncEmbeddings):
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
