"""LangChain's chat models and LLMs as language models for the roles."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from langchain_core.language_models import BaseLLM, LanguageModelInput
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig

from caslie_tools.exceptions import InputError
from caslie_tools.roles.language_model import Choice, LanguageModel, Prompt
from caslie_tools.roles.usage import record_tokens

ChatModel: TypeAlias = Runnable[LanguageModelInput, AIMessage]
"""A LangChain chat model, also with bound arguments."""
AnyModel: TypeAlias = LanguageModel | ChatModel | BaseLLM
"""Every kind of model that a role accepts."""


def as_language_model(model: AnyModel) -> LanguageModel:
    """Wraps a model of LangChain; returns a language model unchanged."""
    if isinstance(model, LanguageModel):
        return model
    return CompletionLanguageModel(model) if isinstance(model, BaseLLM) else ChatLanguageModel(model)


class ChatLanguageModel(LanguageModel):
    """A LangChain chat model, such as ``init_chat_model`` returns.

    The model uses its own decoding settings: LangChain has no common names for them, so ``max_tokens``, ``temperature``
    and ``top_p`` are not passed on. It cannot be constrained to a set of answers: :meth:`choose` returns the text that
    the model writes.

    Args:
        model: The chat model. It must accept images if the role has any.
    """

    reports_probabilities = False

    def __init__(self, model: ChatModel) -> None:
        self.model = model
        self.name = _name_of(model)

    async def write(
        self,
        prompt: Prompt,
        *,
        max_tokens: int,
        temperature: float,
        top_p: float = 1.0,
        config: RunnableConfig | None = None,
    ) -> str:
        """Returns the text of the model's response and records its tokens."""
        return await self._respond(prompt, config)

    async def choose(self, prompt: Prompt, choices: Sequence[str], *, config: RunnableConfig | None = None) -> Choice:
        """Returns the text of the model's response, without probabilities."""
        return Choice(text=(await self._respond(prompt, config)).strip(), probabilities=None)

    async def _respond(self, prompt: Prompt, config: RunnableConfig | None) -> str:
        content: str | list[str | dict[Any, Any]] = prompt.text
        if prompt.images:
            # The image's bytes, never its URL: the model's server must not fetch addresses on behalf of others.
            urls = [image.data_url(max_side=prompt.max_side) for image in prompt.images]
            images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
            content = [*images, {"type": "text", "text": prompt.text}]
        system = [SystemMessage(content=prompt.system)] if prompt.system else []
        response = await self.model.ainvoke([*system, HumanMessage(content=content)], config)
        if used := response.usage_metadata:
            cached = used.get("input_token_details", {}).get("cache_read")
            record_tokens(prompt=used["input_tokens"], completion=used["output_tokens"], cached=cached)
        return str(response.text)


class CompletionLanguageModel(LanguageModel):
    """A LangChain LLM: text in, text out.

    As with a chat model, the model uses its own decoding settings and cannot be constrained.

    Args:
        model: The LLM.
    """

    reports_probabilities = False

    def __init__(self, model: BaseLLM) -> None:
        self.model = model
        self.name = _name_of(model)

    async def write(
        self,
        prompt: Prompt,
        *,
        max_tokens: int,
        temperature: float,
        top_p: float = 1.0,
        config: RunnableConfig | None = None,
    ) -> str:
        """Returns the text that the model appends to the prompt.

        Raises:
            InputError: If the prompt has an image.
        """
        return await self._complete(prompt, config)

    async def choose(self, prompt: Prompt, choices: Sequence[str], *, config: RunnableConfig | None = None) -> Choice:
        """Returns the text that the model appends to the prompt, without probabilities.

        Raises:
            InputError: If the prompt has an image.
        """
        return Choice(text=(await self._complete(prompt, config)).strip(), probabilities=None)

    async def _complete(self, prompt: Prompt, config: RunnableConfig | None) -> str:
        if prompt.images:
            raise InputError(f"the LLM {self.name} takes no images; use a chat model that does")
        # An LLM takes no messages, so the system message becomes the first paragraph.
        text = f"{prompt.system}\n\n{prompt.text}" if prompt.system else prompt.text
        return await self.model.ainvoke(text, config)


def _name_of(model: Runnable[Any, Any]) -> str:
    """Returns the name of the underlying model if LangChain exposes it, otherwise the runnable's name."""
    for attribute in ("model_name", "model", "model_id"):
        if isinstance(name := getattr(model, attribute, None), str) and name:
            return name
    return model.get_name()
