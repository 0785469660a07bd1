"""Runs one command and ends all its processes when the parent process exits.

::

    python process_guard.py GRACE_SECONDS COMMAND [ARGUMENT ...]

The guard runs between a server and the process that started it. It leads the process group of the server, and its
standard input is a pipe from its parent. When the pipe closes (on purpose, or because the parent died), the guard sends
SIGTERM to the group. After the grace period it sends SIGKILL to the processes that are left. SIGTERM to the guard has
the same effect as closing the pipe. SIGINT skips the grace period. If the server exits without a request, the guard
ends the processes that the server left behind.

The guard exits when no process is left. Its exit code is that of the server, in the convention of a shell: 128 plus the
number of the signal if a signal ended the server.

Linux only. The guard runs as a file and is not imported, so that it starts fast.
"""

import ctypes
import math
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

NOT_STARTED = 127
"""Exit code if the command cannot be started."""
ORPHAN_SECONDS = 2.0
"""How long processes may run after their server has exited, for example to release shared memory."""
_PARENT_PIPE = 0
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class ProcessGuard:
    """Runs ``command`` until it exits or until the guard is asked to stop it."""

    def __init__(self, command: list[str], grace_seconds: float) -> None:
        self._command = command
        self._grace_seconds = grace_seconds
        self._server = 0
        self._code: int | None = None
        """Exit code of the server, once it has exited."""
        self._processes_left = True
        self._stop = self._kill_now = False
        self._deadline = math.inf
        self._signals, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)  # signals are read from the pipe
        self._watched = [_PARENT_PIPE, self._signals]

    def run(self) -> int:
        """Runs the command; returns the exit code of the server once all its processes have ended."""
        # A process whose parent has exited becomes a child of the guard, even if it left the process group.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            self._start()
        except OSError as error:
            sys.stderr.write(f"{self._command[0]} cannot be started: {error.strerror}\n")
            return NOT_STARTED
        while self._code is None and not self._stop:
            self._wait(math.inf)
        os.killpg(0, signal.SIGTERM)  # the guard receives this signal too, and ignores it now
        self._deadline = min(self._deadline, time.monotonic() + self._grace_seconds)
        while self._processes_left and not self._kill_now and (seconds := self._deadline - time.monotonic()) > 0:
            self._wait(seconds)
        while self._processes_left:
            for process in _children():
                os.kill(process, signal.SIGKILL)
            self._reap(0)
        return NOT_STARTED if self._code is None else self._code if self._code >= 0 else 128 - self._code

    def _start(self) -> None:
        empty_stdin = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
        ignored_by_python = [signal.SIGPIPE, signal.SIGXFSZ]
        self._server = os.posix_spawnp(
            self._command[0], self._command, os.environ, file_actions=empty_stdin, setsigdef=ignored_by_python
        )

    def _wait(self, seconds: float) -> None:
        """Waits for a signal or for the pipe to close."""
        ready, _, _ = select.select(self._watched, (), (), None if seconds == math.inf else seconds)
        if _PARENT_PIPE in ready:  # the parent never writes, so the pipe has closed
            self._watched.remove(_PARENT_PIPE)
            self._stop = True
        if self._signals in ready:
            received = os.read(self._signals, 4096)
            self._kill_now |= signal.SIGINT in received
            self._stop |= signal.SIGTERM in received or self._kill_now
        while self._reap(os.WNOHANG):
            pass

    def _reap(self, options: int) -> bool:
        """Collects the status of one process that has ended; returns whether there was one."""
        try:
            process, status = os.waitpid(-1, options)
        except ChildProcessError:
            self._processes_left = False
            return False
        if process == self._server:
            self._code = os.waitstatus_to_exitcode(status)
            self._deadline = min(self._deadline, time.monotonic() + ORPHAN_SECONDS)
        return process != 0


def _children() -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The format is "pid (name) state parent ...", and the name may contain any character.
            parent = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
        except OSError:  # the process has ended in the meantime
            continue
        if int(parent) == os.getpid():
            yield int(folder.name)


if __name__ == "__main__":
    sys.exit(ProcessGuard(sys.argv[2:], float(sys.argv[1])).run())
