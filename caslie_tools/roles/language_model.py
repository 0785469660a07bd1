"""The interface between a role and the model that plays it.

A role (:mod:`caslie_tools.roles.captioner`, :mod:`~caslie_tools.roles.judge`, :mod:`~caslie_tools.roles.predictor`)
builds a prompt and reads the response. A :class:`LanguageModel` sends the prompt to a model, wherever that runs:

- :mod:`caslie_tools.roles.langchain_models`: any chat model or LLM of LangChain,
- :mod:`caslie_tools.backends.endpoints.language_model`: a server with an OpenAI-compatible API,
- :mod:`caslie_tools.backends.transformers.language_model`: this process, through Hugging Face transformers.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel

from caslie_tools.images.loading import LoadedImage


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """The input of one model call."""

    text: str
    images: tuple[LoadedImage, ...] = ()
    """Sent before the text: prompts about the same image then share a prefix, which servers cache."""
    max_side: int = 1024
    """Longest side, in pixels, of an image that is sent. Smaller images are not enlarged."""
    system: str = ""
    """The system message, for a model that takes messages. Empty for none."""
    raw: bool = False
    """``True``: the model continues the text. ``False``: the model responds to it as to a user's message."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The response to a prompt with a closed set of answers."""

    text: str
    """The chosen answer. A model that cannot be constrained may return any text here."""
    probabilities: Mapping[str, float] | None
    """Probability of every answer; ``None`` if the model reports no probabilities."""


class LanguageModel(ABC):
    """A model that writes text, for prompts of text or of an image and text."""

    name: str
    """The model's name. By default it is also the name of the role that uses the model."""
    reports_probabilities: bool = True
    """Whether :meth:`choose` can report the probability of every answer."""
    settings: BaseModel | None = None
    """The settings that the model was built from, if there are any. An evaluation resumes only with equal settings."""

    @abstractmethod
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

        Args:
            prompt: The input.
            max_tokens: Most tokens to generate.
            temperature: Sampling temperature; 0 always takes the most likely token.
            top_p: Samples from the most likely tokens that together have this probability.
            config: The configuration of the calling runnable, for tracing.

        Raises:
            ModelError: If the model fails.
        """

    @abstractmethod
    async def choose(self, prompt: Prompt, choices: Sequence[str], *, config: RunnableConfig | None = None) -> Choice:
        """Returns the most likely of a closed set of answers.

        Args:
            prompt: The input.
            choices: The answers, each with a different first letter.
            config: The configuration of the calling runnable, for tracing.

        Raises:
            ModelError: If the model fails.
        """
