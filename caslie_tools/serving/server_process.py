"""One server of a plan as a local process, with all processes that it creates."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from caslie_tools.exceptions import EndpointUnavailableError
from caslie_tools.serving.launch import Launch

_GUARD = Path(__file__).with_name("process_guard.py")
GRACE_SECONDS = 15.0
"""How long a server may take to shut down before it is killed."""
_LOG_LINES = 20
_LOG_BYTES = 16 * 1024


class ServerProcess:
    """One server with all processes that it creates. It belongs to the event loop on which it was created.

    The server runs under a guard (:mod:`caslie_tools.serving.process_guard`), a separate process. The guard ends the
    server when the pipe to this process closes, so the server ends even if this process is killed.

    Args:
        launch: How the server is started.
        log: The file that the output of the server is appended to.
        grace_seconds: How long the server may take to shut down before it is killed.
    """

    def __init__(self, launch: Launch, log: Path, grace_seconds: float = GRACE_SECONDS) -> None:
        self.server = launch.server
        self.log = log
        self.healthy = False
        """Whether the server has been healthy at least once."""
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Done when all processes of the server have ended. The result is the exit code, or 128 plus a signal."""
        self._launch = launch
        self._grace_seconds = grace_seconds
        self._guard: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def started(self) -> bool:
        """Whether :meth:`start` has succeeded."""
        return self._guard is not None

    def start(self) -> None:
        """Starts the server.

        Raises:
            EndpointUnavailableError: If the operating system cannot start it.
        """
        try:
            with self.log.open("ab") as output:
                self._log_start = output.tell()
                self._guard = subprocess.Popen(  # noqa: S603 (no shell; the arguments come from the plan)
                    [sys.executable, "-IS", str(_GUARD), str(self._grace_seconds), *self._launch.command],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self._launch.environment,
                    start_new_session=True,  # Ctrl-C in a terminal must not reach the server directly
                )
        except OSError as error:
            raise EndpointUnavailableError(f"{self.server.name} cannot be started: {error}") from error
        waiter = threading.Thread(target=self._wait, args=(self._guard, self.exited.get_loop()), daemon=True)
        waiter.start()

    def stop(self, *, kill: bool = False) -> None:
        """Requests the shutdown of the server and returns at once; await :attr:`exited` for its end.

        Args:
            kill: Kill the server now instead of after the grace period.
        """
        if self._guard is None or self._guard.stdin is None:
            return
        self._guard.stdin.close()
        if kill:
            self._guard.send_signal(signal.SIGINT)

    def failure(self, reason: str) -> EndpointUnavailableError:
        """Returns an error with a reason and the path of the log. The last lines of the log are a note on the error."""
        error = EndpointUnavailableError(f"{self.server.name} {reason}; see its log {self.log}")
        error.add_note(self._log_tail())
        return error

    def _wait(self, guard: "subprocess.Popen[bytes]", loop: asyncio.AbstractEventLoop) -> None:
        os.waitid(os.P_PID, guard.pid, os.WEXITED | os.WNOWAIT)
        # If the guard itself was killed, processes of its group may be left. The group id stays valid until the wait.
        with suppress(ProcessLookupError):
            os.killpg(guard.pid, signal.SIGKILL)
        code = guard.wait()
        with suppress(RuntimeError):  # the event loop has been closed
            loop.call_soon_threadsafe(self.exited.set_result, code if code >= 0 else 128 - code)

    def _log_tail(self) -> str:
        try:
            with self.log.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(self._log_start, size - _LOG_BYTES))
                text = log.read(_LOG_BYTES).decode("utf-8", errors="replace")
        except OSError as error:  # the file was removed in the meantime
            return f"the log {self.log} cannot be read: {error.strerror}"
        text = text.replace(self._launch.environment["VLLM_API_KEY"], "***")
        # A progress bar overwrites its line with carriage returns. Only its last state is kept.
        return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.rstrip().split("\n")[-_LOG_LINES:])
