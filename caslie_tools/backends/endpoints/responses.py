"""Reads the responses of a server with an OpenAI-compatible API. Only the fields that are used are checked."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

# Rounding may make the logarithm of 1 slightly positive. NaN fails this bound as well.
LogProbability = Annotated[float, Field(le=0.01)]
Count = Annotated[int, Field(ge=0)]


class UnusableResponseError(Exception):
    """A response cannot be used. The message says why, as the end of a sentence about the response."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What a model generated for one prompt."""

    text: str
    finish_reason: str | None
    """``stop``, or ``length`` if the text was cut off at ``max_tokens``."""
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    """Tokens of the prompt that were in the server's prefix cache; ``None`` if the server does not report them."""
    top_logprobs: tuple[Mapping[str, float], ...] = ()
    """Per generated token: the listed alternatives and the token itself, as token text to log-probability."""


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model that a server serves."""

    id: str
    max_model_len: int | None
    """Length of the context in tokens, prompt and response together; ``None`` if the server does not report it."""


class _Response(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Details(_Response):
    cached_tokens: Count | None = None


class _Usage(_Response):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_tokens_details: _Details | None = None


class _Alternative(_Response):
    token: str
    logprob: LogProbability


class _Token(_Alternative):
    top_logprobs: tuple[_Alternative, ...] = ()


class _ChatLogprobs(_Response):
    content: tuple[_Token, ...] | None = None


class _Message(_Response):
    content: str


class _ChatChoice(_Response):
    message: _Message
    finish_reason: str | None = None
    logprobs: _ChatLogprobs | None = None


class _Chat(_Response):
    choices: tuple[_ChatChoice, ...] = Field(min_length=1)
    usage: _Usage | None = None


class _TextLogprobs(_Response):
    tokens: tuple[str, ...] = ()
    token_logprobs: tuple[LogProbability | None, ...] = ()
    top_logprobs: tuple[Mapping[str, LogProbability] | None, ...] | None = None


class _TextChoice(_Response):
    text: str
    finish_reason: str | None = None
    logprobs: _TextLogprobs | None = None
    prompt_token_ids: tuple[Count, ...] | None = None


class _Text(_Response):
    choices: tuple[_TextChoice, ...] = Field(min_length=1)
    usage: _Usage | None = None


class _Embedding(_Response):
    index: Count
    embedding: tuple[FiniteFloat, ...] = Field(min_length=1)


class _Embeddings(_Response):
    data: tuple[_Embedding, ...]


class _ServedModel(_Response):
    id: str
    max_model_len: Count | None = None


class _Models(_Response):
    data: tuple[_ServedModel, ...]


def read_chat(body: bytes) -> Completion:
    """Reads a response of ``/v1/chat/completions``.

    Raises:
        UnusableResponseError: If the body is not such a response. The other functions raise it as well.
    """
    chat = _read(_Chat, body)
    choice = chat.choices[0]
    tokens = (choice.logprobs and choice.logprobs.content) or ()
    top_logprobs = tuple(
        _by_text((listed.token, listed.logprob) for listed in (*token.top_logprobs, token)) for token in tokens
    )
    return _completion(choice.message.content, choice.finish_reason, chat.usage, top_logprobs)


def read_text(body: bytes) -> Completion:
    """Reads a response of ``/v1/completions``."""
    text = _read(_Text, body)
    choice = text.choices[0]
    top_logprobs: tuple[Mapping[str, float], ...] = ()
    if choice.logprobs is not None and choice.logprobs.top_logprobs is not None:
        generated = zip(choice.logprobs.tokens, choice.logprobs.token_logprobs, strict=False)
        tokens = [{} if logprob is None else {token: logprob} for token, logprob in generated]
        alternatives = [listed or {} for listed in choice.logprobs.top_logprobs]
        tokens += [{}] * (len(alternatives) - len(tokens))
        top_logprobs = tuple({**token, **listed} for token, listed in zip(tokens, alternatives, strict=False))
    return _completion(choice.text, choice.finish_reason, text.usage, top_logprobs)


def read_prompt_tokens(body: bytes) -> tuple[int, ...] | None:
    """Returns the prompt's token ids from a response of ``/v1/completions``, or ``None`` if it does not have them."""
    return _read(_Text, body).choices[0].prompt_token_ids


def read_embeddings(body: bytes, count: int) -> list[list[float]]:
    """Reads a response of ``/v1/embeddings`` and returns its vectors in the order of the texts.

    Args:
        body: The body of the response.
        count: Number of texts that were sent.
    """
    data = sorted(_read(_Embeddings, body).data, key=lambda item: item.index)
    if [item.index for item in data] != list(range(count)):
        raise UnusableResponseError(f"its {len(data)} embeddings do not match the {count} texts one to one")
    if len({len(item.embedding) for item in data}) > 1:
        raise UnusableResponseError("its embeddings differ in length")
    return [list(item.embedding) for item in data]


def read_models(body: bytes) -> list[ServedModel]:
    """Reads a response of ``/v1/models``."""
    return [ServedModel(id=model.id, max_model_len=model.max_model_len) for model in _read(_Models, body).data]


def chosen_answer(completion: Completion, choice: Sequence[str]) -> str:
    """Returns the allowed text that a constrained completion is.

    Raises:
        UnusableResponseError: If it is none of them: the constraint had no effect, or the text was cut off.
    """
    for text in (completion.text, completion.text.strip()):
        if text in choice:
            return text
    if completion.finish_reason == "length":
        raise UnusableResponseError("it was cut off before it was one of the choices; allow more tokens")
    raise UnusableResponseError(
        "it is none of the choices, so the server ignored the constraint. The field of the constraint is "
        "'guided_choice' in vLLM before 0.11 and 'structured_outputs' since then: set the role's constraint to the "
        "field of your version"
    )


_Schema = TypeVar("_Schema", bound=_Response)


def _read(schema: type[_Schema], body: bytes) -> _Schema:
    try:
        return schema.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    # Raised outside of the except block, so that pydantic's error, which quotes its input, is not in the traceback.
    if first["type"] == "json_invalid":
        raise UnusableResponseError("it is not JSON")
    field = ".".join(str(part) for part in first["loc"]) or "the whole"
    raise UnusableResponseError(f"it does not match the schema of OpenAI's API: {field}: {first['msg']}")


def _completion(
    text: str, finish_reason: str | None, usage: _Usage | None, top_logprobs: tuple[Mapping[str, float], ...]
) -> Completion:
    usage = usage or _Usage()
    details = usage.prompt_tokens_details or _Details()
    return Completion(
        text=text,
        finish_reason=finish_reason,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=details.cached_tokens,
        top_logprobs=top_logprobs,
    )


def _by_text(tokens: Iterable[tuple[str, float]]) -> Mapping[str, float]:
    # Two tokens can have the same text. The first one is the more likely.
    by_text: dict[str, float] = {}
    for text, logprob in tokens:
        by_text.setdefault(text, logprob)
    return by_text
