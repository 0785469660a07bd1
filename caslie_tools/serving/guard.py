"""Runs one command and leaves none of its processes behind, whatever happens to whoever started it.

::

    python guard.py GRACE_SECONDS COMMAND [ARGUMENT ...]

It stands between a server and its owner, as the leader of the server's process group; its standard input is a pipe from
the owner. When that ends, on purpose or because the owner is gone, the group gets SIGTERM, and what is left of it after
the grace period SIGKILL. SIGTERM to the guard is the same as the pipe's end; SIGINT spares the grace period. What a
server leaves behind that ended by itself is cleared up too. The guard exits when nothing is left, with the server's
exit code, as a shell would (128 and the signal's number, where one ended it).

Linux only. It is run as a file, not imported, so that it starts at once.
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
"""Exit code when the command cannot be started."""
ORPHAN_SECONDS = 2.0
"""How long processes may outlive their server, to clear up shared memory and the like."""
_OWNER = 0
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Guard:
    """Runs ``command`` and waits for its end, or for word to end it."""

    def __init__(self, command: list[str], grace_seconds: float) -> None:
        self._command = command
        self._grace_seconds = grace_seconds
        self._server = 0
        self._code: int | None = None
        """The server's, once it has ended."""
        self._some_left = True
        self._stop = self._at_once = False
        self._deadline = math.inf
        self._signals, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)  # read from the pipe
        self._watched = [_OWNER, self._signals]

    def run(self) -> int:
        """Returns the server's exit code once it and all its processes are gone."""
        # A process whose parent has ended becomes our child, also one that left the group: so none gets lost.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            self._start()
        except OSError as error:
            sys.stderr.write(f"{self._command[0]} cannot be started: {error.strerror}\n")
            return NOT_STARTED
        while self._code is None and not self._stop:
            self._wait(math.inf)
        os.killpg(0, signal.SIGTERM)  # to ourselves as well, who know already
        self._deadline = min(self._deadline, time.monotonic() + self._grace_seconds)
        while self._some_left and not self._at_once and (seconds := self._deadline - time.monotonic()) > 0:
            self._wait(seconds)
        while self._some_left:
            for process in _children():
                os.kill(process, signal.SIGKILL)
            self._reap(0)
        return NOT_STARTED if self._code is None else self._code if self._code >= 0 else 128 - self._code

    def _start(self) -> None:
        nothing_to_read = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
        ignored_by_python = [signal.SIGPIPE, signal.SIGXFSZ]
        self._server = os.posix_spawnp(
            self._command[0], self._command, os.environ, file_actions=nothing_to_read, setsigdef=ignored_by_python
        )

    def _wait(self, seconds: float) -> None:
        """Waits for anything to happen."""
        ready, _, _ = select.select(self._watched, (), (), None if seconds == math.inf else seconds)
        if _OWNER in ready:  # it never says a word: this is its end
            self._watched.remove(_OWNER)
            self._stop = True
        if self._signals in ready:
            received = os.read(self._signals, 4096)
            self._at_once |= signal.SIGINT in received
            self._stop |= signal.SIGTERM in received or self._at_once
        while self._reap(os.WNOHANG):
            pass

    def _reap(self, options: int) -> bool:
        """Takes note of one process that has ended, if there is one."""
        try:
            process, status = os.waitpid(-1, options)
        except ChildProcessError:
            self._some_left = False
            return False
        if process == self._server:
            self._code = os.waitstatus_to_exitcode(status)
            self._deadline = min(self._deadline, time.monotonic() + ORPHAN_SECONDS)
        return process != 0


def _children() -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # pid (name) state parent ...: the name may hold anything.
            parent = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
        except OSError:  # gone meanwhile
            continue
        if int(parent) == os.getpid():
            yield int(folder.name)


if __name__ == "__main__":
    sys.exit(Guard(sys.argv[2:], float(sys.argv[1])).run())
