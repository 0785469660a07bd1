"""The client for one OpenAI-compatible endpoint: a model behind one or more replicas of a server such as vLLM.

A call has one deadline for everything: waiting for a place, the request, waiting between attempts, further attempts.
Only what is safe and can help is tried again: a connection that cannot be made or breaks, and the statuses 408, 429 and
5xx. Generating has no effect on the server, so asking twice does no harm. What was refused, and an answer that came
whole but cannot be used, is not asked for again.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from caslie_tools._concurrency import ConcurrencyLimit
from caslie_tools.backends.endpoints.breaker import Breaker, Replica
from caslie_tools.backends.endpoints.clients import Clients
from caslie_tools.backends.endpoints.failures import TryAgainError, clean, status_failure
from caslie_tools.backends.endpoints.settings import EndpointSettings
from caslie_tools.backends.endpoints.wire import (
    Completion,
    ServedModel,
    UnusableAnswerError,
    chosen,
    read_chat,
    read_embeddings,
    read_models,
    read_prompt_tokens,
    read_text,
)
from caslie_tools.exceptions import (
    EndpointAnswerError,
    EndpointError,
    EndpointTimeoutError,
    EndpointUnavailableError,
    InputError,
    MissingExtraError,
)
from caslie_tools.roles.usage import record_tokens

if TYPE_CHECKING:
    import tenacity

__all__ = ["Completion", "Endpoint", "ServedModel"]

T = TypeVar("T")


class Endpoint:
    """One model behind one or more replicas of an OpenAI-compatible server.

    It may be used on several event loops, one after the other and at once; each has connections of its own, which close
    with :meth:`aclose` and when ``asyncio.run`` ends the loop. The bound on parallelism holds on each loop, over
    all replicas; requesters take turns (:class:`~caslie_tools._concurrency.Bound`).

    Of several replicas the least busy one is asked; among equals, the same one for the same image or prompt, which it
    has in its prefix cache. When it fails, the others are asked at once; a replica that hangs is left after its share
    of the time, so that the others get theirs. An attempt has failed when all replicas have.

    Args:
        settings: Where it is, and the limits of a call.
        clock: Seconds on a clock that is never set back; the breakers' time.
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
        try:
            import openai  # noqa: F401
            import tenacity  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("endpoints", f"Model {settings.model!r} behind an endpoint") from error
        self._sleep = sleep
        self._bound = ConcurrencyLimit(settings.max_concurrency)
        self._replicas = [
            Replica(url, _name(url), Breaker(settings.breaker_failures, settings.breaker_seconds, clock))
            for url in settings.urls
        ]
        self._clients = Clients(settings)
        self.settings = settings

    def __repr__(self) -> str:
        return f"Endpoint({self.label})"

    @property
    def label(self) -> str:
        """The model and where it is, for messages."""
        return f"model {self.settings.model!r} at {', '.join(replica.name for replica in self._replicas)}"

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
        """Asks a chat model (``/v1/chat/completions``).

        Args:
            messages: The conversation in OpenAI's form, as in ``{"role": "user", "content": "..."}``.
            max_tokens: Most tokens to generate.
            temperature: 0 takes the likeliest token each time.
            top_p: Samples from the likeliest tokens that hold this much of the probability.
            seed: Makes sampling repeatable, as far as the server can.
            choice: The answer has to be one of these; the server is made to, and the answer is checked.
            top_logprobs: Number of alternatives to tell the log-probabilities of, for each token.

        Raises:
            EndpointUnavailableError: No replica can be reached, all keep failing, or have and are left alone for now.
            EndpointTimeoutError: It was not done by the deadline.
            EndpointRefusedError: The server refused the request.
            EndpointAnswerError: The server's answer cannot be used.
            InputError: The request cannot be written as JSON in UTF-8.
        """
        body: dict[str, Any] = {"messages": list(messages)}
        if top_logprobs:
            body |= {"logprobs": True, "top_logprobs": top_logprobs}
        body |= self._decoding(max_tokens, temperature, top_p, seed, choice)
        return await self._complete("/chat/completions", body, read_chat, choice)

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
        """Continues a text as it stands (``/v1/completions``).

        Args:
            prompt: The text, in the layout that the model was trained on.
            max_tokens: See :meth:`chat`; so are the others, and the errors.
            temperature: See there.
            top_p: See there.
            seed: See there.
            choice: See there.
            top_logprobs: See there.
            add_special_tokens: Whether the server puts its tokenizer's special tokens, such as BOS, before the text. No
                for a text that has them already.
        """
        body: dict[str, Any] = {"prompt": prompt}
        if top_logprobs:
            body["logprobs"] = top_logprobs
        if not add_special_tokens:  # vLLM's own; not sent without need
            body["add_special_tokens"] = False
        body |= self._decoding(max_tokens, temperature, top_p, seed, choice)
        return await self._complete("/completions", body, read_text, choice)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Returns one vector per text, all of the same length (``/v1/embeddings``).

        Raises:
            EndpointError: As :meth:`chat`.
        """
        if not texts:
            return []
        body = {"model": self.settings.model, "input": list(texts), "encoding_format": "float"}
        return await self._call("/embeddings", body, partial(read_embeddings, count=len(texts)))

    async def prompt_tokens(self, prompt: str, *, add_special_tokens: bool = True) -> tuple[int, ...] | None:
        """Returns the tokens that a raw prompt becomes, or ``None`` where the server does not tell (vLLM does).

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
        return await self._call("/completions", body, read_prompt_tokens)

    async def models(self) -> list[ServedModel]:
        """Returns the models that the server has (``/v1/models``).

        Raises:
            EndpointError: As :meth:`chat`.
        """
        return await self._call("/models", None, read_models)

    async def aclose(self) -> None:
        """Closes the connections of all event loops; a call under way is tried again on a new one."""
        await self._clients.aclose()

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

    async def _complete(
        self,
        path: str,
        body: dict[str, Any],
        read: Callable[[bytes], Completion],
        choice: Sequence[str] | None,
    ) -> Completion:
        def read_chosen(answer: bytes) -> Completion:
            completion = read(answer)
            return completion if choice is None else replace(completion, text=chosen(completion, choice))

        completion = await self._call(path, {"model": self.settings.model, **body}, read_chosen)
        record_tokens(
            prompt=completion.prompt_tokens, completion=completion.completion_tokens, cached=completion.cached_tokens
        )
        return completion

    async def _call(self, path: str, body: Mapping[str, Any] | None, read: Callable[[bytes], T]) -> T:
        if body is not None:
            _check_writable(body)
        failure: EndpointError
        doing = "waiting for its turn behind other calls"
        try:
            async with asyncio.timeout(self.settings.timeout_seconds) as deadline, self._bound():
                doing = "waiting for the server"
                async for attempt in self._attempts(deadline):
                    with attempt:
                        return await self._ask_replicas(deadline, path, body, read)
        except TimeoutError:
            failure = EndpointTimeoutError(
                f"{self.label} was not done after {self.settings.timeout_seconds:g} s, at last {doing}: "
                "allow more time, ask less at once, or add a replica"
            )
        except TryAgainError as error:
            failure = EndpointUnavailableError(
                f"{self.label} cannot be used, most recently: {error}; check that the server runs and can take the load"
            )
        # Outside, so that nothing is chained: the library's errors carry the whole request and the whole answer.
        raise failure

    def _attempts(self, deadline: asyncio.Timeout) -> "tenacity.AsyncRetrying":
        import tenacity

        backoff = tenacity.wait_random_exponential(multiplier=0.25, max=8)  # anything up to 0.25 s, 0.5 s, 1 s, ...

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome and state.outcome.exception()
            return max(backoff(state), error.retry_after if isinstance(error, TryAgainError) else 0.0)

        def enough(state: tenacity.RetryCallState) -> bool:
            by = deadline.when()
            too_late = by is not None and asyncio.get_running_loop().time() + state.upcoming_sleep >= by
            return too_late or state.attempt_number >= self.settings.max_attempts

        return tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(TryAgainError),
            stop=enough,
            wait=wait,
            sleep=self._sleep,
            reraise=True,
        )

    async def _ask_replicas(
        self,
        deadline: asyncio.Timeout,
        path: str,
        body: Mapping[str, Any] | None,
        read: Callable[[bytes], T],
    ) -> T:
        """One attempt: asks one replica after the other until one does not fail."""
        failures: list[TryAgainError] = []
        replicas = self._in_order(body)
        for number, replica in enumerate(replicas, start=1):
            if not replica.breaker.lets_through():
                continue
            others = sum(other.breaker.remaining() == 0 for other in replicas[number:])
            answer = await self._ask(replica, deadline, path, body, others=others)
            if isinstance(answer, bytes):
                return self._read(replica, answer, read)
            if not isinstance(answer, TryAgainError):
                raise answer
            failures.append(answer)
        if failures:
            retry_after = min(failure.retry_after for failure in failures)
            raise TryAgainError("; ".join(map(str, failures)), retry_after=retry_after)
        seconds = min(replica.breaker.remaining() for replica in self._replicas)
        raise EndpointUnavailableError(
            f"{self.label} failed too often in a row and is left alone for another {seconds:.0f} s; "
            "check that the server runs"
        )

    def _in_order(self, body: Mapping[str, Any] | None) -> list[Replica]:
        if len(self._replicas) == 1:
            return self._replicas
        shared = _shared_part(body)
        return sorted(
            self._replicas,
            key=lambda each: (each.under_way, hashlib.blake2b(shared, key=each.url.encode()[-64:]).digest()),
        )

    async def _ask(
        self, replica: Replica, deadline: asyncio.Timeout, path: str, body: Mapping[str, Any] | None, *, others: int
    ) -> bytes | TryAgainError | EndpointError:
        """Sends one request to one replica, and draws the conclusion for its breaker.

        It has all the time that is left, or its share of it where others can still be asked.
        """
        answer: bytes | TryAgainError | EndpointError
        by = deadline.when()
        left = None if by is None or not others else (by - asyncio.get_running_loop().time()) / (others + 1)
        with replica.busy():
            try:
                async with asyncio.timeout(left):
                    answer = await self._send(replica, path, body)
            except TimeoutError:
                answer = TryAgainError(f"{replica.name} did not answer in {left:.3g} s")
            except BaseException:
                # Cancelled: by the deadline because the server hangs, or by somebody who needs the answer no more.
                if deadline.expired():
                    replica.breaker.failed()
                else:
                    replica.breaker.abandoned()
                raise
        if isinstance(answer, TryAgainError) and not answer.is_well:
            replica.breaker.failed()
        else:
            replica.breaker.succeeded()
        return answer

    async def _send(
        self, replica: Replica, path: str, body: Mapping[str, Any] | None
    ) -> bytes | TryAgainError | EndpointError:
        import openai

        settings = self.settings
        client = await self._clients.get(replica.url)
        try:
            if body is None:
                response = await client.get(path, cast_to=httpx.Response)
            else:
                response = await client.post(path, body=body, cast_to=httpx.Response)
        except openai.APIStatusError as error:
            return status_failure(
                error.status_code,
                error.response.headers,
                error.response.content,
                model=settings.model,
                server=replica.name,
                api_key=settings.api_key,
            )
        except UnusableAnswerError as error:
            return self._unusable(replica, str(error))
        except (openai.APIConnectionError, httpx.HTTPError, OSError) as error:
            cause = error.__cause__ or error
            if isinstance(cause, UnusableAnswerError):  # in its version 2 the library wraps whatever goes wrong
                return self._unusable(replica, str(cause))
            reason = clean(str(cause), settings.api_key) or type(cause).__name__
            return TryAgainError(f"the connection to {replica.name} failed ({reason})")
        return response.content

    def _read(self, replica: Replica, answer: bytes, read: Callable[[bytes], T]) -> T:
        try:
            return read(answer)
        except UnusableAnswerError as error:
            failure = self._unusable(replica, str(error))
        raise failure

    def _unusable(self, replica: Replica, problem: str) -> EndpointAnswerError:
        problem = clean(problem, self.settings.api_key)
        return EndpointAnswerError(
            f"the answer of model {self.settings.model!r} at {replica.name} cannot be used: {problem}"
        )


def _name(url: str) -> str:
    parsed = httpx.URL(url)
    host = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
    return f"{host}:{parsed.port or (443 if parsed.scheme == 'https' else 80)}"


def _shared_part(body: Mapping[str, Any] | None) -> bytes:
    """What requests have in common that a server remembers: the image, or else the whole text."""
    if body is None:
        return b""
    shared: Any = body.get("messages") or body.get("prompt") or body.get("input")
    if body.get("messages") and isinstance(content := body["messages"][0]["content"], list):
        shared = content[0]  # the image comes first
    return str(shared).encode(errors="replace")


def _check_writable(body: Mapping[str, Any]) -> None:
    try:
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        return
    except (TypeError, ValueError) as error:  # such as half a surrogate pair
        problem = type(error).__name__
    raise InputError(f"a request to a model cannot be written as JSON in UTF-8 ({problem}); check its texts")
