"""Starts the servers of a plan as local processes, watches them, and stops them.

::

    settings = load_profile_settings("caslie-s-24gb")
    async with run_servers(plan_servers(settings), settings) as servers:
        ...  # all servers are healthy
        await servers.wait()  # raises an error when a server exits

Linux only, because vLLM runs on Linux only.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal, TypeAlias

from caslie_tools._concurrency import run_together
from caslie_tools.exceptions import SettingsError
from caslie_tools.profiles.settings import ProfileSettings
from caslie_tools.serving.launch import VLLM_SERVE, build_launches
from caslie_tools.serving.network import is_healthy, require_free_ports
from caslie_tools.serving.plan import Plan
from caslie_tools.serving.server_process import GRACE_SECONDS, ServerProcess

LOG_FOLDER = Path(".caslie") / "logs"
START_SECONDS = 20 * 60.0
"""How long a server may take to become healthy. The first start downloads its weights."""
_POLL_SECONDS = 0.25

ServerState: TypeAlias = Literal["starting", "healthy"]
StateListener: TypeAlias = Callable[[ServerProcess, ServerState], None]


class Supervisor:
    """Starts, watches and stops the servers of one plan, in the order of the plan."""

    def __init__(
        self, processes: Sequence[ServerProcess], *, start_seconds: float, on_state: StateListener | None = None
    ) -> None:
        self.processes = tuple(processes)
        self._start_seconds = start_seconds
        self._on_state = on_state

    async def start(self) -> None:
        """Starts all servers, and returns when all are healthy.

        Servers on the same GPU start one after the other, because each measures the free memory at startup.

        Raises:
            EndpointUnavailableError: If a server exits, or is not healthy in time.
        """
        by_gpu: dict[int | None, list[ServerProcess]] = {}
        for process in self.processes:
            by_gpu.setdefault(process.server.gpu, []).append(process)
        await run_together(self._start_in_turn(processes) for processes in by_gpu.values())

    async def wait(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 (the end of the timeout is no error)
        """Waits until a server exits, or until the timeout in seconds is over.

        Raises:
            EndpointUnavailableError: If a server exits.
        """
        exits = [process.exited for process in self.processes]
        await asyncio.wait(exits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for process in self.processes:
            if process.exited.done():
                when = "" if process.healthy else " before it was healthy"
                raise process.failure(f"exited{when} ({_describe_exit(process.exited.result())})")

    async def stop(self) -> None:
        """Stops all servers, and returns when all their processes have ended. Kills them if it is cancelled."""
        started = [process for process in self.processes if process.started]
        if not started:
            return
        exits = [process.exited for process in started]
        for process in started:
            process.stop()
        try:
            await asyncio.wait(exits)
        except asyncio.CancelledError:
            for process in started:
                process.stop(kill=True)
            await asyncio.wait(exits)
            raise

    async def _start_in_turn(self, processes: Sequence[ServerProcess]) -> None:
        for process in processes:
            process.start()
            self._report(process, "starting")
            try:
                async with asyncio.timeout(self._start_seconds):
                    while not await is_healthy(process.server):
                        await self.wait(_POLL_SECONDS)
            except TimeoutError:
                raise process.failure(f"was not healthy after {self._start_seconds:g} s") from None
            process.healthy = True
            self._report(process, "healthy")

    def _report(self, process: ServerProcess, state: ServerState) -> None:
        if self._on_state is not None:
            self._on_state(process, state)


@asynccontextmanager
async def run_servers(
    plan: Plan,
    settings: ProfileSettings,
    *,
    vllm: str = VLLM_SERVE,
    log_folder: Path = LOG_FOLDER,
    start_seconds: float = START_SECONDS,
    grace_seconds: float = GRACE_SECONDS,
    on_state: StateListener | None = None,
) -> AsyncIterator[Supervisor]:
    """Runs the servers of a plan for the duration of the ``async with`` block. In the block all of them are healthy.

    Leaving the block stops the servers. Cancelling the task while they stop kills them at once.

    Args:
        plan: The plan.
        settings: The profile that the plan was made for. It holds the API keys.
        vllm: The command that serves a model, as typed in a shell, without the planned arguments.
        log_folder: Folder for the logs, one file per server.
        start_seconds: How long each server may take to become healthy.
        grace_seconds: How long each server may take to shut down before it is killed.
        on_state: Called when a server is started, and again when it is healthy.

    Raises:
        InputError: If ``vllm`` is not a valid command line.
        SettingsError: If the servers cannot be started on this machine, for example because a port is in use. No
            server has been started in this case.
        EndpointUnavailableError: If a server exits or is not healthy in time. The last lines of its log are a note on
            the error.
    """
    if sys.platform != "linux":
        raise SettingsError(
            f"servers cannot be started on {sys.platform}: vLLM runs on Linux only; start them on a Linux machine"
        )
    launches = build_launches(plan, settings, vllm=vllm)
    await require_free_ports(plan.servers)
    _make_folder(log_folder)
    processes = [ServerProcess(launch, log_folder / f"{launch.server.name}.log", grace_seconds) for launch in launches]
    supervisor = Supervisor(processes, start_seconds=start_seconds, on_state=on_state)
    try:
        await supervisor.start()
        yield supervisor
    except BaseException:
        with suppress(asyncio.CancelledError):  # a cancelled shutdown must not hide the original error
            await supervisor.stop()
        raise
    else:
        await supervisor.stop()


def _make_folder(log_folder: Path) -> None:
    try:
        log_folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"the log folder {log_folder} cannot be created: {error.strerror}; choose another folder"
        ) from error


def _describe_exit(code: int) -> str:
    try:
        return signal.Signals(code - 128).name
    except ValueError:
        return f"exit code {code}"
