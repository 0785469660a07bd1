"""A model behind an endpoint as a language model for the roles."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.runnables import RunnableConfig

from caslie_tools.backends.endpoints.endpoint import Endpoint
from caslie_tools.backends.endpoints.settings import EndpointSettings
from caslie_tools.roles.choices import choice_probabilities
from caslie_tools.roles.language_model import Choice, LanguageModel, Prompt

_TOP_LOGPROBS: Final = 20
"""The most that servers list by default."""
_CHOICE_TOKENS: Final = 8
"""Enough for any choice: they are letters, or yes and no."""


def text_message(text: str) -> list[Mapping[str, Any]]:
    """Returns one user message in OpenAI's form."""
    return [{"role": "user", "content": text}]


def image_message(image_urls: Sequence[str], text: str) -> list[Mapping[str, Any]]:
    """Returns one user message of images and a text in OpenAI's form.

    The images come first, so that messages about the same image share a prefix, which the server caches.
    """
    images = [{"type": "image_url", "image_url": {"url": url}} for url in image_urls]
    return [{"role": "user", "content": [*images, {"type": "text", "text": text}]}]


class EndpointLanguageModel(LanguageModel):
    """A model on a server. An image is sent as a data URL.

    Args:
        endpoint: The client for the server.
    """

    settings: EndpointSettings

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.settings = endpoint.settings
        self.name = endpoint.settings.model

    async def write(
        self,
        prompt: Prompt,
        *,
        max_tokens: int,
        temperature: float,
        top_p: float = 1.0,
        config: RunnableConfig | None = None,
    ) -> str:
        """Returns the text that the model generates.

        Raises:
            EndpointError: If the server cannot be reached, fails, or returns an unusable response.
        """
        if prompt.raw:
            response = await self.endpoint.complete(
                prompt.text, max_tokens=max_tokens, temperature=temperature, top_p=top_p
            )
        else:
            response = await self.endpoint.chat(
                _messages(prompt), max_tokens=max_tokens, temperature=temperature, top_p=top_p
            )
        return response.text

    async def choose(self, prompt: Prompt, choices: Sequence[str], *, config: RunnableConfig | None = None) -> Choice:
        """Returns the most likely of a closed set of answers and the probability of each, from one call.

        The server constrains the model to the answers. Probabilities are ``None`` if the server returns no
        log-probabilities.

        Raises:
            EndpointError: If the server cannot be reached, fails, or returns an unusable response.
        """
        if prompt.raw:
            response = await self.endpoint.complete(
                prompt.text, max_tokens=_CHOICE_TOKENS, choice=choices, top_logprobs=_TOP_LOGPROBS
            )
            text = response.text
        else:
            # Chat models capitalise the first word. A model that means "No" but may only write "no" writes "yes".
            spellings = {spelling: choice for choice in choices for spelling in (choice.capitalize(), choice)}
            response = await self.endpoint.chat(
                _messages(prompt), max_tokens=_CHOICE_TOKENS, choice=tuple(spellings), top_logprobs=_TOP_LOGPROBS
            )
            text = spellings[response.text]
        probabilities = choice_probabilities(choices, response.top_logprobs[0]) if response.top_logprobs else None
        return Choice(text=text, probabilities=probabilities)


def _messages(prompt: Prompt) -> list[Mapping[str, Any]]:
    system = [{"role": "system", "content": prompt.system}] if prompt.system else []
    if not prompt.images:
        return [*system, *text_message(prompt.text)]
    urls = [image.data_url(max_side=prompt.max_side) for image in prompt.images]
    return [*system, *image_message(urls, prompt.text)]
