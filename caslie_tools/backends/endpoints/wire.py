"""What a server that speaks OpenAI's API answers, as far as it is used here; everything else in it is ignored."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

# Rounding may lift the logarithm of one a hair over zero; "not a number" fails this bound as well.
LogProbability = Annotated[float, Field(le=0.01)]
Count = Annotated[int, Field(ge=0)]


class UnusableAnswerError(Exception):
    """The server answered something that cannot be used; the message says what, as the end of a sentence."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What a model generated for one prompt."""

    text: str
    finish_reason: str | None
    """``stop``, or ``length`` when it was cut off at ``max_tokens``."""
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    """How many of the prompt's tokens the server had in its prefix cache, where it tells."""
    top_logprobs: tuple[Mapping[str, float], ...] = ()
    """Per generated token: token text to log-probability, as the server lists them; the token itself is among them."""


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model that a server has."""

    id: str
    max_model_len: int | None
    """Tokens of context, prompt and answer together, where the server tells."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Details(_Answer):
    cached_tokens: Count | None = None


class _Usage(_Answer):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_tokens_details: _Details | None = None


class _Alternative(_Answer):
    token: str
    logprob: LogProbability


class _Token(_Alternative):
    top_logprobs: tuple[_Alternative, ...] = ()


class _ChatLogprobs(_Answer):
    content: tuple[_Token, ...] | None = None


class _Message(_Answer):
    content: str


class _ChatChoice(_Answer):
    message: _Message
    finish_reason: str | None = None
    logprobs: _ChatLogprobs | None = None


class _Chat(_Answer):
    choices: tuple[_ChatChoice, ...] = Field(min_length=1)
    usage: _Usage | None = None


class _TextLogprobs(_Answer):
    tokens: tuple[str, ...] = ()
    token_logprobs: tuple[LogProbability | None, ...] = ()
    top_logprobs: tuple[Mapping[str, LogProbability] | None, ...] | None = None


class _TextChoice(_Answer):
    text: str
    finish_reason: str | None = None
    logprobs: _TextLogprobs | None = None
    prompt_token_ids: tuple[Count, ...] | None = None


class _Text(_Answer):
    choices: tuple[_TextChoice, ...] = Field(min_length=1)
    usage: _Usage | None = None


class _Embedding(_Answer):
    index: Count
    embedding: tuple[FiniteFloat, ...] = Field(min_length=1)


class _Embeddings(_Answer):
    data: tuple[_Embedding, ...]


class _ServedModel(_Answer):
    id: str
    max_model_len: Count | None = None


class _Models(_Answer):
    data: tuple[_ServedModel, ...]


def read_chat(body: bytes) -> Completion:
    """Reads the answer of ``/v1/chat/completions``.

    Raises:
        UnusableAnswerError: If it is not one; so do the other readers.
    """
    chat = _read(_Chat, body)
    choice = chat.choices[0]
    tokens = (choice.logprobs and choice.logprobs.content) or ()
    listed = tuple(_first_wins((each.token, each.logprob) for each in (*one.top_logprobs, one)) for one in tokens)
    return _completion(choice.message.content, choice.finish_reason, chat.usage, listed)


def read_text(body: bytes) -> Completion:
    """Reads the answer of ``/v1/completions``."""
    text = _read(_Text, body)
    choice = text.choices[0]
    listed: tuple[Mapping[str, float], ...] = ()
    if choice.logprobs is not None and choice.logprobs.top_logprobs is not None:
        made = zip(choice.logprobs.tokens, choice.logprobs.token_logprobs, strict=False)
        own = [{} if logprob is None else {token: logprob} for token, logprob in made]
        tops = [top or {} for top in choice.logprobs.top_logprobs]
        own += [{}] * (len(tops) - len(own))
        listed = tuple({**mine, **top} for mine, top in zip(own, tops, strict=False))
    return _completion(choice.text, choice.finish_reason, text.usage, listed)


def read_prompt_tokens(body: bytes) -> tuple[int, ...] | None:
    """Reads the tokens of the prompt off the answer of ``/v1/completions``; ``None`` where the server hides them."""
    return _read(_Text, body).choices[0].prompt_token_ids


def read_embeddings(body: bytes, count: int) -> list[list[float]]:
    """Reads the answer of ``/v1/embeddings`` to that many texts, in the order of the texts."""
    data = sorted(_read(_Embeddings, body).data, key=lambda each: each.index)
    if [each.index for each in data] != list(range(count)):
        raise UnusableAnswerError(f"it holds {len(data)} embeddings that do not match the {count} texts one to one")
    if len({len(each.embedding) for each in data}) > 1:
        raise UnusableAnswerError("its embeddings differ in length")
    return [list(each.embedding) for each in data]


def read_models(body: bytes) -> list[ServedModel]:
    """Reads the answer of ``/v1/models``."""
    return [ServedModel(id=each.id, max_model_len=each.max_model_len) for each in _read(_Models, body).data]


def chosen(completion: Completion, choice: Sequence[str]) -> str:
    """Returns the choice that a constrained answer names.

    Raises:
        UnusableAnswerError: If it names none: the constraint did not bind, or the answer was cut off.
    """
    for text in (completion.text, completion.text.strip()):
        if text in choice:
            return text
    if completion.finish_reason == "length":
        raise UnusableAnswerError("it was cut off before it was one of the choices; allow more tokens")
    raise UnusableAnswerError(
        "it is none of the choices, so the server ignored the constraint; vLLM before 0.11 takes it as "
        "'guided_choice', later versions as 'structured_outputs': set the role's constraint to what the server has"
    )


_Shape = TypeVar("_Shape", bound=_Answer)


def _read(shape: type[_Shape], body: bytes) -> _Shape:
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    # Outside: what pydantic says of its input stays out of the traceback, it may be anything.
    if first["type"] == "json_invalid":
        raise UnusableAnswerError("it is not JSON")
    place = ".".join(str(part) for part in first["loc"]) or "the whole"
    raise UnusableAnswerError(f"it is not as OpenAI's API documents it: {place}: {first['msg']}")


def _completion(
    text: str, finish_reason: str | None, usage: _Usage | None, listed: tuple[Mapping[str, float], ...]
) -> Completion:
    usage = usage or _Usage()
    details = usage.prompt_tokens_details or _Details()
    return Completion(
        text=text,
        finish_reason=finish_reason,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=details.cached_tokens,
        top_logprobs=listed,
    )


def _first_wins(pairs: Iterable[tuple[str, float]]) -> Mapping[str, float]:
    # Two tokens can have the same text; the likelier is listed first.
    found: dict[str, float] = {}
    for token, logprob in pairs:
        found.setdefault(token, logprob)
    return found
