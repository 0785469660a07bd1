"""Servers as local processes: how they start, fail and stop, with all their child processes."""

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
from caslie_tools.serving.supervisor import Supervisor, run_servers
from tests.serving.fake_servers import SECRET, FakeServers, command_line, is_running, names_of


def run_profile(
    fake_servers: FakeServers, profile: Path, *, gpus: int = 1, **options: Any
) -> AbstractAsyncContextManager[Supervisor]:
    settings = load_profile_settings(profile)
    plan = plan_servers(settings, gpu_memory=23.9 if gpus == 1 else 3, gpus=gpus)
    return run_servers(plan, settings, vllm=fake_servers.vllm, log_folder=fake_servers.folder / "logs", **options)


async def events_until_exit(fake_servers: FakeServers) -> list[dict[str, Any]]:
    """Waits until all processes have ended; returns the events that were not read yet."""
    return await asyncio.to_thread(fake_servers.events_until_exit)


async def wait_for(fake_servers: FakeServers, event: str, name: str) -> dict[str, Any]:
    return await asyncio.to_thread(fake_servers.wait_for, event, name)


async def next_events(fake_servers: FakeServers, kind: str, count: int) -> list[dict[str, Any]]:
    """Returns the next events of one kind."""
    events = (event for event in fake_servers.events() if event["event"] == kind)
    return [await asyncio.to_thread(next, events) for _ in range(count)]


async def crash(started: dict[str, Any]) -> None:
    """Makes a server exit, given its "started" event."""
    port = started["arguments"][started["arguments"].index("--port") + 1]
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"http://127.0.0.1:{port}/crash")


