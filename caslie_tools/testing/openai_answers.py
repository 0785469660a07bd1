"""The answers of a server that speaks OpenAI's API as vLLM does, without a model behind it."""

import hashlib
import json
import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

_VECTOR_LENGTH: Final = 8
_LIKELY: Final = math.log(0.75)


def answer(
    path: str,
    body: Mapping[str, Any],
    *,
    models: Mapping[str, int],
    says: Callable[[Mapping[str, Any]], str],
    constrained: bool = True,
    guided: bool = False,
    logprobs: bool = True,
    sighted: bool = True,
    bos: int = 1,
) -> dict[str, Any] | str:
    """Answers a request that is well.

    Tokens are words; an image has a number of them that depends on its bytes, so that two are told apart by it. The
    whole text is told as one token with a probability of 0.75; the other choices share the rest.

    Args:
        path: Where it was sent.
        body: Its JSON document.
        models: Names of the models and their context lengths.
        says: What the model says freely to what reaches it.
        constrained: Whether a constraint binds.
        guided: Whether a constraint is asked for as it was before vLLM 0.11.
        logprobs: Whether log-probabilities are told when asked for.
        sighted: Whether images reach the model.
        bos: How many BOS tokens (of the id 1) the tokenizer puts before a raw prompt.

    Returns:
        The JSON document of the answer, or why there is none.
    """
    if path == "/v1/models":
        return {"object": "list", "data": [_model(name, length) for name, length in models.items()]}
    name = body.get("model")
    if name not in models:
        return f"The model `{name}` does not exist."
    if path == "/v1/embeddings":
        given = body["input"]
        texts = [given] if isinstance(given, str) else given
        data = [{"object": "embedding", "index": i, "embedding": _vector(text)} for i, text in enumerate(texts)]
        return {"object": "list", "model": name, "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    if path not in {"/v1/chat/completions", "/v1/completions"}:
        return "Not Found"
    asked = body.get("guided_choice", []) if guided else body.get("structured_outputs", {}).get("choice", [])
    choices = asked if constrained else []
    text = choices[0] if choices else says(body if sighted else _without_images(body))
    wanted = int(body.get("top_logprobs") or 0) if "messages" in body else int(body.get("logprobs") or 0)
    listed = _first_token(text, choices, wanted) if logprobs and wanted else None
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "logprobs": None}
    if path == "/v1/chat/completions":
        choice["message"] = {"role": "assistant", "content": text}
        choice["logprobs"] = listed and {"content": [_chat_token(listed)]}
    else:
        choice["text"] = text
        choice["logprobs"] = listed and _text_tokens(listed)
        if body.get("return_token_ids"):
            choice["prompt_token_ids"] = _token_ids(body["prompt"], bos if body.get("add_special_tokens", True) else 0)
    prompt = body.get("messages", body.get("prompt"))
    counted = len(json.dumps(prompt).split()) + sum(_image_tokens(url) for url in images(body) if sighted)
    usage = {"prompt_tokens": counted, "completion_tokens": len(text.split()), "prompt_tokens_details": None}
    return {"id": "made-up", "object": "made-up", "model": name, "choices": [choice], "usage": usage}


def images(body: Mapping[str, Any]) -> list[str]:
    """Returns the image URLs of a chat request, in order."""
    contents = [message.get("content") for message in body.get("messages", [])]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return [part["image_url"]["url"] for part in parts if part.get("type") == "image_url"]


def _without_images(body: Mapping[str, Any]) -> Mapping[str, Any]:
    def seen(content: Any) -> Any:
        return [part for part in content if part.get("type") != "image_url"] if isinstance(content, list) else content

    messages = [{**message, "content": seen(message.get("content"))} for message in body.get("messages", [])]
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


def _token_ids(prompt: str, bos: int) -> list[int]:
    words = prompt.replace("<s>", " <s> ").split()
    return [1] * bos + [1 if word == "<s>" else 3 + zlib.crc32(word.encode()) % 32_000 for word in words]


def _first_token(text: str, choices: list[str], wanted: int) -> list[tuple[str, float]]:
    """The token that was taken, then the others, likeliest first."""
    others = [choice for choice in choices if choice != text][: wanted - 1] or ["something else"][: wanted - 1]
    return [(text, _LIKELY), *((other, math.log(0.25 / len(others))) for other in others)]


def _chat_token(listed: list[tuple[str, float]]) -> dict[str, Any]:
    tokens = [{"token": token, "logprob": logprob, "bytes": list(token.encode())} for token, logprob in listed]
    return {**tokens[0], "top_logprobs": tokens}


def _text_tokens(listed: list[tuple[str, float]]) -> dict[str, Any]:
    token, logprob = listed[0]
    return {"tokens": [token], "token_logprobs": [logprob], "top_logprobs": [dict(listed)], "text_offset": [0]}
