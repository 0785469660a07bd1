"""A block records the model calls inside it, and no others."""

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


def record() -> None:
    record_tokens(prompt=10, completion=2, cached=None)
    record_seconds(0.5)


def test_nested_blocks_both_record_a_call() -> None:
    with track_usage() as outer:
        record()
        with track_usage() as inner:
            record()
    record()
    assert inner == Usage(calls=1, prompt_tokens=10, completion_tokens=2, seconds=0.5)
    assert outer == Usage(calls=2, prompt_tokens=20, completion_tokens=4, seconds=1.0)


async def test_calls_in_tasks_and_threads_are_recorded_by_the_block_that_started_them() -> None:
    async def one(times: int) -> Usage:
        with track_usage() as usage:
            await asyncio.gather(*(asyncio.to_thread(record) for _ in range(times)))
            await asyncio.create_task(asyncio.to_thread(record))
        return usage

    usages = await asyncio.gather(*(one(times) for times in (1, 2, 3)))
    assert [usage.calls for usage in usages] == [2, 3, 4]


async def _recording() -> None:
    record()


def test_synchronous_calls_on_the_background_loop_are_recorded() -> None:
    with track_usage() as usage:
        run_sync(_recording())
    assert usage.calls == 1


async def test_synchronous_calls_inside_a_running_loop_are_recorded() -> None:
    with track_usage() as usage:
        run_sync(_recording())
    assert usage.calls == 1


def test_a_call_that_counts_no_tokens_is_not_counted() -> None:
    with track_usage() as usage:
        record_tokens(prompt=None, completion=None, cached=3)
    assert usage == Usage()


async def test_an_endpoint_records_the_tokens_of_successful_calls() -> None:
    async with FaultyServer() as server:
        endpoint = Endpoint(EndpointSettings(urls=(server.url,), model="model", max_attempts=2))
        server.faults = [Fault.RESET]
        with track_usage() as usage:
            chat = await endpoint.chat([{"role": "user", "content": "How many words?"}], max_tokens=5)
            text = await endpoint.complete("How many", max_tokens=5)
        await endpoint.aclose()
    assert usage.calls == 2
    assert usage.prompt_tokens == (chat.prompt_tokens or 0) + (text.prompt_tokens or 0) > 0
    assert usage.completion_tokens == (chat.completion_tokens or 0) + (text.completion_tokens or 0) > 0


def chat_model(usages: Sequence[UsageMetadata | None], text: str = "yes") -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter([AIMessage(content=text, usage_metadata=usage) for usage in usages]))


@pytest.mark.parametrize("role", ["captioner", "judge", "predictor"])
async def test_the_tokens_of_a_chat_model_are_recorded_if_it_reports_them(role: str) -> None:
    reported = UsageMetadata(input_tokens=30, output_tokens=4, total_tokens=34, input_token_details={"cache_read": 16})
    model = chat_model([reported, None])
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