@asynccontextmanager
async def in_background(servers: AbstractAsyncContextManager[Supervisor]) -> AsyncIterator[asyncio.Task[None]]:
    """Starts servers in a task, which then waits until one of them exits."""

    async def run() -> None:
        async with servers as supervisor:
            await supervisor.wait()

    task = asyncio.create_task(run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


class TestStart:
    async def test_servers_on_one_gpu_start_one_after_the_other(self, fake_servers: FakeServers) -> None:
        states = []
        path = fake_servers.profile()
        async with run_profile(
            fake_servers, path, on_state=lambda process, state: states.append((process.server.roles, state))
        ):
            pass
        vision, text = ("captioner",), ("judge", "predictor")
        assert states == [(vision, "starting"), (vision, "healthy"), (text, "starting"), (text, "healthy")]
        events = names_of(await events_until_exit(fake_servers))
        assert events[:6] == [(each, name) for name in ("vision", "text") for each in ("started", "polled", "healthy")]
        assert sorted(events[6:]) == [("terminated", "text"), ("terminated", "vision")]

    async def test_servers_on_two_gpus_start_at_the_same_time(self, fake_servers: FakeServers) -> None:
        path = fake_servers.profile("vision.held", "text.held")
        async with in_background(run_profile(fake_servers, path, gpus=2)):
            # Both start before either is healthy.
            assert {event["gpu"] for event in await next_events(fake_servers, "started", 2)} == {"0", "1"}
            fake_servers.release()
            assert {event["name"] for event in await next_events(fake_servers, "healthy", 2)} == {
                "vision.held",
                "text.held",
            }
        await events_until_exit(fake_servers)

    async def test_the_api_key_is_passed_in_the_environment_only(self, fake_servers: FakeServers) -> None:
        path = fake_servers.profile()
        async with run_profile(fake_servers, path) as servers:
            (_, text) = servers.processes
            started = await wait_for(fake_servers, "started", "text")
            assert tuple(started["arguments"]) == text.server.arguments(
                plan_servers(load_profile_settings(path)).version
            )
            assert started["api_key"] == SECRET
            assert started["caslie_variables"] == []
            for process in (*started["processes"], os.getpid()):
                assert SECRET not in command_line(process)
            assert SECRET not in repr(vars(text))
        assert SECRET not in text.log.read_text()

    async def test_output_is_appended_to_one_log_per_server(self, fake_servers: FakeServers) -> None:
        path = fake_servers.profile()
        for _ in range(2):
            async with run_profile(fake_servers, path) as servers:
                logs = [process.log for process in servers.processes]
        assert [log.parent for log in logs] == [fake_servers.folder / "logs"] * 2
        assert [log.read_text() for log in logs] == ["vision is loading\n" * 2, "text is loading\n" * 2]


class TestFailure:
    async def test_a_server_that_exits_at_startup_is_reported_with_the_end_of_its_log(
        self, fake_servers: FakeServers
    ) -> None:
        (fake_servers.folder / "logs").mkdir()
        message = (
            r"text-crashes-\d+ exited before it was healthy \(exit code 3\); see its log .*/logs/text-crashes-\d+.log"
        )
        with pytest.raises(EndpointUnavailableError, match=message) as caught:
            async with run_profile(fake_servers, fake_servers.profile(text="text.crashes")):
                raise AssertionError("the servers are healthy")
        # Only the last state of a progress bar is kept, and the API key is masked.
        assert caught.value.__notes__ == ["text.crashes is loading\n\x1b[31mno weights[/red]\nthe key is ***"]
        assert ("terminated", "vision") in names_of(await events_until_exit(fake_servers))

    async def test_when_a_server_exits_later_the_others_are_stopped(self, fake_servers: FakeServers) -> None:
        async with in_background(run_profile(fake_servers, fake_servers.profile("vision.forking"))) as task:
            vision = await wait_for(fake_servers, "started", "vision.forking")
            await wait_for(fake_servers, "healthy", "text")
            await crash(vision)
            with pytest.raises(EndpointUnavailableError, match=r"vision-forking-\d+ exited \(exit code 4\)") as caught:
                await task
        assert caught.value.__notes__ == ["vision.forking is loading\nCUDA out of memory"]
        assert ("terminated", "text") in names_of(await events_until_exit(fake_servers))

    async def test_a_server_that_exits_while_another_starts_is_reported(self, fake_servers: FakeServers) -> None:
        async with in_background(run_profile(fake_servers, fake_servers.profile(text="text.unhealthy"))) as task:
            started = await wait_for(fake_servers, "started", "vision")
            await wait_for(fake_servers, "polled", "text.unhealthy")
            os.kill(started["processes"][1], signal.SIGKILL)
            with pytest.raises(EndpointUnavailableError, match=r"vision-\d+ exited \(SIGKILL\)"):
                await task
        await events_until_exit(fake_servers)

    async def test_a_server_that_is_not_healthy_in_time_is_an_error(self, fake_servers: FakeServers) -> None:
        with pytest.raises(EndpointUnavailableError, match=r"vision-unhealthy-\d+ was not healthy after 0.9 s"):
            async with run_profile(fake_servers, fake_servers.profile("vision.unhealthy"), start_seconds=0.9):
                raise AssertionError("the servers are healthy")
        # The other server was not started.
        assert "text" not in {event["name"] for event in await events_until_exit(fake_servers)}

    async def test_a_killed_guard_takes_its_server_with_it(self, fake_servers: FakeServers) -> None:
        async with in_background(run_profile(fake_servers, fake_servers.profile())) as task:
            await wait_for(fake_servers, "healthy", "vision")
            guard, *_ = (await wait_for(fake_servers, "started", "text"))["processes"]
            await wait_for(fake_servers, "healthy", "text")
            os.kill(guard, signal.SIGKILL)
            with pytest.raises(EndpointUnavailableError, match=r"text-\d+ exited.* \(SIGKILL\)"):
                await task
        await events_until_exit(fake_servers)

    async def test_without_a_log_folder_no_server_is_started(self, fake_servers: FakeServers) -> None:
        (fake_servers.folder / "logs").write_text("a file")
        with pytest.raises(SettingsError, match="logs cannot be created: File exists"):
            async with run_profile(fake_servers, fake_servers.profile()):
                raise AssertionError("the servers were started")
        assert await events_until_exit(fake_servers) == []


class TestStop:
    async def test_child_processes_end_even_outside_the_process_group(self, fake_servers: FakeServers) -> None:
        async with run_profile(fake_servers, fake_servers.profile("vision.forking")):
            started = await wait_for(fake_servers, "started", "vision.forking")
        assert len(started["processes"]) == 4
        for process in started["processes"]:  # already ended when the block is left
            assert not is_running(process)
        await events_until_exit(fake_servers)

    async def test_a_server_that_ignores_sigterm_is_killed_after_the_grace_period(
        self, fake_servers: FakeServers
    ) -> None:
        path = fake_servers.profile("vision.stubborn.forking")
        async with run_profile(fake_servers, path, grace_seconds=0.1) as servers:
            pass
        assert servers.processes[0].exited.result() == 128 + signal.SIGKILL
        assert ("sigterm_ignored", "vision.stubborn.forking") in names_of(await events_until_exit(fake_servers))

    async def test_cancelling_the_shutdown_kills_the_servers(self, fake_servers: FakeServers) -> None:
        servers = run_profile(fake_servers, fake_servers.profile("vision.stubborn.forking"), grace_seconds=10_000)
        async with in_background(servers) as task:
            await wait_for(fake_servers, "healthy", "text")
            task.cancel()
            await wait_for(fake_servers, "sigterm_ignored", "vision.stubborn.forking")
            assert not task.done()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await events_until_exit(fake_servers)

    async def test_cancelling_the_startup_stops_the_servers(self, fake_servers: FakeServers) -> None:
        async with in_background(run_profile(fake_servers, fake_servers.profile(text="text.unhealthy"))) as task:
            await wait_for(fake_servers, "polled", "text.unhealthy")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        events = names_of(await events_until_exit(fake_servers))
        assert sorted(events[-2:]) == [("terminated", "text.unhealthy"), ("terminated", "vision")]

    async def test_cancelling_the_shutdown_does_not_hide_the_failure(self, fake_servers: FakeServers) -> None:
        path = fake_servers.profile("vision.stubborn")
        async with in_background(run_profile(fake_servers, path, grace_seconds=10_000)) as task:
            _, text, *_ = (await wait_for(fake_servers, "started", "text"))["processes"]
            await wait_for(fake_servers, "healthy", "text")
            os.kill(text, signal.SIGKILL)
            await wait_for(fake_servers, "sigterm_ignored", "vision.stubborn")
            task.cancel()
            with pytest.raises(EndpointUnavailableError, match=r"text-\d+ exited"):
                await task
        await events_until_exit(fake_servers)
