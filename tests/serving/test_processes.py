"""Servers as processes: started in order, watched, and gone with all their children whatever happens."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from caslie_tools.exceptions import EndpointUnavailableError, SettingsError
from caslie_tools.profiles.toml import load_profile_settings
from caslie_tools.serving.plan import plan_servers
from caslie_tools.serving.processes import RunningServers, running
from tests.serving.standing_in import SECRET, StandIns, command_line, lives


def started(
    stand_ins: StandIns, profile: Path, *, gpus: int = 1, **options: Any
) -> AbstractAsyncContextManager[RunningServers]:
    settings = load_profile_settings(profile)
    plan = plan_servers(settings, gpu_memory=24 if gpus == 1 else 3, gpus=gpus)
    return running(plan, settings, vllm=stand_ins.vllm, logs=stand_ins.folder / "logs", **options)


async def gone(stand_ins: StandIns) -> list[dict[str, Any]]:
    """What they told until none of their processes was left, which is now."""
    return await asyncio.to_thread(stand_ins.told_to_the_end)


async def event(stand_ins: StandIns, event: str, name: str) -> dict[str, Any]:
    return await asyncio.to_thread(stand_ins.await_event, event, name)


async def first(stand_ins: StandIns, wanted: str, count: int) -> list[dict[str, Any]]:
    """The first so many events of a kind."""
    told = (event for event in stand_ins.told() if event["event"] == wanted)
    return [await asyncio.to_thread(next, told) for _ in range(count)]


async def end_by_itself(told: dict[str, Any]) -> None:
    """Has a server that told of its start end."""
    port = told["arguments"][told["arguments"].index("--port") + 1]
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"http://127.0.0.1:{port}/die")


@asynccontextmanager
async def in_background(servers: AbstractAsyncContextManager[RunningServers]) -> AsyncIterator[asyncio.Task[None]]:
    """Starts servers in a task, which then waits for one to end."""

    async def run() -> None:
        async with servers as healthy:
            await healthy.wait()

    task = asyncio.create_task(run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


class TestStart:
    async def test_on_one_gpu_they_start_one_after_the_other(self, stand_ins: StandIns) -> None:
        states = []
        path = stand_ins.profile()
        async with started(stand_ins, path, tell=lambda process, state: states.append((process.server.roles, state))):
            pass
        eyes, text = ("captioner",), ("judge", "predictor")
        assert states == [(eyes, "starting"), (eyes, "healthy"), (text, "starting"), (text, "healthy")]
        told = [(event["event"], event["name"]) for event in await gone(stand_ins)]
        assert told[:6] == [(each, name) for name in ("eyes", "text") for each in ("started", "asked", "healthy")]
        assert sorted(told[6:]) == [("terminated", "eyes"), ("terminated", "text")]

    async def test_on_two_gpus_they_start_at_the_same_time(self, stand_ins: StandIns) -> None:
        path = stand_ins.profile("eyes.waits", "text.waits")
        async with in_background(started(stand_ins, path, gpus=2)):
            # Neither is healthy before both have been started.
            assert {event["gpu"] for event in await first(stand_ins, "started", 2)} == {"0", "1"}
            stand_ins.go()
            assert {event["name"] for event in await first(stand_ins, "healthy", 2)} == {"eyes.waits", "text.waits"}
        await gone(stand_ins)

    async def test_each_gets_its_arguments_and_the_key_but_not_by_the_command_line(self, stand_ins: StandIns) -> None:
        path = stand_ins.profile()
        async with started(stand_ins, path) as servers:
            (_, text) = servers.processes
            told = await event(stand_ins, "started", "text")
            assert tuple(told["arguments"]) == text.server.arguments(plan_servers(load_profile_settings(path)).version)
            assert told["key"] == SECRET
            assert told["ours"] == []
            for process in (*told["processes"], os.getpid()):
                assert SECRET not in command_line(process)
            assert SECRET not in repr(vars(text))
        assert SECRET not in text.log.read_text()

    async def test_their_output_is_added_to_their_logs(self, stand_ins: StandIns) -> None:
        path = stand_ins.profile()
        for _ in range(2):
            async with started(stand_ins, path) as servers:
                logs = [process.log for process in servers.processes]
        assert [log.parent for log in logs] == [stand_ins.folder / "logs"] * 2
        assert [log.read_text() for log in logs] == ["eyes is loading\n" * 2, "text is loading\n" * 2]


class TestFailure:
    async def test_one_that_ends_while_starting_is_named_with_the_end_of_its_log(self, stand_ins: StandIns) -> None:
        (stand_ins.folder / "logs").mkdir()
        message = r"text-dies-\d+ ended before it was healthy \(exit code 3\); its log is .*/logs/text-dies-\d+.log"
        with pytest.raises(EndpointUnavailableError, match=message) as caught:
            async with started(stand_ins, stand_ins.profile(text="text.dies")):
                raise AssertionError("it is not healthy")
        # A bar's last state, and no key whatever a server writes.
        assert caught.value.__notes__ == ["text.dies is loading\n\x1b[31mno weights[/red]\nthe key is ***"]
        assert ("terminated", "eyes") in [(event["event"], event["name"]) for event in await gone(stand_ins)]

    async def test_one_that_ends_later_is_named_and_the_others_are_stopped(self, stand_ins: StandIns) -> None:
        async with in_background(started(stand_ins, stand_ins.profile("eyes.mother"))) as task:
            eyes = await event(stand_ins, "started", "eyes.mother")
            await event(stand_ins, "healthy", "text")
            await end_by_itself(eyes)
            with pytest.raises(EndpointUnavailableError, match=r"eyes-mother-\d+ ended \(exit code 4\)") as caught:
                await task
        assert caught.value.__notes__ == ["eyes.mother is loading\nCUDA out of memory"]
        assert ("terminated", "text") in [(event["event"], event["name"]) for event in await gone(stand_ins)]

    async def test_one_that_ends_while_another_is_starting_is_noticed(self, stand_ins: StandIns) -> None:
        async with in_background(started(stand_ins, stand_ins.profile(text="text.deaf"))) as task:
            told = await event(stand_ins, "started", "eyes")
            await event(stand_ins, "asked", "text.deaf")
            os.kill(told["processes"][1], signal.SIGKILL)
            with pytest.raises(EndpointUnavailableError, match=r"eyes-\d+ ended \(SIGKILL\)"):
                await task
        await gone(stand_ins)

    async def test_one_that_is_never_healthy_is_given_up(self, stand_ins: StandIns) -> None:
        with pytest.raises(EndpointUnavailableError, match=r"eyes-deaf-\d+ was not healthy after 0.9 s"):
            async with started(stand_ins, stand_ins.profile("eyes.deaf"), start_seconds=0.9):
                raise AssertionError("it is not healthy")
        # The other one was never started.
        assert "text" not in {event["name"] for event in await gone(stand_ins)}

    async def test_a_guard_that_is_killed_takes_its_server_along(self, stand_ins: StandIns) -> None:
        async with in_background(started(stand_ins, stand_ins.profile())) as task:
            await event(stand_ins, "healthy", "eyes")
            guard, *_ = (await event(stand_ins, "started", "text"))["processes"]
            await event(stand_ins, "healthy", "text")
            os.kill(guard, signal.SIGKILL)
            with pytest.raises(EndpointUnavailableError, match=r"text-\d+ ended.* \(SIGKILL\)"):
                await task
        await gone(stand_ins)

    async def test_without_a_place_for_logs_nothing_is_started(self, stand_ins: StandIns) -> None:
        (stand_ins.folder / "logs").write_text("a file")
        with pytest.raises(SettingsError, match="for the logs cannot be made: File exists"):
            async with started(stand_ins, stand_ins.profile()):
                raise AssertionError("it was started")
        assert await gone(stand_ins) == []


class TestStop:
    async def test_children_go_too_even_those_that_left_the_group(self, stand_ins: StandIns) -> None:
        async with started(stand_ins, stand_ins.profile("eyes.mother")):
            told = await event(stand_ins, "started", "eyes.mother")
        assert len(told["processes"]) == 4
        for process in told["processes"]:  # on leaving, not later
            assert not lives(process)
        await gone(stand_ins)

    async def test_one_that_ignores_it_is_killed_after_the_grace_period(self, stand_ins: StandIns) -> None:
        path = stand_ins.profile("eyes.stubborn.mother")
        async with started(stand_ins, path, grace_seconds=0.1) as servers:
            pass
        assert servers.processes[0].ended.result() == 128 + signal.SIGKILL
        assert ("refused", "eyes.stubborn.mother") in [
            (event["event"], event["name"]) for event in await gone(stand_ins)
        ]

    async def test_cancelled_while_it_stops_it_kills(self, stand_ins: StandIns) -> None:
        servers = started(stand_ins, stand_ins.profile("eyes.stubborn.mother"), grace_seconds=10_000)
        async with in_background(servers) as task:
            await event(stand_ins, "healthy", "text")
            task.cancel()
            await event(stand_ins, "refused", "eyes.stubborn.mother")
            assert not task.done()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await gone(stand_ins)

    async def test_cancelled_while_it_starts_it_stops_what_it_started(self, stand_ins: StandIns) -> None:
        async with in_background(started(stand_ins, stand_ins.profile(text="text.deaf"))) as task:
            await event(stand_ins, "asked", "text.deaf")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        told = [(event["event"], event["name"]) for event in await gone(stand_ins)]
        assert sorted(told[-2:]) == [("terminated", "eyes"), ("terminated", "text.deaf")]

    async def test_a_failure_is_still_the_news_when_stopping_is_hurried(self, stand_ins: StandIns) -> None:
        path = stand_ins.profile("eyes.stubborn")
        async with in_background(started(stand_ins, path, grace_seconds=10_000)) as task:
            _, text, *_ = (await event(stand_ins, "started", "text"))["processes"]
            await event(stand_ins, "healthy", "text")
            os.kill(text, signal.SIGKILL)
            await event(stand_ins, "refused", "eyes.stubborn")
            task.cancel()
            with pytest.raises(EndpointUnavailableError, match=r"text-\d+ ended"):
                await task
        await gone(stand_ins)
