"""The servers of a plan as processes of this machine: started in order, watched, and all gone in the end.

::

    settings = load_profile_settings("caslie-s-24gb")
    async with running(plan_servers(settings), settings) as servers:
        ...  # all of them are healthy
        await servers.wait()  # until one ends, which is an error

Each server runs under a guard (:mod:`caslie_tools.serving.guard`), a process of its own that ends the server with all
its processes once its pipe to us ends, and so even if we are killed. Linux only, as vLLM is.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal, TypeAlias

from caslie_tools._concurrency import run_together
from caslie_tools.exceptions import EndpointUnavailableError, SettingsError
from caslie_tools.profiles.settings import ProfileSettings
from caslie_tools.serving.addresses import is_healthy, require_free
from caslie_tools.serving.launching import VLLM_SERVE, Launch, launches_of
from caslie_tools.serving.plan import Plan

LOGS = Path(".caslie") / "logs"
START_SECONDS = 20 * 60.0
"""What a server gets to become healthy: the first start downloads its weights."""
GRACE_SECONDS = 15.0
"""What a server gets to end by itself."""
_GUARD = Path(__file__).with_name("guard.py")
_POLL_SECONDS = 0.25
_SHOWN_LINES = 20
_SHOWN_BYTES = 16 * 1024

State: TypeAlias = Literal["starting", "healthy"]


class ServerProcess:
    """One server with all processes it makes. Belongs to the event loop it is made on.

    Args:
        launch: How it is started.
        log: The file its output is added to.
        grace_seconds: What it gets to end by itself when it is stopped.
    """

    def __init__(self, launch: Launch, log: Path, grace_seconds: float = GRACE_SECONDS) -> None:
        self.server = launch.server
        self.log = log
        self.healthy = False
        """Whether it ever was."""
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Done when no process of it is left; its exit code, or as in a shell 128 and the number of a signal."""
        self._launch = launch
        self._grace_seconds = grace_seconds
        self._guard: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def started(self) -> bool:
        """Whether :meth:`start` was called, successfully."""
        return self._guard is not None

    def start(self) -> None:
        """Starts it.

        Raises:
            EndpointUnavailableError: If the system refuses.
        """
        try:
            with self.log.open("ab") as output:
                self._log_start = output.tell()
                self._guard = subprocess.Popen(  # noqa: S603 (no shell, and the words are the plan's)
                    [sys.executable, "-IS", str(_GUARD), str(self._grace_seconds), *self._launch.command],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self._launch.environment,
                    start_new_session=True,  # a terminal's Ctrl-C is ours to pass on
                )
        except OSError as error:
            raise EndpointUnavailableError(f"{self.server.name} cannot be started: {error}") from error
        watch = threading.Thread(target=self._watch, args=(self._guard, self.ended.get_loop()), daemon=True)
        watch.start()

    def stop(self, *, at_once: bool = False) -> None:
        """Tells it to end: in its grace period, or at once. Then wait for :attr:`ended`."""
        if self._guard is None or self._guard.stdin is None:
            return
        self._guard.stdin.close()
        if at_once:
            self._guard.send_signal(signal.SIGINT)

    def failure(self, what: str) -> EndpointUnavailableError:
        """Returns an error that says what happened; the end of its log is a note to it."""
        error = EndpointUnavailableError(f"{self.server.name} {what}; its log is {self.log}")
        error.add_note(self._log_end())
        return error

    def _watch(self, guard: "subprocess.Popen[bytes]", loop: asyncio.AbstractEventLoop) -> None:
        os.waitid(os.P_PID, guard.pid, os.WEXITED | os.WNOWAIT)
        # It leaves nothing, unless it was killed itself. The group's number is its own until it is waited for.
        with suppress(ProcessLookupError):
            os.killpg(guard.pid, signal.SIGKILL)
        code = guard.wait()
        with suppress(RuntimeError):  # the loop is closed, and nobody wants to know
            loop.call_soon_threadsafe(self.ended.set_result, code if code >= 0 else 128 - code)

    def _log_end(self) -> str:
        try:
            with self.log.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(self._log_start, size - _SHOWN_BYTES))
                text = log.read(_SHOWN_BYTES).decode("utf-8", errors="replace")
        except OSError as error:  # removed meanwhile
            return f"its log cannot be read: {error.strerror}"
        text = text.replace(self._launch.environment["VLLM_API_KEY"], "***")
        # A progress bar writes many times over one line: its last state is what a terminal would show.
        return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.rstrip().split("\n")[-_SHOWN_LINES:])


