"""The graph behind ``langgraph dev``, as a checkout serves it."""

import base64
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from caslie_tools.caslie import Caslie
from caslie_tools.exceptions import SettingsError, StoreNotFoundError
from caslie_tools.langgraph_server import make_graph
from caslie_tools.settings import Settings
from tests.doubles import light_products, light_profile
from tests.paths import ROOT
from tests.time_limits import HANG_SECONDS


class Server:
    """A running ``langgraph dev`` and what it has printed."""

    def __init__(self, folder: Path, port: int, environment: dict[str, str]) -> None:
        command = ["--no-browser", "--no-reload", "--host", "127.0.0.1", "--port"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "langgraph_cli", "dev", *command, str(port)],
            cwd=folder,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", transport=httpx.HTTPTransport(retries=5), timeout=HANG_SECONDS
        )

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if "Application started up" in line:
                self._ready.set()
        self._ready.set()  # or nobody would hear that it died

    def wait(self) -> None:
        assert self._ready.wait(timeout=HANG_SECONDS), self.output
        assert self.process.poll() is None, self.output
        assert self.client.get("/ok").json()["ok"]

    @property
    def output(self) -> str:
        return re.sub(r"\x1b\[[0-9;]*m", "", "".join(self.lines))

    def post(self, path: str, **body: Any) -> Any:
        return self.client.post(path, json=body).raise_for_status().json()

    def stop(self) -> None:
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._reader.join(timeout=HANG_SECONDS)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout's files in a folder the server may write to, with an indexed store."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("caslie_tools", "graphs", "tests", "langgraph.json", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)
    with Caslie.open(folder / "store", profile=light_profile(), settings=Settings()) as caslie:
        caslie.index(light_products(folder))
    return folder


@pytest.fixture(scope="module")
def server(checkout: Path, unused_tcp_port_factory: Any) -> Iterator[Server]:
    environment = {
        "CASLIE_PROFILE": "tests.doubles:light_profile",
        "CASLIE_STORE": str(checkout / "store"),
        "LANGSMITH_TRACING": "false",
        "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    }
    server = Server(checkout, unused_tcp_port_factory(), environment)
    try:
        server.wait()
        yield server
    finally:
        server.stop()


def test_it_answers_without_blocking_its_loop(server: Server) -> None:
    state = server.post("/runs/wait", assistant_id="caslie", input={"question": "Which mug holds 350 ml?"})
    assert "350 ML" in state["prediction"]["text"]
    assert "Blocking" not in server.output


def test_a_person_is_asked_and_answers(server: Server) -> None:
    thread = server.post("/threads")["thread_id"]
    run = {"assistant_id": "caslie", "context": {"ask_person": True}}
    # The label has a third of the words asked for: three of the five judges are content with that.
    question = {"question": "Is the jacket waterproof today?", "products": ["jacket"]}
    stopped = server.post(f"/threads/{thread}/runs/wait", input=question, **run)
    (interrupt,) = stopped["__interrupt__"]
    answer = {str(item["index"]): False for item in interrupt["value"]["captions"]}
    assert answer == {"0": False}
    state = server.post(f"/threads/{thread}/runs/wait", command={"resume": answer}, **run)
    assert [result["decision"]["decided_by"] for result in state["image_results"]] == ["person", "jury"]
    assert "WATERPROOF" not in state["prediction"]["fused"]
    assert "Blocking" not in server.output


def test_it_opens_no_local_file_for_a_stranger(server: Server, checkout: Path) -> None:
    request = {"question": "What is it?", "images": [str(checkout / "mug-1.png")]}
    state = server.post("/runs/wait", assistant_id="caslie", input=request)
    assert state["__error__"]["error"] == "InputError"
    assert "paths of images are not allowed here" in state["__error__"]["message"]


@pytest.mark.parametrize("mode", ["values", "updates", "custom", "messages"])
def test_what_it_sends_has_no_path_and_no_bytes_of_an_image(server: Server, checkout: Path, mode: str) -> None:
    own = base64.b64encode((checkout / "mug-1.png").read_bytes()).decode()
    question = {"question": "Is the jacket waterproof?", "images": [f"data:image/png;base64,{own}"]}
    thread = f"/threads/{server.post('/threads')['thread_id']}"
    run = {"assistant_id": "caslie", "input": question | {"products": ["jacket"]}, "stream_mode": [mode]}
    streamed = server.client.post(f"{thread}/runs/stream", json=run)
    state = server.client.get(f"{thread}/state")
    for response in (streamed, state, server.client.get(thread)):
        assert response.status_code == 200
        assert str(checkout) not in response.text
        assert own[:40] not in response.text
    assert [result["image"]["ref"]["label"] for result in state.json()["values"]["image_results"]] == [
        "jacket-1.png",
        "jacket-2.png",
        f"{len(base64.b64decode(own))} bytes",
    ]
    # LangGraph itself repeats the input of a run in its history and debug streams: clients find their own images there.
    assert str(checkout) not in server.client.get(f"{thread}/history").raise_for_status().text


class TestOpening:
    async def test_an_unknown_profile(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CASLIE_PROFILE", "nonsense")
        with pytest.raises(SettingsError, match="there is no profile 'nonsense'; choose one of embedded"):
            await make_graph()

    async def test_a_profile_that_cannot_be_imported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CASLIE_PROFILE", "no.such.module:profile")
        with pytest.raises(SettingsError, match=r"'no\.such\.module:profile' cannot be imported"):
            await make_graph()

    async def test_a_setting_that_cannot_be(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CASLIE_MAX_IMAGES", "none")
        with pytest.raises(SettingsError, match="CASLIE_MAX_IMAGES cannot be used"):
            await make_graph()

    async def test_a_missing_store(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("CASLIE_PROFILE", "tests.doubles:light_profile")
        monkeypatch.setenv("CASLIE_STORE", str(tmp_path / "store"))
        with pytest.raises(StoreNotFoundError, match="index a catalogue there first"):
            await make_graph()
        assert not (tmp_path / "store").exists()
