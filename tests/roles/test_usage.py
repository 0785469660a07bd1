"""What model calls took reaches whoever listens, and nobody else."""

import asyncio
from collections.abc import Sequence

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata

from caslie_tools._concurrency import run_sync
from caslie_tools.backends.endpoints.endpoint import Endpoint
from caslie_tools.backends.endpoints.settings import EndpointSettings
from caslie_tools.roles.captioner import ModelCaptioner
from caslie_tools.roles.judge import ModelJudge
from caslie_tools.roles.predictor import ModelPredictor
from caslie_tools.roles.usage import Usage, record_seconds, record_tokens, track_usage
from caslie_tools.tasks import get_task
from caslie_tools.tasks.fusion import fuse
from caslie_tools.testing import Fault, FaultyServer
from tests.doubles import caption_request, judge_request


def tell() -> None:
    record_tokens(prompt=10, completion=2, cached=None)
    record_seconds(0.5)


def test_who_listens_hears_it_and_so_does_who_listens_around() -> None:
    with track_usage() as outer:
        tell()
        with track_usage() as inner:
            tell()
    tell()
    assert inner == Usage(calls=1, prompt_tokens=10, completion_tokens=2, seconds=0.5)
    assert outer == Usage(calls=2, prompt_tokens=20, completion_tokens=4, seconds=1.0)


async def test_tasks_and_threads_tell_those_who_started_them() -> None:
    async def one(times: int) -> Usage:
        with track_usage() as usage:
            await asyncio.gather(*(asyncio.to_thread(tell) for _ in range(times)))
            await asyncio.create_task(asyncio.to_thread(tell))
        return usage

    usages = await asyncio.gather(*(one(times) for times in (1, 2, 3)))
    assert [usage.calls for usage in usages] == [2, 3, 4]


async def _telling() -> None:
    tell()


def test_so_do_synchronous_calls_on_the_loop_in_the_background() -> None:
    with track_usage() as usage:
        run_sync(_telling())
    assert usage.calls == 1


async def test_and_those_from_within_a_running_loop() -> None:
    with track_usage() as usage:
        run_sync(_telling())
    assert usage.calls == 1


def test_a_call_that_counts_no_tokens_is_not_counted() -> None:
    with track_usage() as usage:
        record_tokens(prompt=None, completion=None, cached=3)
    assert usage == Usage()


async def test_an_endpoint_tells_its_tokens_once_it_has_answered() -> None:
    async with FaultyServer() as server:
        endpoint = Endpoint(EndpointSettings(urls=(server.url,), model="model", timeout_seconds=20, max_attempts=2))
        server.faults = [Fault.RESET]
        with track_usage() as usage:
            chat = await endpoint.chat([{"role": "user", "content": "How many words?"}], max_tokens=5)
            text = await endpoint.complete("How many", max_tokens=5)
        await endpoint.aclose()
    assert usage.calls == 2
    assert usage.prompt_tokens == (chat.prompt_tokens or 0) + (text.prompt_tokens or 0) > 0
    assert usage.completion_tokens == (chat.completion_tokens or 0) + (text.completion_tokens or 0) > 0


def chat_model(told: Sequence[UsageMetadata | None], text: str = "yes") -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter([AIMessage(content=text, usage_metadata=usage) for usage in told]))


@pytest.mark.parametrize("role", ["captioner", "judge", "predictor"])
async def test_a_chat_model_tells_its_tokens_if_it_counts_them(role: str) -> None:
    told = UsageMetadata(input_tokens=30, output_tokens=4, total_tokens=34, input_token_details={"cache_read": 16})
    model = chat_model([told, None])
    task = get_task("ap")
    fused = fuse(task, task.read({"question": "?", "document": "d"}), [])
    with track_usage() as usage:
        for _ in range(2):
            if role == "captioner":
                await ModelCaptioner(model).ainvoke(caption_request())
            elif role == "judge":
                await ModelJudge(model).ainvoke(judge_request())
            else:
                await ModelPredictor(model).ainvoke(fused)
    assert usage == Usage(calls=1, prompt_tokens=30, completion_tokens=4, cached_tokens=16)
