import socket
from typing import Any

import pytest

from caslie_tools.exceptions import SettingsError
from caslie_tools.profiles.settings import ProfileSettings
from caslie_tools.serving.addresses import is_healthy, require_free, url_of
from caslie_tools.serving.plan import plan_servers
from caslie_tools.serving.servers import Server
from caslie_tools.testing import Fault, FaultyServer
from tests.serving.standing_in import free_ports


def server_at(port: int, host: str = "127.0.0.1") -> Server:
    def role(model: str, port: int) -> dict[str, Any]:
        return {"urls": [f"http://{host}:{port}/v1"], "model": model}

    text = role("NingLab/CASLIE-S", port)
    eyes = role("Qwen/Qwen3-VL-2B-Instruct", 1)
    profile = {"name": "two", "captioners": [eyes], "judges": [text], "predictor": text}
    return plan_servers(ProfileSettings.model_validate(profile)).servers[1]


def port_of(server: FaultyServer) -> int:
    return int(server.url.removesuffix("/v1").rpartition(":")[2])


async def test_a_free_port_of_this_machine_will_do() -> None:
    (port,) = free_ports(1)
    await require_free([server_at(port)])
    await require_free([server_at(port, "localhost")])


async def test_a_port_just_given_up_is_free() -> None:
    """Its last connection, closed from this side, lingers for a minute."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            listener.accept()[0].close()
    await require_free([server_at(port)])


async def test_a_port_somebody_else_has_is_refused() -> None:
    async with FaultyServer() as stranger:
        stranger.otherwise = Fault.NO_ANSWER
        message = f"caslie-s-{port_of(stranger)}: .* the port is taken by another program"
        with pytest.raises(SettingsError, match=message):
            await require_free([server_at(free_ports(1)[0]), server_at(port_of(stranger))])


async def test_a_server_that_runs_already_is_refused_too() -> None:
    async with FaultyServer() as running:
        port = port_of(running)
        assert await is_healthy(server_at(port))
        with pytest.raises(SettingsError, match="a healthy server runs there already; stop it, or use it as it is"):
            await require_free([server_at(port)])


@pytest.mark.parametrize(
    ("host", "message"),
    [("192.0.2.1", "is not on this machine; start the servers there"), ("nowhere.invalid", "name is not known here")],
)
async def test_another_machine_is_refused(host: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"{host}:8002.*{message}"):
        await require_free([server_at(8002, host)])


@pytest.mark.parametrize("fault", [Fault.HTTP_503, Fault.NO_ANSWER, Fault.REDIRECT])
async def test_a_server_that_is_not_well_is_not_healthy(fault: Fault) -> None:
    async with FaultyServer() as running:
        running.otherwise = fault
        assert not await is_healthy(server_at(port_of(running)))


async def test_a_body_without_end_is_not_read() -> None:
    async with FaultyServer() as running:
        running.otherwise = Fault.HUGE
        assert await is_healthy(server_at(port_of(running)))


async def test_nobody_is_not_healthy() -> None:
    assert not await is_healthy(server_at(free_ports(1)[0]))


def test_an_address_of_version_6_stands_in_brackets() -> None:
    assert url_of(server_at(8002).model_copy(update={"host": "::1"})) == "http://[::1]:8002"
