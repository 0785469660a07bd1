"""``caslie serve`` as a process, and the commands that find it."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from caslie_tools._version import __version__
from tests.cli.commands import Command, Result, assert_error, finish, start
from tests.doubles import draw_picture
from tests.paths import ROOT
from tests.time_limits import HANG_SECONDS


class Server:
    """A running ``caslie serve``."""

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.process = start("serve", "--port", "0", *arguments, environment=environment)
        assert self.process.stderr is not None
        self.line = self.process.stderr.readline()
        assert "listening on" in self.line, self.line + self.process.stderr.read()

    @property
    def url(self) -> str:
        return self.line.split()[2]

    def stop(self, number: int = signal.SIGTERM) -> Result:
        self.process.send_signal(number)
        return finish(self.process)


@pytest.fixture
def server(shop: Path) -> Iterator[Server]:
    server = Server()
    yield server
    if server.process.poll() is None:
        server.stop(signal.SIGKILL)
    for pipe in (server.process.stdout, server.process.stderr):
        assert pipe is not None
        pipe.close()


def command(*arguments: str | Path, **environment: str) -> Result:
    return finish(start(*arguments, environment=environment))


def server_file(tmp_path: Path) -> Path:
    return tmp_path / "store" / "server.json"


COMMANDS: list[tuple[str, ...]] = [
    ("ask", "Is the jacket waterproof?", "--product", "jacket", "--explain", "--text-only"),
    ("ask", "Is the jacket waterproof?", "--product", "jacket", "--image", "own.png"),
    ("ask", "What?", "--product", "sofa"),
    ("ask", "What?", "--product", "sofa", "--json"),
    ("search", "jacket", "--count", "2"),
    ("search", "--image", "own.png", "--json"),
    ("search", "mug", "--where", "prise < 3"),
    ("search", "mug", "--no-such-option"),
    ("predict", "psi", "instance.json"),
    ("predict", "psi", "missing.json"),
    ("captions", "--product", "jacket"),
]


@pytest.mark.usefixtures("server")
def test_commands_print_the_same_as_in_a_process_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "own.png").write_bytes(draw_picture("350 ML", "blue"))
    record = {"input": {"query": "red mug", "product title": "Stoneware mug"}, "images": ["own.png"]}
    (tmp_path / "instance.json").write_text(json.dumps(record))
    for arguments in COMMANDS:
        command(*arguments)  # makes the captions, so that both runs find them
        alone, served = command(*arguments, CASLIE_NO_SERVER="1"), command(*arguments)
        assert served == alone, arguments


def test_a_command_is_done_by_the_server_without_loading_a_model(server: Server, tmp_path: Path) -> None:
    # A profile that cannot be loaded in this process would fail here. The server has loaded it already.
    assert stat.S_IMODE(server_file(tmp_path).stat().st_mode) == 0o600
    found = json.loads(server_file(tmp_path).read_text())
    modules = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "caslie_tools.cli", "search", "jacket"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert "jacket" in modules.stdout
    assert "http.client" in modules.stderr
    for heavy in ("typer", "pydantic", "langchain_core", "faiss", "numpy"):
        assert f" {heavy}\n" not in modules.stderr
    assert found["pid"] == server.process.pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_it_and_nothing_is_left_behind(server: Server, tmp_path: Path, number: int) -> None:
    assert server_file(tmp_path).exists()
    result = server.stop(number)
    assert (result.code, result.out, result.err) == (0, "", "")
    assert not server_file(tmp_path).exists()
    assert command("search", "jacket").code == 0


def test_after_a_kill_commands_run_alone_and_the_next_server_takes_over(server: Server, tmp_path: Path) -> None:
    server.stop(signal.SIGKILL)
    assert server_file(tmp_path).exists()
    assert "jacket" in command("search", "jacket").out
    other = Server()
    assert json.loads(server_file(tmp_path).read_text())["pid"] == other.process.pid
    assert other.stop().code == 0


@pytest.mark.usefixtures("server")
class TestNotUsed:
    """Commands run in their own process where a server would do something else."""

    @pytest.fixture(autouse=True)
    def _deaf(self, server: Server) -> Iterator[None]:
        server.process.send_signal(signal.SIGSTOP)  # a command that asked it would wait
        yield
        server.process.send_signal(signal.SIGCONT)

    @pytest.mark.parametrize("environment", [{"CASLIE_QUORUM": "2"}, {"CASLIE_NO_SERVER": "1"}])
    def test_with_other_settings(self, environment: dict[str, str]) -> None:
        assert command("search", "jacket", **environment).code == 0

    def test_with_another_profile(self) -> None:
        result = command("search", "jacket", "--profile", "nonsense")
        assert "there is no profile 'nonsense'" in result.err

    def test_for_another_store(self, tmp_path: Path) -> None:
        assert "there is no store" in command("search", "jacket", "--store", tmp_path / "none").err

    def test_if_others_could_have_written_the_file(self, tmp_path: Path) -> None:
        server_file(tmp_path).chmod(0o644)
        assert command("search", "jacket").code == 0

    @pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"version": "0"}', "{}"])
    def test_if_the_file_says_nothing_useful(self, tmp_path: Path, content: str) -> None:
        server_file(tmp_path).write_text(content)
        assert command("search", "jacket").code == 0

    def test_if_the_file_lacks_the_address(self, tmp_path: Path) -> None:
        found = json.loads(server_file(tmp_path).read_text())
        for name in ("host", "port"):
            server_file(tmp_path).write_text(json.dumps({key: value for key, value in found.items() if key != name}))
            assert command("search", "jacket").code == 0


def test_only_its_user_may_send_commands(server: Server, tmp_path: Path) -> None:
    found: dict[str, Any] = json.loads(server_file(tmp_path).read_text())
    body = {
        "arguments": ["search", "jacket"],
        "folder": str(tmp_path),
        "columns": 80,
        "out_is_terminal": False,
        "err_is_terminal": False,
        "environment": {},
    }
    with httpx.Client(base_url=server.url, trust_env=False, timeout=HANG_SECONDS) as client:
        assert client.post("/command", json=body).status_code == 401
        assert client.post("/command", json=body, headers={"Authorization": "Bearer x"}).status_code == 401
        mine = {"Authorization": f"Bearer {found['token']}"}
        assert "jacket" in client.post("/command", json=body, headers=mine).raise_for_status().json()["out"]
        refused = client.post("/command", json=body | {"arguments": ["index", "x"]}, headers=mine)
        assert refused.json()["error"]["type"] == "UnknownCommand"
        assert client.get("/health").json() == {"status": "ok", "version": __version__}
        assert "/command" not in client.get("/openapi.json").text


def test_a_token_closes_the_api_and_not_the_commands_of_its_user(shop: Path) -> None:
    server = Server(environment={"CASLIE_SERVE_TOKEN": "hunter2"})
    with httpx.Client(base_url=server.url, trust_env=False, timeout=HANG_SECONDS) as client:
        assert client.get("/store").status_code == 401
        assert client.get("/store", headers={"Authorization": "Bearer hunter2"}).status_code == 200
    assert command("search", "jacket").code == 0
    result = server.stop()
    assert "hunter2" not in server.line + result.err


@pytest.mark.usefixtures("shop")
class TestRefused:
    def test_an_address_that_others_can_reach_without_a_token(self, caslie: Command) -> None:
        assert_error(caslie("serve", "--host", "0.0.0.0"), code=2, contains=["set CASLIE_SERVE_TOKEN"])  # noqa: S104

    def test_a_port_that_is_taken(self, server: Server, caslie: Command) -> None:
        port = server.url.rpartition(":")[2]
        assert_error(caslie("serve", "--port", port), code=1, contains=["cannot listen on 127.0.0.1", "already in use"])

    def test_a_folder_of_catalogues_that_is_none(self, caslie: Command) -> None:
        assert_error(caslie("serve", "--catalogues", "nowhere"), code=2, contains=["nowhere is not a folder"])
