"""``caslie endpoints up``: the servers of a profile, from their start until they are told to stop."""

import asyncio
import shlex
import signal
from collections.abc import Callable
from pathlib import Path

from caslie_tools.cli.console import OK, err, out, plain
from caslie_tools.exceptions import EndpointError
from caslie_tools.profiles.settings import ProfileSettings
from caslie_tools.serving.addresses import url_of
from caslie_tools.serving.plan import Plan
from caslie_tools.serving.processes import LOGS, ServerProcess, State, running


def run_up(
    profile: str, plan: Plan, settings: ProfileSettings, *, vllm: str, logs: Path | None, start_seconds: float
) -> int:
    """Starts the servers and waits; returns the exit code when it was told to stop and they are gone."""

    async def up() -> int:
        forget = _cancelled_by_signals()
        try:
            servers = running(
                plan, settings, vllm=vllm, logs=logs or LOGS, start_seconds=start_seconds, tell=_show_state
            )
            async with servers as healthy:
                command = f"caslie endpoints check {shlex.quote(profile)}"
                out.print(
                    f"all {len(plan.servers)} servers are up until Ctrl-C; next: {plain(command)}", soft_wrap=True
                )
                await healthy.wait()
        except asyncio.CancelledError:
            err.print("stopped")
        except EndpointError as error:
            for note in getattr(error, "__notes__", ()):
                err.print(plain(note), soft_wrap=True)
            raise
        finally:
            forget()
        return OK

    return asyncio.run(up())


def _cancelled_by_signals() -> Callable[[], None]:
    """Has Ctrl-C and SIGTERM cancel the running task, each time; returns what takes that back."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    asked = (signal.SIGINT, signal.SIGTERM)

    def stop() -> None:
        if task is not None:
            err.print("killing the servers" if task.cancelling() else "stopping the servers; Ctrl-C again kills them")
            task.cancel()

    def forget() -> None:
        for number in asked:
            loop.remove_signal_handler(number)

    for number in asked:
        loop.add_signal_handler(number, stop)
    return forget


def _show_state(process: ServerProcess, state: State) -> None:
    server = process.server
    if state == "starting":
        err.print(
            f"{plain(server.name)} is starting on GPU {server.gpu}; its log is {plain(process.log)}", soft_wrap=True
        )
    else:
        roles = ", ".join(server.roles)
        out.print(f"{plain(server.name)} is healthy: {plain(url_of(server))}/v1 ({roles})", soft_wrap=True)
