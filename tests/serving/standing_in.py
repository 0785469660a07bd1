"""What tests of started servers share: profiles for the stand-in of vLLM, and an ear for what it tells."""

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

STAND_IN = Path(__file__).with_name("stand_in.py")
SECRET = "sk-never-to-be-seen"
SECONDS = 60.0
"""How long to wait for what is sure to come."""


class StandIns:
    """Servers that stand for vLLM's, told apart by name: see :mod:`tests.serving.stand_in`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._buffer = b""
        os.mkfifo(folder / "events")
        self._events = os.open(folder / "events", os.O_RDONLY | os.O_NONBLOCK)
        self._held = os.open(folder / "events", os.O_WRONLY)  # so that the pipe has no end before its first writer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()
        os.close(self._events)

    @property
    def vllm(self) -> str:
        """What starts one."""
        return shlex.join([sys.executable, str(STAND_IN), str(self.folder)])

    def profile(self, eyes: str = "eyes", text: str = "text", *, more: str = "") -> Path:
        """A profile of two servers: one captions, the other, the second of the plan, judges and predicts."""
        config = {"num_hidden_layers": 1, "num_attention_heads": 1, "hidden_size": 8, "max_position_embeddings": 4096}
        for name, described in (("eyes", {"text_config": config, "vision_config": {}}), ("text", config)):
            (self.folder / name).mkdir(exist_ok=True)
            (self.folder / name / "config.json").write_text(json.dumps(described))
            (self.folder / name / "model.safetensors").write_bytes(b"x")
        ports = free_ports(2)
        roles = {"[captioner]": (eyes, "eyes", ports[0])} | dict.fromkeys(
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

    def go(self) -> None:
        """Those that wait become healthy."""
        (self.folder / "go").touch()

    def await_event(self, event: str, name: str) -> dict[str, Any]:
        """Reads on to this event."""
        for told in self.told():
            if (told["event"], told["name"]) == (event, name):
                return told
        raise AssertionError(f"{name} ended before it was {event}")

    def told_to_the_end(self) -> list[dict[str, Any]]:
        """Waits until no process of any is left; returns what they told since."""
        self._release()
        return list(self.told())

    def told(self) -> Iterator[dict[str, Any]]:
        """What they tell, until the last of them has ended."""
        deadline = time.monotonic() + SECONDS
        while True:
            line, found, rest = self._buffer.partition(b"\n")
            if found:
                self._buffer = rest
                yield json.loads(line)
                continue
            ready, _, _ = select.select([self._events], [], [], deadline - time.monotonic())
            assert ready, "a process lives on, or never told what it was to tell"
            piece = os.read(self._events, 65_536)
            if not piece:
                return
            self._buffer += piece

    def _release(self) -> None:
        if self._held >= 0:
            os.close(self._held)
            self._held = -1


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


def read_until_up(process: "subprocess.Popen[str]") -> list[str]:
    """What `caslie endpoints up` prints until all servers are up, or it ends."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if "are up" in line:
            break
    return lines


def command_line(process: int) -> str:
    """What everybody on the machine can see of a process."""
    return Path(f"/proc/{process}/cmdline").read_text()


def lives(process: int) -> bool:
    """Whether there is such a process."""
    return Path(f"/proc/{process}").exists()


def await_end(process: int) -> None:
    """Waits until a process has ended that need not be ours."""
    try:
        watched = os.pidfd_open(process)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([watched], [], [], SECONDS)
        assert ready, f"process {process} lives on"
    finally:
        os.close(watched)
