"""A real vLLM server in processes of its own, on a free loopback port."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import httpx

from tests.vllm import environment

START_SECONDS = 300.0
"""How long a start may take: loading is slow on two cores that are busy with something else."""
API_KEY = "a-key-for-tests"
NO_MEDIA_HOST = "nowhere.invalid"
"""The one host that pictures may be fetched from: by its name (RFC 2606) there is none."""

# Between us and the server: passes its output on, and ends its whole process group when we are gone, however we ended.
GUARD = """
import os, signal, subprocess, sys, threading
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
def watch():
    sys.stdin.read()
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
server.wait()
os.killpg(0, signal.SIGKILL)
"""


class VllmServer:
    """One vLLM server: started on entering the context, and gone with all its processes on leaving it.

    Args:
        model: The model's folder.
        names: The names it answers to; the first is the one it signs its answers with.
        log: The file its output is appended to.
        options: Further options of the server.
    """

    def __init__(self, model: Path, names: Sequence[str], log: Path, options: Sequence[str] = ()) -> None:
        self.names = tuple(names)
        self.log = log
        self.api_key = API_KEY
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        """Without the ``/v1`` of the OpenAI-compatible API."""
        self._command = [
            *(str(environment.interpreter()), "-m", "vllm.entrypoints.openai.api_server"),
            *("--model", str(model), "--host", "127.0.0.1", "--port", str(self.port), "--served-model-name", *names),
            *("--dtype", "float32", "--enforce-eager", "--block-size", "32", "--enable-prefix-caching"),
            *("--api-key", API_KEY, "--allowed-media-domains", NO_MEDIA_HOST, "--enable-prompt-tokens-details"),
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self._output: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether any process of the server is alive."""
        return self._output is not None and self._output.is_alive()

    def client(self, *, api_key: str = API_KEY, timeout: float = 120.0) -> httpx.Client:
        """A plain HTTP client for the server."""
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {api_key}"}, timeout=timeout)

    def metrics(self) -> dict[str, float]:
        """The server's own counters and gauges by name, each added up over its labels."""
        totals: dict[str, float] = {}
        for line in httpx.get(f"{self.url}/metrics", timeout=30).text.splitlines():
            if found := re.fullmatch(r"(vllm:\w+)(?:\{.*\})? (\S+)", line):
                totals[found[1]] = totals.get(found[1], 0.0) + float(found[2])
        return totals

    def start(self) -> None:
        """Starts the server and waits until it is healthy.

        Raises:
            RuntimeError: The server ended, or was not healthy in time; the end of its log is in the message.
        """
        if self.running:
            raise RuntimeError(f"the server on port {self.port} is already running")
        self._process = subprocess.Popen(
            [sys.executable, "-c", GUARD, *self._command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=server_environment(),
            start_new_session=True,
        )
        assert self._process.stdout is not None
        # Every process of the server holds the other end of this pipe: it ends when the last of them has.
        self._output = threading.Thread(target=_append, args=(self._process.stdout, self.log), daemon=True)
        self._output.start()
        try:
            self._wait_until_healthy(time.monotonic() + START_SECONDS)
        except BaseException:
            self.stop()
            raise

    def kill(self) -> None:
        """SIGKILL to every process of the server, as when a machine runs out of memory; returns when all are gone."""
        if self._process is None or self._output is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._output.join()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process = self._output = None

    stop = kill
    """There is nothing to save, and no process can be left behind this way."""

    def restart(self) -> None:
        """Ends the server, if it runs, and starts it on the same port."""
        self.kill()
        self.start()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stops the server's clock: connections are still accepted, but nothing is answered until the end."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)
        os.kill(self._process.pid, signal.SIGCONT)  # not the guard's: it still has to see when we are gone
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    def _wait_until_healthy(self, deadline: float) -> None:
        assert self._output is not None
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/health", timeout=5).status_code == httpx.codes.OK:
                    return
            self._output.join(0.25)
            if not self.running:
                raise RuntimeError(f"vLLM ended before it was healthy. The end of {self.log}:\n{self._log_end()}")
        raise RuntimeError(f"vLLM was not healthy in {START_SECONDS:g} s. The end of {self.log}:\n{self._log_end()}")

    def _log_end(self) -> str:
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-40:])


def server_environment() -> dict[str, str]:
    """Ours, but without our own settings, and with nothing that would leave this machine."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("CASLIE_", "VLLM_", "PYTEST"))}
    return ours | {
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
        "VLLM_CACHE_ROOT": str(environment.CACHE),
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "TORCH_COMPILE_DISABLE": "1",  # else a C++ compiler runs in the midst of the first requests
    }


def _append(output: IO[bytes], log: Path) -> None:
    with output, log.open("ab", buffering=0) as file:
        while piece := os.read(output.fileno(), 65536):
            file.write(piece)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
