import json
from typing import Any

import pytest

from caslie_tools.backends.endpoints.responses import (
    Completion,
    UnusableResponseError,
    chosen_answer,
    read_chat,
    read_embeddings,
    read_models,
    read_text,
)


def chat(content: Any = "yes", **choice: Any) -> bytes:
    return json.dumps({"choices": [{"message": {"content": content}, **choice}]}).encode()


def completion(text: str, finish_reason: str = "stop") -> Completion:
    return Completion(
        text=text, finish_reason=finish_reason, prompt_tokens=None, completion_tokens=None, cached_tokens=None
    )


def test_a_minimal_chat_response_is_enough() -> None:
    read = read_chat(chat())
    assert (read.text, read.finish_reason) == ("yes", None)
    assert (read.prompt_tokens, read.completion_tokens, read.cached_tokens) == (None, None, None)
    assert read.top_logprobs == ()


def test_cached_tokens_are_read() -> None:
    answer = json.loads(chat()) | {
        "usage": {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 8}}
    }
    assert read_chat(json.dumps(answer).encode()).cached_tokens == 8


def test_the_more_likely_of_two_tokens_with_one_text_counts_and_the_token_itself_is_listed() -> None:
    top = [{"token": "A", "logprob": -1.0}, {"token": "A", "logprob": -5.0}]
    listed = {"content": [{"token": "B", "logprob": -2.0, "top_logprobs": top}]}
    assert read_chat(chat(logprobs=listed)).top_logprobs == ({"A": -1.0, "B": -2.0},)


def test_the_log_probabilities_of_a_raw_completion_may_have_gaps() -> None:
    logprobs = {
        "tokens": ["a", "b", "c"],
        "token_logprobs": [None, -1.5, -0.5],
        "top_logprobs": [None, {"x": -0.25}, {"c": -0.5}],
    }
    body = json.dumps({"choices": [{"text": "abc", "logprobs": logprobs}]}).encode()
    assert read_text(body).top_logprobs == ({}, {"b": -1.5, "x": -0.25}, {"c": -0.5})


@pytest.mark.parametrize("logprob", ["NaN", "0.7", '"-1"', "null", "1e999"])
def test_a_log_probability_is_a_number_of_at_most_zero(logprob: str) -> None:
    body = b'{"choices": [{"message": {"content": ""}, "logprobs": {"content": [{"token": "a", "logprob": %s}]}}]}'
    with pytest.raises(UnusableResponseError, match=r"logprobs\.content\.0\.logprob"):
        read_chat(body % logprob.encode())


@pytest.mark.parametrize("content", [None, 7, ["yes"], {"text": "yes"}])
def test_the_content_of_a_message_is_a_text(content: Any) -> None:
    with pytest.raises(UnusableResponseError, match=r"choices\.0\.message\.content"):
        read_chat(chat(content))


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"[" * 100_000, b"\xff\xfe", b'{"choices": [{}]}', b'"\\ud800"'])
def test_any_other_body_is_unusable(body: bytes) -> None:
    for read in (read_chat, read_text, read_models):
        with pytest.raises(UnusableResponseError) as caught:
            read(body)
        assert caught.value.__context__ is None
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "data",
    [
        [],
        [{"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": []}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [float("nan")]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": "AAAA"}],
    ],
)
def test_embeddings_that_do_not_match_the_texts_are_unusable(data: list[Any]) -> None:
    with pytest.raises(UnusableResponseError):
        read_embeddings(json.dumps({"data": data}).encode(), 2)


def test_embeddings_are_sorted_by_index() -> None:
    data = [{"index": 1, "embedding": [2, 2]}, {"index": 0, "embedding": [1.0, 1.0]}]
    assert read_embeddings(json.dumps({"data": data}).encode(), 2) == [[1.0, 1.0], [2.0, 2.0]]


def test_a_choice_is_matched_exactly_except_for_surrounding_blanks() -> None:
    assert chosen_answer(completion("yes"), ["yes", "no"]) == "yes"
    assert chosen_answer(completion(" no\n"), ["yes", "no"]) == "no"
    assert chosen_answer(completion(" no"), [" no", "no"]) == " no"
    with pytest.raises(UnusableResponseError, match="ignored the constraint"):
        chosen_answer(completion("Yes."), ["yes", "no"])
    with pytest.raises(UnusableResponseError, match="allow more tokens"):
        chosen_answer(completion("ye", "length"), ["yes", "no"])
