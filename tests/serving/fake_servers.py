"""Helpers for tests that start servers: profiles for fake vLLM servers, their events, and their processes."""

import json
import os
import select
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.time_limits import HANG_SECONDS

FAKE_VLLM_SERVER = Path(__file__).with_name("fake_vllm_server.py")
SECRET = "sk-never-to-be-seen"


class FakeServers:
    """Fake vLLM servers whose names select their behaviour: see :mod:`tests.serving.fake_vllm_server`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._buffer = b""
        os.mkfifo(folder / "events")
        self._events = os.open(folder / "events", os.O_RDONLY | os.O_NONBLOCK)
        self._held = os.open(folder / "events", os.O_WRONLY)  # keeps the pipe open until the first server opens it

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_writer()
        os.close(self._events)

    @property
    def vllm(self) -> str:
        """The command that starts a fake server, in place of `vllm serve`."""
        return shlex.join([sys.executable, str(FAKE_VLLM_SERVER), str(self.folder)])

    def profile(self, vision: str = "vision", text: str = "text", *, more: str = "") -> Path:
        """Writes a profile with two servers: the first captions, the second judges and predicts."""
        config = {"num_hidden_layers": 1, "num_attention_heads": 1, "hidden_size": 8, "max_position_embeddings": 4096}
        for name, model_config in (("vision", {"text_config": config, "vision_config": {}}), ("text", config)):
            (self.folder / name).mkdir(exist_ok=True)
            (self.folder / name / "config.json").write_text(json.dumps(model_config))
            (self.folder / name / "model.safetensors").write_bytes(b"x")
        ports = free_ports(2)
        roles = {"[captioner]": (vision, "vision", ports[0])} | dict.fromkeys(
            ("[[judges]]", "[predictor]"), (text, "text", ports[1])
        )
        path = self.folder / "profile.toml"
        path.write_text(
            f"{more}\n"
            + "\n".join(
                f'{role}\nurls = ["http://{{host}}:{port}/v1"]\nmodel = "{name}"\nweights = "{self.folder / weights}"'
                for role, (name, weights, port) in roles.items()
            )
        )
        return path

    def release(self) -> None:
        """Lets the servers named `held` become healthy."""
        (self.folder / "release").touch()

    def wait_for(self, event: str, name: str) -> dict[str, Any]:
        """Reads events up to the given event of the given server, and returns it."""
        for found in self.events():
            if (found["event"], found["name"]) == (event, name):
                return found
        raise AssertionError(f"all servers exited before {name} emitted {event!r}")

    def events_until_exit(self) -> list[dict[str, Any]]:
        """Waits until all processes of all servers have ended; returns the events that were not read yet."""
        self._close_writer()
        return list(self.events())

    def events(self) -> Iterator[dict[str, Any]]:
        """Yields events until all processes of all servers have ended."""
        deadline = time.monotonic() + HANG_SECONDS
        while True:
            line, found, rest = self._buffer.partition(b"\n")
            if found:
                self._buffer = rest
                yield json.loads(line)
                continue
            ready, _, _ = select.select([self._events], [], [], deadline - time.monotonic())
            assert ready, "a process is still running, or did not emit an expected event"
            piece = os.read(self._events, 65_536)
            if not piece:
                return
            self._buffer += piece

    def _close_writer(self) -> None:
        if self._held >= 0:
            os.close(self._held)
            self._held = -1


def names_of(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Returns the event and the server name of each event."""
    return [(event["event"], event["name"]) for event in events]


def free_ports(count: int) -> list[int]:
    """Returns free ports of the loopback interface."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in sockets]


def read_until_up(process: "subprocess.Popen[str]") -> list[str]:
    """Returns the lines that `caslie endpoints up` prints until all servers are up, or until it exits."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if "are up" in line:
            break
    return lines


def command_line(process: int) -> str:
    """Returns the command line of a process, as every user of the machine can read it."""
    return Path(f"/proc/{process}/cmdline").read_text()


def is_running(process: int) -> bool:
    """Returns whether a process exists."""
    return Path(f"/proc/{process}").exists()


def wait_for_exit(process: int) -> None:
    """Waits until a process has ended. The process need not be a child of this one."""
    try:
        watched = os.pidfd_open(process)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([watched], [], [], HANG_SECONDS)
        assert ready, f"process {process} is still running"
    finally:
        os.close(watched)
