"""The responses of a server with vLLM's OpenAI-compatible API, without a model."""

import hashlib
import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

_VECTOR_LENGTH: Final = 8
_LIKELY: Final = math.log(0.75)
"""Log-probability of the token that is returned."""


def build_response(
    path: str,
    body: Mapping[str, Any],
    *,
    models: Mapping[str, int],
    respond: Callable[[Mapping[str, Any]], str],
    choose: Callable[[Mapping[str, Any], Sequence[str]], str],
    constrained: bool = True,
    guided_choice: bool = False,
    logprobs: bool = True,
    images_dropped: bool = False,
    bos_tokens: int = 1,
) -> dict[str, Any] | str:
    """Returns the response to a valid request.

    Tokens are counted as words. The token count of an image depends on its bytes, so that two images have different
    counts. The log-probabilities list the whole text as one token with a probability of 0.75; the other choices share
    the rest.

    Args:
        path: The path of the request.
        body: The JSON document of the request.
        models: Names of the models and their context lengths.
        respond: Returns the text of an unconstrained response, from the part of the request that reaches the model.
        choose: Returns the text of a constrained response, from the request and the choices.
        constrained: Whether constraints have an effect.
        guided_choice: Whether the field of a constraint is ``guided_choice``, as in vLLM before 0.11.
        logprobs: Whether log-probabilities are returned on request.
        images_dropped: Whether images do not reach the model.
        bos_tokens: Number of BOS tokens, with the id 1, that the tokenizer adds before a raw prompt.

    Returns:
        The JSON document of the response, or the message of a 404.
    """
    if path == "/v1/models":
        return {"object": "list", "data": [_model(name, length) for name, length in models.items()]}
    name = body.get("model")
    if name not in models:
        return f"The model `{name}` does not exist."
    if path == "/v1/embeddings":
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        data = [{"object": "embedding", "index": i, "embedding": _vector(text)} for i, text in enumerate(texts)]
        return {"object": "list", "model": name, "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    if path not in {"/v1/chat/completions", "/v1/completions"}:
        return "Not Found"
    constraint = (
        body.get("guided_choice", []) if guided_choice else body.get("structured_outputs", {}).get("choice", [])
    )
    choices = constraint if constrained else []
    text = choose(body, choices) if choices else respond(_without_images(body) if images_dropped else body)
    count = int(body.get("top_logprobs") or 0) if "messages" in body else int(body.get("logprobs") or 0)
    tokens = _first_token(text, choices, count) if logprobs and count else None
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "logprobs": None}
    if path == "/v1/chat/completions":
        choice["message"] = {"role": "assistant", "content": text}
        choice["logprobs"] = tokens and {"content": [_chat_token(tokens)]}
    else:
        choice["text"] = text
        choice["logprobs"] = tokens and _text_tokens(tokens)
        if body.get("return_token_ids"):
            choice["prompt_token_ids"] = _token_ids(
                body["prompt"], bos_tokens if body.get("add_special_tokens", True) else 0
            )
    prompt = body.get("messages", body.get("prompt"))
    prompt_tokens = len(json.dumps(prompt).split())
    if not images_dropped:
        prompt_tokens += sum(_image_tokens(url) for url in images(body))
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": len(text.split()), "prompt_tokens_details": None}
    return {"id": "made-up", "object": "made-up", "model": name, "choices": [choice], "usage": usage}


def images(body: Mapping[str, Any]) -> list[str]:
    """Returns the image URLs of a chat request, in order."""
    contents = [message.get("content") for message in body.get("messages", [])]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return [part["image_url"]["url"] for part in parts if part.get("type") == "image_url"]


def _without_images(body: Mapping[str, Any]) -> Mapping[str, Any]:
    def text_parts(content: Any) -> Any:
        return [part for part in content if part.get("type") != "image_url"] if isinstance(content, list) else content

    messages = [{**message, "content": text_parts(message.get("content"))} for message in body.get("messages", [])]
    return {**body, "messages": messages}


def _model(name: str, length: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "owned_by": "vllm", "root": name, "max_model_len": length}


def _vector(text: str) -> list[float]:
    digest = hashlib.sha256(text.encode()).digest()[:_VECTOR_LENGTH]
    numbers = [byte - 127.5 for byte in digest]
    length = math.hypot(*numbers)
    return [number / length for number in numbers]


def _image_tokens(url: str) -> int:
    return 16 + hashlib.sha256(url.encode()).digest()[0]


def _token_ids(prompt: str, bos_tokens: int) -> list[int]:
    words = prompt.replace("<s>", " <s> ").split()
    return [1] * bos_tokens + [1 if word == "<s>" else 3 + zlib.crc32(word.encode()) % 32_000 for word in words]


def _first_token(text: str, choices: list[str], count: int) -> list[tuple[str, float]]:
    """Returns the token that is returned and then its alternatives, each with its log-probability."""
    others = [choice for choice in choices if choice != text][: count - 1] or ["something else"][: count - 1]
    return [(text, _LIKELY), *((other, math.log(0.25 / len(others))) for other in others)]


def _chat_token(tokens: list[tuple[str, float]]) -> dict[str, Any]:
    listed = [{"token": token, "logprob": logprob, "bytes": list(token.encode())} for token, logprob in tokens]
    return {**listed[0], "top_logprobs": listed}


def _text_tokens(tokens: list[tuple[str, float]]) -> dict[str, Any]:
    token, logprob = tokens[0]
    return {"tokens": [token], "token_logprobs": [logprob], "top_logprobs": [dict(tokens)], "text_offset": [0]}
