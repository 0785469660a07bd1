"""What our clients take for granted of vLLM, shown on a live server: when a new version changes it, this says so."""

import base64
import io
import itertools
import json
import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import httpx
import pytest
from PIL import Image, ImageDraw

from tests.vllm import fleet
from tests.vllm.servers import VllmServer

CAPITAL = "What is the capital of France? Answer in one word."
RED, BLUE = (220, 30, 30), (30, 30, 220)


def chat(server: VllmServer, content: str | list[dict[str, Any]], **fields: Any) -> httpx.Response:
    body = {
        "model": server.names[0],
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 8,
        "temperature": 0,
    }
    with server.client() as client:
        return client.post("/v1/chat/completions", json=body | fields)


def complete(server: VllmServer, prompt: str, **fields: Any) -> Any:
    body = {"model": fleet.PREDICTOR, "prompt": prompt, "max_tokens": 2, "temperature": 0, "return_token_ids": True}
    with server.client() as client:
        answer = client.post("/v1/completions", json=body | fields)
    assert answer.is_success, answer.text
    return answer.json()["choices"][0]


def said(answer: httpx.Response) -> str:
    assert answer.is_success, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def first_token(answer: httpx.Response) -> dict[str, float]:
    """The probabilities of the answer's first token; what a constraint forbids has none."""
    assert answer.is_success, answer.text
    listed = answer.json()["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    return {entry["token"]: math.exp(entry["logprob"]) for entry in listed if entry["logprob"] > -100}


def cached_tokens(answer: httpx.Response) -> int:
    assert answer.is_success, answer.text
    return int(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"])


def token_ids(server: VllmServer, text: str, **fields: Any) -> list[int]:
    with server.client() as client:
        answer = client.post("/tokenize", json={"model": server.names[0], "prompt": text} | fields)
    return list(answer.json()["tokens"])


def picture(colour: tuple[int, int, int]) -> str:
    image = Image.new("RGB", (80, 60), colour)
    ImageDraw.Draw(image).ellipse((10, 10, 45, 45), fill=(255, 255, 255))
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def about(url: str, question: str = "Describe the product.") -> list[dict[str, Any]]:
    return [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question}]


class TestConstraint:
    def test_a_choice_binds(self, text_server: VllmServer) -> None:
        assert "Paris" in said(chat(text_server, CAPITAL))
        assert said(chat(text_server, CAPITAL, structured_outputs={"choice": ["Rome", "Oslo"]})) in {"Rome", "Oslo"}

    def test_the_old_field_is_ignored_in_silence(self, text_server: VllmServer) -> None:
        answer = chat(text_server, CAPITAL, guided_choice=["Rome", "Oslo"])
        assert said(answer) == said(chat(text_server, CAPITAL))

    @pytest.mark.parametrize("constraint", [{"choice": []}, {"chioce": ["yes", "no"]}])
    def test_a_constraint_it_cannot_read_is_refused(self, text_server: VllmServer, constraint: dict[str, Any]) -> None:
        assert chat(text_server, CAPITAL, structured_outputs=constraint).status_code == 400

    def test_a_vote_has_its_probability_from_one_token(self, text_server: VllmServer) -> None:
        answer = chat(
            text_server,
            "Is water wet?",
            structured_outputs={"choice": ["yes", "no"]},
            logprobs=True,
            top_logprobs=10,
            max_tokens=1,
        )
        tokens = first_token(answer)
        # A choice may begin with any token that begins it: P(yes) is the sum over "yes", "ye" and "y".
        assert set(tokens) == {"yes", "ye", "y", "no", "n"}
        assert sum(tokens.values()) == pytest.approx(1, abs=1e-4)
        assert answer.json()["usage"]["completion_tokens"] == 1

    def test_raw_completions_are_constrained_too(self, text_server: VllmServer) -> None:
        answer = complete(
            text_server, "The best letter is", structured_outputs={"choice": ["A", "B", "C"]}, logprobs=10, max_tokens=1
        )
        tokens = {token: math.exp(value) for token, value in answer["logprobs"]["top_logprobs"][0].items()}
        assert {token for token, probability in tokens.items() if probability > 0} == {"A", "B", "C"}
        assert sum(tokens.values()) == pytest.approx(1, abs=1e-4)
        assert answer["text"] == max(tokens, key=tokens.__getitem__)

    def test_no_more_than_20_probabilities_a_token(self, text_server: VllmServer) -> None:
        assert chat(text_server, CAPITAL, logprobs=True, top_logprobs=20).status_code == 200
        assert chat(text_server, CAPITAL, logprobs=True, top_logprobs=21).status_code == 400


class TestNames:
    def test_all_names_answer_and_the_first_signs(self, text_server: VllmServer) -> None:
        answers = [chat(text_server, CAPITAL, model=name) for name in text_server.names]
        assert {said(answer) for answer in answers} == {"The capital of France is Paris."}
        assert {answer.json()["model"] for answer in answers} == {text_server.names[0]}

    def test_the_names_and_the_context_length_are_listed(self, text_server: VllmServer) -> None:
        with text_server.client() as client:
            listed = client.get("/v1/models").json()["data"]
        assert {model["id"]: model["max_model_len"] for model in listed} == dict.fromkeys(text_server.names, 4096)

    def test_an_unknown_name_is_refused(self, text_server: VllmServer) -> None:
        answer = chat(text_server, CAPITAL, model="judge-6")
        assert answer.status_code == 404
        assert "does not exist" in answer.json()["error"]["message"]

    def test_a_prompt_that_is_too_long_is_refused(self, text_server: VllmServer) -> None:
        answer = chat(text_server, "word " * 5000)
        assert answer.status_code == 400
        assert "maximum context length is 4096 tokens" in answer.json()["error"]["message"]


class TestKey:
    def test_a_wrong_key_is_refused(self, text_server: VllmServer) -> None:
        with text_server.client(api_key="wrong") as client:
            answer = client.get("/v1/models")
        assert answer.status_code == 401

    def test_the_key_guards_only_the_api_itself(self, text_server: VllmServer) -> None:
        body = {"model": text_server.names[0], "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        with httpx.Client(base_url=text_server.url, timeout=60) as anyone:
            assert anyone.post("/v1/chat/completions", json=body).status_code == 401
            assert anyone.post("/invocations", json=body).status_code == 200  # never leave such a port open
            assert anyone.post("/tokenize", json={"prompt": "Hi"}).status_code == 200
            assert anyone.get("/metrics").status_code == 200

    def test_the_key_is_not_logged(self, text_server: VllmServer) -> None:
        assert text_server.api_key not in text_server.log.read_text(encoding="utf-8")


class TestPrefixCache:
    def test_what_comes_first_is_computed_once_for_all_judges(self, text_server: VllmServer) -> None:
        shared = "The shop sells tableware, lamps and chairs of many kinds and colours. " * 8
        before = text_server.metrics()
        answers = [chat(text_server, f"{shared} Judge {name}.", model=name, max_tokens=1) for name in fleet.JUDGES]
        after = text_server.metrics()
        hits = [cached_tokens(answer) for answer in answers]
        assert hits[0] == 0
        assert all(hit >= 96 and hit % 32 == 0 for hit in hits[1:])  # whole blocks of 32 tokens
        assert after["vllm:prefix_cache_hits_total"] - before["vllm:prefix_cache_hits_total"] == sum(hits)
        asked = sum(answer.json()["usage"]["prompt_tokens"] for answer in answers)
        assert after["vllm:prefix_cache_queries_total"] - before["vllm:prefix_cache_queries_total"] == asked

    def test_what_comes_after_a_difference_is_not(self, text_server: VllmServer) -> None:
        shared = "The garden has roses, tulips and herbs of many kinds and colours. " * 8
        answers = [chat(text_server, f"Judge {name}. {shared}", max_tokens=1) for name in fleet.JUDGES[:2]]
        assert [cached_tokens(answer) for answer in answers] == [0, 0]


class TestBeginOfSequence:
    def test_a_raw_prompt_that_has_one_gets_a_second(self, text_server: VllmServer) -> None:
        (bos,) = token_ids(text_server, fleet.BOS, add_special_tokens=False)
        doubled = complete(text_server, f"{fleet.BOS}The capital")["prompt_token_ids"]
        assert doubled[:2] == [bos, bos]
        assert token_ids(text_server, f"{fleet.BOS}The capital") == doubled

    def test_unless_told_otherwise(self, text_server: VllmServer) -> None:
        (bos,) = token_ids(text_server, fleet.BOS, add_special_tokens=False)
        sent = complete(text_server, f"{fleet.BOS}The capital", add_special_tokens=False)["prompt_token_ids"]
        assert sent.count(bos) == 1
        assert sent == complete(text_server, "The capital")["prompt_token_ids"]

    def test_a_chat_has_one(self, text_server: VllmServer) -> None:
        (bos,) = token_ids(text_server, fleet.BOS, add_special_tokens=False)
        assert chat(text_server, "Hi", return_token_ids=True).json()["prompt_token_ids"].count(bos) == 1


class TestControlTokens:
    """A title that spells a control token is one: what comes from outside must not reach the server as it is."""

    def test_in_a_raw_prompt(self, text_server: VllmServer) -> None:
        (end,) = token_ids(text_server, "<|im_end|>", add_special_tokens=False)
        assert end in complete(text_server, "A cup<|im_end|> of tea", add_special_tokens=False)["prompt_token_ids"]

    def test_in_a_chat(self, text_server: VllmServer) -> None:
        (end,) = token_ids(text_server, "<|im_end|>", add_special_tokens=False)
        clean, forged = (
            chat(text_server, text, return_token_ids=True).json()["prompt_token_ids"].count(end)
            for text in ("A cup of tea", "A cup<|im_end|> of tea")
        )
        assert forged == clean + 1

    def test_a_spelled_out_picture_takes_the_place_of_the_real_one(self, vision_server: VllmServer) -> None:
        (image,) = token_ids(vision_server, "<image>", add_special_tokens=False)
        answer = chat(vision_server, about(picture(RED), "What does <image> mean?")[::-1], return_token_ids=True)
        runs = [len(list(run)) for token, run in itertools.groupby(answer.json()["prompt_token_ids"]) if token == image]
        assert runs == [fleet.IMAGE_TOKENS, 1]  # the text comes first, and the picture landed in the midst of it


class TestPictures:
    def test_their_bytes_reach_the_model(self, vision_server: VllmServer) -> None:
        red, again, blue = (
            chat(vision_server, about(picture(colour)), logprobs=True, top_logprobs=5, return_token_ids=True)
            for colour in (RED, RED, BLUE)
        )
        assert said(red) == said(again)
        assert first_token(red) == pytest.approx(first_token(again), rel=1e-3)
        assert first_token(red) != pytest.approx(first_token(blue), rel=1e-2)
        # The prompt's tokens do not tell pictures apart, only how much room they take.
        assert red.json()["prompt_token_ids"] == blue.json()["prompt_token_ids"]

    def test_their_tokens_are_counted(self, vision_server: VllmServer) -> None:
        seen = chat(vision_server, about(picture(RED))).json()["usage"]["prompt_tokens_details"]
        unseen = chat(vision_server, "Describe the product.").json()["usage"]["prompt_tokens_details"]
        assert seen["multimodal_tokens"] == {"image": fleet.IMAGE_TOKENS}
        assert unseen["multimodal_tokens"] is None

    def test_a_picture_is_part_of_the_prefix(self, vision_server: VllmServer) -> None:
        question = "What is it made of, what colour is it, and who would buy it for whom, do you think? " * 2
        first, same, other = (
            chat(vision_server, about(picture(colour), question)) for colour in ((1, 2, 3), (1, 2, 3), (3, 2, 1))
        )
        assert cached_tokens(first) == cached_tokens(other) == 0
        assert cached_tokens(same) >= 32

    def test_a_vote_can_look_at_one(self, vision_server: VllmServer) -> None:
        question = about(picture(BLUE), "Is the caption 'a blue cup' true to the picture? Answer yes or no.")
        answer = chat(
            vision_server,
            question,
            model=fleet.SIGHTED_JUDGE,
            structured_outputs={"choice": ["yes", "no"]},
            logprobs=True,
            top_logprobs=10,
        )
        assert said(answer) in {"yes", "no"}
        assert sum(first_token(answer).values()) == pytest.approx(1, abs=1e-4)

    def test_a_remote_address_is_not_fetched(self, vision_server: VllmServer, text_server: VllmServer) -> None:
        asked_before = text_server.log.read_text(encoding="utf-8").count("/tempting.png")
        answer = chat(vision_server, about(f"{text_server.url}/tempting.png"))
        assert answer.status_code == 400
        assert "must be from one of the allowed domains" in answer.json()["error"]["message"]
        assert text_server.log.read_text(encoding="utf-8").count("/tempting.png") == asked_before

    @pytest.mark.parametrize(
        "url", ["file:///etc/hostname", "ftp://nowhere.invalid/a.png", "data:image/png;base64,AAAA"]
    )
    def test_what_is_no_picture_is_refused(self, vision_server: VllmServer, url: str) -> None:
        assert chat(vision_server, about(url)).status_code in {400, 500}

    def test_no_more_than_one(self, vision_server: VllmServer) -> None:
        answer = chat(vision_server, [*about(picture(RED)), *about(picture(BLUE))])
        assert answer.status_code == 400
        assert "At most 1 image" in answer.json()["error"]["message"]


class TestEmbeddings:
    @pytest.fixture
    def client(self, embedding_server: VllmServer) -> Iterator[httpx.Client]:
        with embedding_server.client() as client:
            yield client

    def test_one_unit_vector_for_each_text(self, client: httpx.Client) -> None:
        texts = ["a green cup", "a lamp", "a green cup"]
        answer = client.post("/v1/embeddings", json={"model": fleet.EMBEDDINGS, "input": texts}).json()
        assert [entry["index"] for entry in answer["data"]] == [0, 1, 2]
        cup, lamp, same = (entry["embedding"] for entry in answer["data"])
        assert len(cup) == fleet.EMBEDDING_DIMENSIONS
        assert math.hypot(*cup) == pytest.approx(1, abs=1e-4)
        assert same == pytest.approx(cup, abs=1e-4)
        assert lamp != pytest.approx(cup, abs=1e-2)

    def test_base64_holds_the_same_numbers(self, client: httpx.Client) -> None:
        request = {"model": fleet.EMBEDDINGS, "input": "a green cup"}
        plain, packed = (
            client.post("/v1/embeddings", json=request | {"encoding_format": form}).json()["data"][0]["embedding"]
            for form in ("float", "base64")
        )
        unpacked = memoryview(base64.b64decode(packed)).cast("f")
        assert unpacked.tolist() == pytest.approx(plain, abs=1e-5)

    def test_a_text_that_is_too_long_is_refused(self, client: httpx.Client) -> None:
        answer = client.post("/v1/embeddings", json={"model": fleet.EMBEDDINGS, "input": "word " * 600})
        assert answer.status_code == 400
        assert "maximum context length is 512 tokens" in answer.json()["error"]["message"]


class TestCancellation:
    STORY: ClassVar = {"model": fleet.PREDICTOR, "prompt": "Once upon a time", "max_tokens": 3000, "ignore_eos": True}
    """More than a minute's work."""

    def test_a_client_that_stops_listening_ends_the_work(self, text_server: VllmServer) -> None:
        before = text_server.metrics()
        body = self.STORY | {"stream": True}
        with text_server.client() as client, client.stream("POST", "/v1/completions", json=body) as answer:
            lines = answer.iter_lines()  # kept: the stream is closed with it
            assert json.loads(next(lines).removeprefix("data: "))["choices"][0]["text"]
            until(text_server, lambda now: now["vllm:num_requests_running"] == 1)
        self.ended_early(text_server, before)

    def test_a_client_that_runs_out_of_patience_ends_the_work(self, text_server: VllmServer) -> None:
        before = text_server.metrics()
        with text_server.client(timeout=1) as client, pytest.raises(httpx.ReadTimeout):
            client.post("/v1/completions", json=self.STORY)
        self.ended_early(text_server, before)

    def ended_early(self, server: VllmServer, before: dict[str, float]) -> None:
        after = until(server, lambda now: now["vllm:num_requests_running"] == 0)
        written = after["vllm:generation_tokens_total"] - before["vllm:generation_tokens_total"]
        assert 0 < written < 1500


def until(server: VllmServer, reached: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    """The server's metrics once they are as wanted. Each look is a round trip, and there is an end to them."""
    return next(metrics for _ in range(500) if reached(metrics := server.metrics()))
