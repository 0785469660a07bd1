"""``caslie endpoints up``: runs the servers of a profile until Ctrl-C."""

import asyncio
import shlex
import signal
from collections.abc import Callable
from pathlib import Path

from caslie_tools.cli.console import OK, err, out, plain
from caslie_tools.exceptions import EndpointError
from caslie_tools.profiles.settings import ProfileSettings
from caslie_tools.serving.plan import Plan
from caslie_tools.serving.server_process import ServerProcess
from caslie_tools.serving.supervisor import LOG_FOLDER, ServerState, run_servers


def run_up(
    profile: str, plan: Plan, settings: ProfileSettings, *, vllm: str, log_folder: Path | None, start_seconds: float
) -> int:
    """Runs the servers until Ctrl-C or SIGTERM; returns the exit code once they have stopped.

    Raises:
        CaslieError: The errors of :func:`~caslie_tools.serving.supervisor.run_servers`.
    """

    async def up() -> int:
        restore_signals = _cancel_on_signals()
        try:
            async with run_servers(
                plan,
                settings,
                vllm=vllm,
                log_folder=log_folder or LOG_FOLDER,
                start_seconds=start_seconds,
                on_state=_show_state,
            ) as supervisor:
                check = f"caslie endpoints check {shlex.quote(profile)}"
                out.print(
                    f"all {len(plan.servers)} servers are up. Check them with: {plain(check)}. Stop them with Ctrl-C",
                    soft_wrap=True,
                )
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

    return asyncio.run(up())


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


def _show_state(process: ServerProcess, state: ServerState) -> None:
    server = process.server
    if state == "starting":
        err.print(f"{plain(server.name)} is starting on GPU {server.gpu}; log: {plain(process.log)}", soft_wrap=True)
    else:
        roles = ", ".join(server.roles)
        out.print(f"{plain(server.name)} is healthy: {plain(server.url)}/v1 ({roles})", soft_wrap=True)
