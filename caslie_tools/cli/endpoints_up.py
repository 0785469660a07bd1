"""``caslie endpoints up``: runs the servers of a profile until Ctrl-C."""

import asyncio
import shlex
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from caslie_tools.cli.console import err, out, plain, show_notes
from caslie_tools.cli.endpoints_plan import GpuMemory, Gpus, ServedProfile
from caslie_tools.cli.runner import OK

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from caslie_tools.serving.server_process import ServerProcess
    from caslie_tools.serving.supervisor import ServerState, Supervisor


def up(
    profile: ServedProfile,
    gpu_memory: GpuMemory = 24.0,
    gpus: Gpus = 1,
    vllm: Annotated[
        str, typer.Option("--vllm", help="Command that starts vLLM. The planned arguments are appended to it.")
    ] = "vllm serve",
    logs: Annotated[
        Path | None, typer.Option("--logs", help="Folder for the logs of the servers. Default: .caslie/logs.")
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, help="Seconds that each server may take to become healthy.")
    ] = 1200.0,
) -> int:
    """Start the servers of a profile on this machine, and run them until Ctrl-C.

    Ctrl-C and SIGTERM stop all servers; servers that need more than 15 seconds are killed. A second Ctrl-C kills them
    at once. The exit code is then 0. It is 1 if a server cannot be started or exits; the other servers are stopped.
    """
    from caslie_tools.profiles.toml import load_profile_settings
    from caslie_tools.serving.plan import plan_servers
    from caslie_tools.serving.supervisor import LOG_FOLDER, run_servers

    settings = load_profile_settings(profile)
    plan = plan_servers(settings, gpu_memory=gpu_memory, gpus=gpus)
    plan.require_fit()
    servers = run_servers(
        plan, settings, vllm=vllm, log_folder=logs or LOG_FOLDER, start_seconds=timeout, on_state=_show_state
    )
    return asyncio.run(_run_until_signal(servers, profile, plan.notes))


async def _run_until_signal(
    servers: "AbstractAsyncContextManager[Supervisor]", profile: str, notes: Sequence[str]
) -> int:
    """Runs the servers until Ctrl-C or SIGTERM; returns the exit code once they have stopped."""
    from caslie_tools.exceptions import EndpointError

    restore_signals = _cancel_on_signals()
    try:
        async with servers as supervisor:
            check = plain(f"caslie endpoints check {shlex.quote(profile)}")
            count = len(supervisor.processes)
            show_notes(notes)
            out.print(f"all {count} servers are up. Check them with: {check}. Stop them with Ctrl-C", soft_wrap=True)
            await supervisor.wait()
    except asyncio.CancelledError:
        err.print("all servers have stopped")
    except EndpointError as error:
        for note in getattr(error, "__notes__", ()):
            err.print(plain(note), soft_wrap=True)
        raise
    finally:
        restore_signals()
    return OK


def _cancel_on_signals() -> Callable[[], None]:
    """Makes Ctrl-C and SIGTERM cancel the current task; returns a function that restores the default handlers."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    signals = (signal.SIGINT, signal.SIGTERM)

    def cancel() -> None:
        if task is not None:
            err.print(
                "killing the servers" if task.cancelling() else "stopping the servers; press Ctrl-C again to kill them"
            )
            task.cancel()

    def restore() -> None:
        for number in signals:
            loop.remove_signal_handler(number)

    for number in signals:
        loop.add_signal_handler(number, cancel)
    return restore


def _show_state(process: "ServerProcess", state: "ServerState") -> None:
    server = process.server
    if state == "starting":
        err.print(f"{plain(server.name)} is starting on GPU {server.gpu}; log: {plain(process.log)}", soft_wrap=True)
    else:
        roles = ", ".join(server.roles)
        out.print(f"{plain(server.name)} is healthy: {plain(server.url)}/v1 ({roles})", soft_wrap=True)
