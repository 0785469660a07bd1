import math

import pytest

from caslie_tools.backends.endpoints.responses import ServedModel
from caslie_tools.exceptions import EndpointAnswerError, InputError
from caslie_tools.testing import FaultyServer
from tests.backends.endpoints.calls import MESSAGES, ask
from tests.backends.endpoints.connecting import Connect


async def test_a_constrained_chat_sends_what_vllm_reads(server: FaultyServer, connect: Connect) -> None:
    completion = await connect(server).chat(
        MESSAGES, max_tokens=3, temperature=0.5, top_p=0.9, seed=7, choice=["yes", "no"], top_logprobs=2
    )
    assert completion.text == "yes"
    assert completion.finish_reason == "stop"
    assert completion.prompt_tokens is not None
    assert completion.completion_tokens == 1
    assert completion.cached_tokens is None
    assert completion.top_logprobs == ({"yes": math.log(0.75), "no": math.log(0.25)},)
    (received,) = server.requests
    assert (received.method, received.path) == ("POST", "/v1/chat/completions")
    assert received.body == {
        "model": "model",
        "messages": MESSAGES,
        "max_tokens": 3,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "structured_outputs": {"choice": ["yes", "no"]},
        "logprobs": True,
        "top_logprobs": 2,
    }


async def test_an_unconstrained_chat_sends_no_constraint(server: FaultyServer, connect: Connect) -> None:
    assert await ask(connect(server)) == "a free answer"
    assert server.requests[0].body == {
        "model": "model",
        "messages": MESSAGES,
        "max_tokens": 4,
        "temperature": 0.0,
        "top_p": 1.0,
    }


async def test_a_raw_completion_can_leave_out_the_servers_special_tokens(
    server: FaultyServer, connect: Connect
) -> None:
    completion = await connect(server).complete(
        "<s>[INST] buy? [/INST]", max_tokens=2, choice=["no", "yes"], top_logprobs=5, add_special_tokens=False
    )
    assert completion.text == "no"
    assert completion.top_logprobs == ({"no": math.log(0.75), "yes": math.log(0.25)},)
    assert server.requests[0].path == "/v1/completions"
    assert server.requests[0].body == {
        "model": "model",
        "prompt": "<s>[INST] buy? [/INST]",
        "max_tokens": 2,
        "temperature": 0.0,
        "top_p": 1.0,
        "structured_outputs": {"choice": ["no", "yes"]},
        "logprobs": 5,
        "add_special_tokens": False,
    }


async def test_the_token_ids_of_a_prompt_show_the_servers_bos_token(server: FaultyServer, connect: Connect) -> None:
    endpoint = connect(server)
    bare = await endpoint.prompt_tokens("[INST] buy?", add_special_tokens=False)
    assert bare is not None
    assert await endpoint.prompt_tokens("[INST] buy?") == (1, *bare)


async def test_embeddings_come_in_the_order_of_the_texts(server: FaultyServer, connect: Connect) -> None:
    endpoint = connect(server)
    one, two, one_again = await endpoint.embed(["one", "two", "one"])
    assert one == one_again != two
    assert math.hypot(*one) == pytest.approx(1)
    assert server.requests[0].body["input"] == ["one", "two", "one"]
    assert await endpoint.embed([]) == []
    assert len(server.requests) == 1


async def test_models_are_listed(connect: Connect) -> None:
    async with FaultyServer(models={"a": 2048, "b": 512}) as server:
        models = await connect(server).models()
    assert models == [ServedModel(id="a", max_model_len=2048), ServedModel(id="b", max_model_len=512)]


async def test_only_needed_headers_are_sent(
    server: FaultyServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "of-somebody-else")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    await ask(connect(server))
    assert set(server.requests[0].headers) == {
        *("host", "accept", "content-type", "content-length", "user-agent", "accept-encoding")
    }
    assert server.requests[0].headers["accept-encoding"] == "identity"


async def test_a_request_that_cannot_be_written_as_json_is_an_input_error(
    server: FaultyServer, connect: Connect
) -> None:
    with pytest.raises(InputError, match="cannot be written as JSON"):
        await connect(server).embed(["half a pair: \ud83d"])
    assert not server.requests


async def test_the_field_of_the_constraint_can_be_the_one_of_older_versions(connect: Connect) -> None:
    async with FaultyServer(guided_choice=True) as server:
        old = connect(server, constraint="guided_choice")
        assert await ask(old, choice=["yes", "no"]) == "yes"
        assert "structured_outputs" not in server.requests[0].body
        with pytest.raises(EndpointAnswerError, match="set the role's constraint to the field"):
            await ask(connect(server), choice=["yes", "no"])
