"""The client for one model behind an OpenAI-compatible API, such as vLLM's."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from caslie_tools.backends.endpoints.connection import Connection
from caslie_tools.backends.endpoints.responses import (
    Completion,
    ServedModel,
    chosen_answer,
    read_chat,
    read_embeddings,
    read_models,
    read_prompt_tokens,
    read_text,
)
from caslie_tools.backends.endpoints.settings import EndpointSettings
from caslie_tools.roles.usage import record_tokens


class Endpoint:
    """One model behind one or more replicas of an OpenAI-compatible server.

    Each method makes one call, with the deadline, retries and circuit breakers of
    :class:`~caslie_tools.backends.endpoints.connection.Connection`. The endpoint may be used on several event loops.
    Its connections close with :meth:`aclose`, and when ``asyncio.run`` ends their loop.

    Args:
        settings: Where the model is, and the limits of a call.
        clock: Returns the seconds of a clock that never goes back, for the circuit breakers.
        sleep: Waits between attempts.

    Raises:
        MissingExtraError: If the extra ``endpoints`` is not installed.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.settings = settings
        self._connection = Connection(settings, clock=clock, sleep=sleep)

    def __repr__(self) -> str:
        return f"Endpoint({self._connection.label})"

    async def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        choice: Sequence[str] | None = None,
        top_logprobs: int = 0,
    ) -> Completion:
        """Generates a chat model's response to messages (``/v1/chat/completions``).

        Args:
            messages: The conversation in OpenAI's form, as in ``{"role": "user", "content": "..."}``.
            max_tokens: Most tokens to generate.
            temperature: Sampling temperature; 0 always takes the most likely token.
            top_p: Samples from the most likely tokens that together have this probability.
            seed: Makes sampling repeatable, if the server supports it.
            choice: The allowed texts. The server is asked to constrain the model, and the response is checked.
            top_logprobs: Number of alternatives to return log-probabilities for, per token.

        Raises:
            EndpointUnavailableError: If no replica can be reached, all keep failing, or all breakers are open.
            EndpointTimeoutError: If the deadline passes.
            EndpointRefusedError: If the server refuses the request.
            EndpointAnswerError: If the response cannot be used.
            InputError: If the request cannot be written as JSON in UTF-8.
        """
        body: dict[str, Any] = {"messages": list(messages)}
        if top_logprobs:
            body |= {"logprobs": True, "top_logprobs": top_logprobs}
        body |= self._decoding(max_tokens, temperature, top_p, seed, choice)
        return await self._generate("/chat/completions", body, read_chat, choice)

    async def complete(
        self,
        prompt: str,
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        choice: Sequence[str] | None = None,
        top_logprobs: int = 0,
        add_special_tokens: bool = True,
    ) -> Completion:
        """Continues a text (``/v1/completions``).

        Args:
            prompt: The text, in the layout that the model was trained on.
            max_tokens: As in :meth:`chat`, like the next five arguments and the errors.
            temperature: As in :meth:`chat`.
            top_p: As in :meth:`chat`.
            seed: As in :meth:`chat`.
            choice: As in :meth:`chat`.
            top_logprobs: As in :meth:`chat`.
            add_special_tokens: Whether the server adds its tokenizer's special tokens, such as BOS, before the text.
                ``False`` for a text that already contains them.
        """
        body: dict[str, Any] = {"prompt": prompt}
        if top_logprobs:
            body["logprobs"] = top_logprobs
        if not add_special_tokens:  # an extension of vLLM; sent only if it is needed
            body["add_special_tokens"] = False
        body |= self._decoding(max_tokens, temperature, top_p, seed, choice)
        return await self._generate("/completions", body, read_text, choice)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Returns one vector per text, all of the same length (``/v1/embeddings``).

        Raises:
            EndpointError: As :meth:`chat`.
        """
        if not texts:
            return []
        body = {"model": self.settings.model, "input": list(texts), "encoding_format": "float"}
        return await self._connection.request("/embeddings", body, partial(read_embeddings, count=len(texts)))

    async def prompt_tokens(self, prompt: str, *, add_special_tokens: bool = True) -> tuple[int, ...] | None:
        """Returns the token ids of a raw prompt, or ``None`` if the server does not return them. vLLM does.

        Raises:
            EndpointError: As :meth:`chat`.
        """
        body: dict[str, Any] = {
            "model": self.settings.model,
            "prompt": prompt,
            "max_tokens": 1,
            "return_token_ids": True,
        }
        if not add_special_tokens:
            body["add_special_tokens"] = False
        return await self._connection.request("/completions", body, read_prompt_tokens)

    async def models(self) -> list[ServedModel]:
        """Returns the models that the server has (``/v1/models``).

        Raises:
            EndpointError: As :meth:`chat`.
        """
        return await self._connection.request("/models", None, read_models)

    async def aclose(self) -> None:
        """Closes the connections of all event loops. A call in progress is retried on a new connection."""
        await self._connection.aclose()

    def _decoding(
        self, max_tokens: int, temperature: float, top_p: float, seed: int | None, choice: Sequence[str] | None
    ) -> dict[str, Any]:
        body: dict[str, Any] = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p}
        if seed is not None:
            body["seed"] = seed
        if choice is not None and self.settings.constraint == "guided_choice":
            body["guided_choice"] = list(choice)
        elif choice is not None:
            body["structured_outputs"] = {"choice": list(choice)}
        return body

    async def _generate(
        self,
        path: str,
        body: dict[str, Any],
        read: Callable[[bytes], Completion],
        choice: Sequence[str] | None,
    ) -> Completion:
        def read_chosen(content: bytes) -> Completion:
            completion = read(content)
            return completion if choice is None else replace(completion, text=chosen_answer(completion, choice))

        completion = await self._connection.request(path, {"model": self.settings.model, **body}, read_chosen)
        record_tokens(
            prompt=completion.prompt_tokens, completion=completion.completion_tokens, cached=completion.cached_tokens
        )
        return completion
