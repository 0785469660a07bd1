import asyncio
import logging
import math
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from caslie_tools._concurrency import run_sync
from caslie_tools.backends.endpoints.connection import Endpoint, ServedModel
from caslie_tools.backends.endpoints.settings import EndpointSettings
from caslie_tools.exceptions import (
    EndpointAnswerError,
    EndpointError,
    EndpointRefusedError,
    EndpointTimeoutError,
    EndpointUnavailableError,
    InputError,
    MissingExtraError,
    ModelError,
)
from caslie_tools.testing import Fault, FaultyServer
from caslie_tools.testing.openai_answers import images

SECRET = "sk-do-not-tell-4711"
MESSAGES = [{"role": "user", "content": "Does it help?"}]
SHORT_SECONDS = 0.3  # for what ends at the deadline; everything else ends long before the guard below
LONG_SECONDS = 20.0
HARMLESS = {Fault.OK, Fault.NO_LOGPROBS, Fault.BLIND, Fault.DOUBLE_BOS}  # only a check finds out

Connect = Callable[..., Endpoint]


class Sleeps:
    """Instead of sleeping: notes for how long it was asked to."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer() as server, asyncio.timeout(LONG_SECONDS):  # whatever hangs fails here
        yield server


@pytest.fixture
def sleeps() -> Sleeps:
    return Sleeps()


@pytest.fixture
async def connect(sleeps: Sleeps) -> AsyncIterator[Connect]:
    made: list[Endpoint] = []

    def connect(*servers: FaultyServer, clock: Callable[[], float] | None = None, **settings: Any) -> Endpoint:
        settings = {"model": "model", "timeout_seconds": LONG_SECONDS} | settings
        urls = tuple(server.url for server in servers)
        clocks: dict[str, Any] = {} if clock is None else {"clock": clock}
        made.append(Endpoint(EndpointSettings(urls=urls, **settings), sleep=sleeps, **clocks))
        return made[-1]

    yield connect
    for endpoint in made:
        await endpoint.aclose()


@pytest.fixture
async def warm(connect: Connect) -> None:
    """The libraries load a part of themselves with the first call; a short deadline is not for that."""
    async with FaultyServer() as server:
        await connect(server).models()


async def ask(endpoint: Endpoint, **more: Any) -> str:
    return (await endpoint.chat(MESSAGES, max_tokens=4, **more)).text


async def ask_about(endpoint: Endpoint, number: int) -> str:
    return (await endpoint.chat([{"role": "user", "content": f"Does number {number} help?"}], max_tokens=4)).text


# What is sent, and what comes back


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


async def test_a_free_chat_sends_nothing_else(server: FaultyServer, connect: Connect) -> None:
    assert await ask(connect(server)) == "a free answer"
    assert server.requests[0].body == {
        "model": "model",
        "messages": MESSAGES,
        "max_tokens": 4,
        "temperature": 0.0,
        "top_p": 1.0,
    }


async def test_a_raw_completion_keeps_the_servers_bos_away(server: FaultyServer, connect: Connect) -> None:
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


async def test_the_tokens_of_a_prompt_show_who_adds_the_bos(server: FaultyServer, connect: Connect) -> None:
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


async def test_only_needed_headers_leave(
    server: FaultyServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "of-somebody-else")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    await ask(connect(server))
    assert set(server.requests[0].headers) == {
        *("host", "accept", "content-type", "content-length", "user-agent", "accept-encoding")
    }
    assert server.requests[0].headers["accept-encoding"] == "identity"


async def test_a_request_that_cannot_be_written_is_the_callers_fault(server: FaultyServer, connect: Connect) -> None:
    with pytest.raises(InputError, match="cannot be written as JSON"):
        await connect(server).embed(["half a pair: \ud83d"])
    assert not server.requests


# Faults


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault.HTTP_400, "longer than the context"),
        (Fault.HTTP_401, "set its API key"),
        (Fault.HTTP_404, "check the model's name"),
        (Fault.HTTP_422, "max_tokens is not a number"),
        (Fault.REDIRECT, "is elsewhere"),
    ],
)
async def test_what_is_refused_is_not_asked_again(
    server: FaultyServer, connect: Connect, fault: Fault, says: str
) -> None:
    server.faults = [fault]
    with pytest.raises(EndpointRefusedError, match=says) as caught:
        await ask(connect(server))
    assert len(server.requests) == 1
    assert "\n" not in str(caught.value)
    assert server.url.split("/")[2] in str(caught.value)
    assert "'model'" in str(caught.value)


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault.HTTP_408, Fault.HTTP_429, Fault.HTTP_500, Fault.HTTP_503),
        *(Fault.RESET, Fault.TRUNCATED, Fault.NO_ANSWER),
    ],
)
async def test_what_may_pass_is_tried_again(
    server: FaultyServer, connect: Connect, sleeps: Sleeps, fault: Fault
) -> None:
    server.faults = [fault, fault]
    assert await ask(connect(server, max_attempts=3)) == "a free answer"
    assert len(server.requests) == 3
    assert len(sleeps.seconds) == 2
    assert 0 <= sleeps.seconds[0] <= 0.25  # grows, and is left to chance
    assert 0 <= sleeps.seconds[1] <= 0.5

    server.faults = [fault] * 3
    with pytest.raises(EndpointUnavailableError, match="check that the server runs") as caught:
        await ask(connect(server, max_attempts=3))
    assert server.url.split("/")[2] in str(caught.value)
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault.GARBAGE, "it is not JSON"),
        (Fault.BINARY, "it is not JSON"),
        (Fault.WRONG_SCHEMA, "not as OpenAI's API documents it: choices.0"),
        (Fault.EMPTY_CHOICES, "not as OpenAI's API documents it: choices"),
        (Fault.HUGE, "larger than 100,000 bytes"),
        (Fault.COMPRESSED, "it is compressed"),
    ],
)
@pytest.mark.parametrize("raw", [False, True])
async def test_an_answer_that_cannot_be_used_is_named(
    server: FaultyServer, connect: Connect, fault: Fault, says: str, raw: bool
) -> None:
    endpoint = connect(server, max_response_bytes=100_000)
    server.faults = [fault]
    with pytest.raises(EndpointAnswerError, match=says):
        await (endpoint.complete("a", max_tokens=1) if raw else ask(endpoint))
    assert len(server.requests) == 1
    assert await ask(endpoint) == "a free answer"


@pytest.mark.parametrize("fault", [Fault.GARBAGE, Fault.WRONG_SCHEMA, Fault.EMPTY_CHOICES])
async def test_so_it_is_for_embeddings_and_models(server: FaultyServer, connect: Connect, fault: Fault) -> None:
    server.faults_at = {"/v1/embeddings": [fault], "/v1/models": [Fault.GARBAGE]}
    endpoint = connect(server)
    with pytest.raises(EndpointAnswerError, match="cannot be used"):
        await endpoint.embed(["one"])
    with pytest.raises(EndpointAnswerError, match="not JSON"):
        await endpoint.models()


async def test_a_constraint_that_does_not_bind_is_found_out(server: FaultyServer, connect: Connect) -> None:
    server.faults = [Fault.UNCONSTRAINED]
    with pytest.raises(EndpointAnswerError, match="the server ignored the constraint"):
        await ask(connect(server), choice=["yes", "no"])


async def test_log_probabilities_that_are_missing_are_missing(server: FaultyServer, connect: Connect) -> None:
    server.faults = [Fault.NO_LOGPROBS]
    assert (await connect(server).chat(MESSAGES, max_tokens=1, top_logprobs=2)).top_logprobs == ()


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("fault", [Fault.HANG, Fault.DRIP])
async def test_nothing_takes_longer_than_the_deadline(server: FaultyServer, connect: Connect, fault: Fault) -> None:
    server.faults = [fault]
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(EndpointTimeoutError, match=r"not done after 0\.3 s, at last waiting for the server"):
        await ask(connect(server, timeout_seconds=SHORT_SECONDS))
    assert SHORT_SECONDS - 0.05 <= loop.time() - began < SHORT_SECONDS + 2
    await server.requests[0].disconnected.wait()


@pytest.mark.usefixtures("warm")
async def test_the_deadline_holds_for_those_who_wait_for_a_place(server: FaultyServer, connect: Connect) -> None:
    server.otherwise = Fault.HANG
    endpoint = connect(server, timeout_seconds=SHORT_SECONDS, max_concurrency=1)
    results = await asyncio.gather(ask(endpoint), ask(endpoint), return_exceptions=True)
    assert [type(result) for result in results] == [EndpointTimeoutError] * 2
    assert any("waiting for the server" in str(result) for result in results)


async def test_nobody_listening_is_unavailable(connect: Connect) -> None:
    async with FaultyServer() as server:
        endpoint = connect(server)
    with pytest.raises(EndpointUnavailableError, match=r"connection to 127\.0\.0\.1:[0-9]+ failed"):
        await ask(endpoint)


def test_all_are_model_errors() -> None:
    assert issubclass(EndpointError, ModelError)


@pytest.mark.parametrize("missing", ["openai", "tenacity"])
def test_without_the_extra_it_says_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=r"caslie-tools\[endpoints\]"):
        Endpoint(EndpointSettings(urls=("http://127.0.0.1:8000/v1",), model="model"))


def test_the_extra_is_not_loaded_before_it_is_used() -> None:
    code = "import sys, caslie_tools.backends.endpoints.connection; sys.exit('openai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Waiting as told


async def test_retry_after_is_honoured(connect: Connect, sleeps: Sleeps) -> None:
    async with FaultyServer(retry_after="2") as server:
        server.faults = [Fault.HTTP_429]
        assert await ask(connect(server)) == "a free answer"
    assert sleeps.seconds == [2.0]


@pytest.mark.parametrize("retry_after", ["3600", "Fri, 31 Dec 2999 23:59:59 GMT"])
async def test_who_is_told_to_wait_past_the_deadline_gives_up_at_once(
    connect: Connect, sleeps: Sleeps, retry_after: str
) -> None:
    async with FaultyServer(retry_after=retry_after) as server:
        server.faults = [Fault.HTTP_429]
        with pytest.raises(EndpointUnavailableError, match="too much to do"):
            await ask(connect(server))
    assert sleeps.seconds == []


@pytest.mark.parametrize("retry_after", ["soon", "-1", "nan", "Thu, 01 Jan 1970 00:00:00 GMT"])
async def test_a_strange_retry_after_is_ignored(connect: Connect, sleeps: Sleeps, retry_after: str) -> None:
    async with FaultyServer(retry_after=retry_after) as server:
        server.faults = [Fault.HTTP_503]
        assert await ask(connect(server)) == "a free answer"
    assert 0 <= sleeps.seconds[0] <= 0.25


# Cancellation and parallelism


async def test_cancellation_reaches_the_server(server: FaultyServer, connect: Connect) -> None:
    server.faults = [Fault.HANG]
    endpoint = connect(server, breaker_failures=1)
    call = asyncio.create_task(ask(endpoint))
    await server.arrived(1)
    assert not server.requests[0].disconnected.is_set()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await server.requests[0].disconnected.wait()
    assert await ask(endpoint) == "a free answer"  # its breaker was not told of a failure, and its place is free


async def test_no_more_at_once_than_allowed_and_first_come_first_served(server: FaultyServer, connect: Connect) -> None:
    server.otherwise, server.faults_at = Fault.HANG, {"/v1/models": [Fault.OK]}
    endpoint = connect(server, max_concurrency=2)
    calls = [asyncio.create_task(endpoint.complete(str(number), max_tokens=1)) for number in range(6)]
    await server.arrived(2)
    await connect(server).models()  # asked later than a third one would have been
    assert len(server.requests) == 2 + 1
    server.release()
    await asyncio.gather(*calls)
    order = [int(received.body["prompt"]) for received in server.requests if received.body]
    assert all(abs(place - number) <= 1 for place, number in enumerate(order))  # two at once may swap on the way


async def test_connections_are_used_again(server: FaultyServer, connect: Connect) -> None:
    endpoint = connect(server)
    for _ in range(3):
        await ask(endpoint)
    assert server.connections_made == 1
    await endpoint.aclose()
    assert await ask(endpoint) == "a free answer"  # opens anew
    assert server.connections_made == 2


async def test_every_event_loop_has_its_own_connections(server: FaultyServer, connect: Connect) -> None:
    endpoint = connect(server)
    here = await ask(endpoint)
    for _ in range(2):  # loops that come and go; a connection they leave open would be a warning, so an error
        assert await asyncio.to_thread(asyncio.run, ask(endpoint)) == here
    assert await asyncio.to_thread(run_sync, ask(endpoint)) == here  # the loop in the background, which stays
    assert await ask(endpoint) == here
    assert server.connections_made == 4
    await endpoint.aclose()  # also the one in the background


async def test_a_call_under_way_survives_closing(server: FaultyServer, connect: Connect) -> None:
    server.faults = [Fault.HANG]
    endpoint = connect(server)
    call = asyncio.create_task(ask(endpoint))
    await server.arrived(1)
    await endpoint.aclose()
    assert await call == "a free answer"
    assert len(server.requests) == 2


async def test_a_constraint_in_the_older_form(connect: Connect) -> None:
    async with FaultyServer(guided=True) as server:
        old = connect(server, constraint="guided_choice")
        assert await ask(old, choice=["yes", "no"]) == "yes"
        assert "structured_outputs" not in server.requests[0].body
        with pytest.raises(EndpointAnswerError, match="set the role's constraint to what the server has"):
            await ask(connect(server), choice=["yes", "no"])


# Breaker and replicas


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_the_breaker_opens_tries_and_closes(server: FaultyServer, connect: Connect) -> None:
    clock = Clock()
    endpoint = connect(server, clock=clock, max_attempts=1, breaker_failures=2, breaker_seconds=30)
    server.otherwise = Fault.HTTP_500
    for _ in range(2):
        with pytest.raises(EndpointUnavailableError, match=r"failed \(500\): 'EngineDeadError'"):
            await ask(endpoint)
    with pytest.raises(EndpointUnavailableError, match="left alone for another 30 s"):
        await ask(endpoint)
    assert len(server.requests) == 2  # open: not even asked

    clock.now = 30
    with pytest.raises(EndpointUnavailableError, match="EngineDeadError"):
        await ask(endpoint)
    with pytest.raises(EndpointUnavailableError, match="left alone"):
        await ask(endpoint)
    assert len(server.requests) == 3  # half open: one was let through, and it opened again

    clock.now = 60
    server.otherwise = Fault.HANG
    trial = asyncio.create_task(ask(endpoint))
    await server.arrived(4)
    with pytest.raises(EndpointUnavailableError, match="left alone"):
        await ask(endpoint)  # only one at a time
    server.release()
    assert await trial == "a free answer"
    server.otherwise = Fault.OK
    server.faults = [Fault.HTTP_500]  # closed: one failure is not enough to open it again
    with pytest.raises(EndpointUnavailableError, match="EngineDeadError"):
        await ask(endpoint)
    assert await ask(endpoint) == "a free answer"


async def test_a_trial_that_is_cancelled_leaves_room_for_another(server: FaultyServer, connect: Connect) -> None:
    clock = Clock()
    endpoint = connect(server, clock=clock, max_attempts=1, breaker_failures=1, breaker_seconds=30)
    server.faults = [Fault.HTTP_500, Fault.HANG]
    with pytest.raises(EndpointUnavailableError):
        await ask(endpoint)
    clock.now = 30
    trial = asyncio.create_task(ask(endpoint))
    await server.arrived(2)
    trial.cancel()
    await asyncio.wait([trial])
    assert await ask(endpoint) == "a free answer"


@pytest.mark.usefixtures("warm")
async def test_a_server_that_hangs_opens_the_breaker(server: FaultyServer, connect: Connect) -> None:
    endpoint = connect(server, timeout_seconds=SHORT_SECONDS, breaker_failures=1)
    server.faults = [Fault.HANG]
    with pytest.raises(EndpointTimeoutError):
        await ask(endpoint)
    with pytest.raises(EndpointUnavailableError, match="left alone"):
        await ask(endpoint)


@pytest.mark.parametrize("fault", [Fault.HTTP_400, Fault.HTTP_429, Fault.GARBAGE])
async def test_a_server_that_is_alive_does_not(server: FaultyServer, connect: Connect, fault: Fault) -> None:
    endpoint = connect(server, breaker_failures=1, max_attempts=1)
    server.faults = [fault]
    with pytest.raises(EndpointError):
        await ask(endpoint)
    assert await ask(endpoint) == "a free answer"


@pytest.mark.parametrize("fault", [Fault.HTTP_500, Fault.HTTP_429, Fault.RESET])
async def test_another_replica_is_asked_at_once(
    server: FaultyServer, connect: Connect, sleeps: Sleeps, fault: Fault
) -> None:
    async with FaultyServer() as other:
        endpoint = connect(server, other, max_attempts=1)
        server.faults = [fault]
        asked = 0
        while not server.requests:  # which one a prompt goes to first depends on the prompt
            asked += 1
            assert await ask_about(endpoint, asked) == "a free answer"
        assert len(other.requests) == asked
        assert sleeps.seconds == []


async def test_a_dead_replica_is_left_alone_while_the_other_works(server: FaultyServer, connect: Connect) -> None:
    async with FaultyServer() as dead:
        endpoint = connect(dead, server, breaker_failures=2)
        dead.otherwise = Fault.RESET
        for number in range(64):
            await ask_about(endpoint, number)
        assert len(dead.requests) == 2
        assert len(server.requests) == 64


async def test_replicas_share_the_load(server: FaultyServer, connect: Connect) -> None:
    async with FaultyServer() as other:
        endpoint = connect(server, other)
        server.otherwise = other.otherwise = Fault.HANG
        calls = [asyncio.create_task(ask(endpoint)) for _ in range(6)]
        await server.arrived(3)
        await other.arrived(3)
        server.release()
        other.release()
        await asyncio.gather(*calls)
        assert len(server.requests) == len(other.requests) == 3


@pytest.mark.usefixtures("warm")
async def test_a_replica_that_hangs_is_left_in_time_for_the_other(server: FaultyServer, connect: Connect) -> None:
    async with FaultyServer() as other:
        endpoint = connect(server, other, timeout_seconds=1.0, max_attempts=1, breaker_failures=1)
        server.otherwise = Fault.HANG
        for number in range(64):
            assert await ask_about(endpoint, number) == "a free answer"
        assert len(server.requests) == 1  # then its breaker is open


@pytest.mark.usefixtures("warm")
async def test_all_replicas_that_hang_end_at_the_deadline(server: FaultyServer, connect: Connect) -> None:
    async with FaultyServer() as other:
        endpoint = connect(server, other, timeout_seconds=SHORT_SECONDS)
        server.otherwise = other.otherwise = Fault.HANG
        with pytest.raises(EndpointTimeoutError, match=r"was not done after 0\.3 s"):
            await ask(endpoint)
        assert len(server.requests) == len(other.requests) == 1


async def test_the_same_image_goes_to_the_same_replica(server: FaultyServer, connect: Connect) -> None:
    async with FaultyServer() as other:
        endpoint = connect(server, other)
        for number in range(64):
            image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{number:04}"}}
            for question in ("What is it?", "What colour has it?"):
                content = [image, {"type": "text", "text": question}]
                await endpoint.chat([{"role": "user", "content": content}], max_tokens=4)
        seen = [{images(received.body)[0] for received in each.requests} for each in (server, other)]
        assert not seen[0] & seen[1]
        assert [len(each) > 0 for each in seen] == [True, True]  # and different ones are spread


# The secret


async def test_the_key_is_sent(connect: Connect) -> None:
    async with FaultyServer(api_key=SECRET) as server:
        assert await ask(connect(server, api_key=SecretStr(SECRET))) == "a free answer"
        assert server.requests[0].key_was_right
        with pytest.raises(EndpointRefusedError, match="set its API key"):
            await ask(connect(server))


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("fault", [each for each in Fault if each not in HARMLESS])
async def test_the_key_is_never_told(
    server: FaultyServer, connect: Connect, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seconds = SHORT_SECONDS if fault in {Fault.HANG, Fault.DRIP} else LONG_SECONDS
    endpoint = connect(server, api_key=SecretStr(SECRET), timeout_seconds=seconds, max_attempts=1)
    server.otherwise = fault
    with pytest.raises(EndpointError) as caught:
        await ask(endpoint, choice=["yes", "no"])
    error = caught.value
    assert error.__cause__ is error.__context__ is None  # nothing that holds the request hangs on to it
    told = [repr(endpoint), repr(vars(endpoint)), str(error), repr(error)]
    told += traceback.TracebackException.from_exception(error, capture_locals=True).format()
    told += [record.getMessage() for record in caplog.records]
    assert any("openai" in record.name for record in caplog.records)  # the libraries' logs were listened to
    assert not [text for text in told if SECRET in text]
    assert not [received for received in server.requests if SECRET in repr(received)]


async def test_blanks_around_the_key_do_no_harm(connect: Connect) -> None:
    async with FaultyServer(api_key=SECRET) as server:
        assert await ask(connect(server, api_key=SecretStr(f" {SECRET} "))) == "a free answer"