class RunningServers:
    """The servers of one plan, in its order."""

    def __init__(
        self, processes: Sequence[ServerProcess], start_seconds: float, tell: Callable[[ServerProcess, State], None]
    ) -> None:
        self.processes = tuple(processes)
        self._start_seconds = start_seconds
        self._tell = tell

    async def start(self) -> None:
        """Starts them, those of one GPU one after the other: each measures what memory is free. Until all are healthy.

        Raises:
            EndpointUnavailableError: If one ends, or is not healthy in time.
        """
        by_gpu: dict[int | None, list[ServerProcess]] = {}
        for process in self.processes:
            by_gpu.setdefault(process.server.gpu, []).append(process)
        await run_together(self._start_in_turn(processes) for processes in by_gpu.values())

    async def wait(self, seconds: float | None = None) -> None:
        """Waits for one of them to end, at most so long.

        Raises:
            EndpointUnavailableError: If one does.
        """
        endings = [process.ended for process in self.processes]
        await asyncio.wait(endings, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for process in self.processes:
            if process.ended.done():
                when = "" if process.healthy else " before it was healthy"
                raise process.failure(f"ended{when} ({_in_words(process.ended.result())})")

    async def stop(self) -> None:
        """Stops all of them, and waits until they are gone. Cancelled, it kills them."""
        started = [process for process in self.processes if process.started]
        if not started:
            return
        endings = [process.ended for process in started]
        for process in started:
            process.stop()
        try:
            await asyncio.wait(endings)
        except asyncio.CancelledError:
            for process in started:
                process.stop(at_once=True)
            await asyncio.wait(endings)
            raise

    async def _start_in_turn(self, processes: Sequence[ServerProcess]) -> None:
        for process in processes:
            process.start()
            self._tell(process, "starting")
            try:
                async with asyncio.timeout(self._start_seconds):
                    while not await is_healthy(process.server):
                        await self.wait(_POLL_SECONDS)
            except TimeoutError:
                raise process.failure(f"was not healthy after {self._start_seconds:g} s") from None
            process.healthy = True
            self._tell(process, "healthy")


@asynccontextmanager
async def running(
    plan: Plan,
    settings: ProfileSettings,
    *,
    vllm: str = VLLM_SERVE,
    logs: Path = LOGS,
    start_seconds: float = START_SECONDS,
    grace_seconds: float = GRACE_SECONDS,
    tell: Callable[[ServerProcess, State], None] = lambda _process, _state: None,
) -> AsyncIterator[RunningServers]:
    """Starts the servers of a plan, and stops them on leaving; inside, all of them are healthy.

    Cancelled while it stops them, it kills them at once.

    Args:
        plan: What to start.
        settings: The profile it was made for: it has the API keys.
        vllm: The command that serves a model, as one would type it, without the planned arguments.
        logs: Folder for the servers' output, a file each.
        start_seconds: What each server gets to become healthy.
        grace_seconds: What each server gets to end by itself.
        tell: Called whenever a server is started, and when it is healthy.

    Raises:
        InputError: If ``vllm`` is no command line.
        SettingsError: If they cannot be started here, such as for a port that is taken. Then none was.
        EndpointUnavailableError: If a server ends or is not healthy in time. The end of its log is a note to the error.
    """
    if sys.platform != "linux":
        raise SettingsError("servers can be started on Linux only, as vLLM can")
    launches = launches_of(plan, settings, vllm=vllm)
    await require_free(plan.servers)
    _make(logs)
    processes = [ServerProcess(launch, logs / f"{launch.server.name}.log", grace_seconds) for launch in launches]
    servers = RunningServers(processes, start_seconds, tell)
    try:
        await servers.start()
        yield servers
    except BaseException:
        with suppress(asyncio.CancelledError):  # it was hurried, not called off: what ended it is still the news
            await servers.stop()
        raise
    else:
        await servers.stop()


def _make(logs: Path) -> None:
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"the folder {logs} for the logs cannot be made: {error.strerror}") from error


def _in_words(code: int) -> str:
    try:
        return signal.Signals(code - 128).name
    except ValueError:
        return f"exit code {code}"
