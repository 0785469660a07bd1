import socket
from typing import Any

import pytest

from caslie_tools.exceptions import SettingsError
from caslie_tools.profiles.settings import ProfileSettings
from caslie_tools.serving.network import is_healthy, require_free_ports
from caslie_tools.serving.plan import plan_servers
from caslie_tools.serving.servers import Server
from caslie_tools.testing import Fault, FaultyServer
from tests.serving.fake_servers import free_ports


def server_at(port: int, host: str = "127.0.0.1") -> Server:
    def role(model: str, port: int) -> dict[str, Any]:
        return {"urls": [f"http://{host}:{port}/v1"], "model": model}

    text = role("NingLab/CASLIE-S", port)
    vision = role("Qwen/Qwen3-VL-2B-Instruct", 1)
    profile = {"name": "two", "captioners": [vision], "judges": [text], "predictor": text}
    return plan_servers(ProfileSettings.model_validate(profile)).servers[1]


def port_of(server: FaultyServer) -> int:
    return int(server.url.removesuffix("/v1").rpartition(":")[2])


async def test_a_free_port_of_this_machine_is_accepted() -> None:
    (port,) = free_ports(1)
    await require_free_ports([server_at(port)])
    await require_free_ports([server_at(port, "localhost")])


async def test_a_port_with_a_connection_in_time_wait_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            listener.accept()[0].close()
    await require_free_ports([server_at(port)])


async def test_a_port_used_by_another_program_is_refused() -> None:
    async with FaultyServer() as other:
        other.default_fault = Fault.NO_RESPONSE
        message = f"caslie-s-{port_of(other)}: .* is already in use by another program"
        with pytest.raises(SettingsError, match=message):
            await require_free_ports([server_at(free_ports(1)[0]), server_at(port_of(other))])


async def test_a_port_used_by_a_healthy_server_is_refused() -> None:
    async with FaultyServer() as running:
        port = port_of(running)
        assert await is_healthy(server_at(port))
        with pytest.raises(SettingsError, match="is already in use by a healthy server; stop it, or run"):
            await require_free_ports([server_at(port)])


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("192.0.2.1", "is not an address of this machine; start the servers on that machine"),
        ("nowhere.invalid", "the host name cannot be resolved; check CASLIE_HOST"),
    ],
)
async def test_an_address_of_another_machine_is_refused(host: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"{host}:8002.*{message}"):
        await require_free_ports([server_at(8002, host)])


@pytest.mark.parametrize("fault", [Fault.HTTP_503, Fault.NO_RESPONSE, Fault.REDIRECT])
async def test_a_server_that_does_not_return_200_is_not_healthy(fault: Fault) -> None:
    async with FaultyServer() as running:
        running.default_fault = fault
        assert not await is_healthy(server_at(port_of(running)))


async def test_the_health_check_does_not_read_the_body() -> None:
    async with FaultyServer() as running:
        running.default_fault = Fault.HUGE
        assert await is_healthy(server_at(port_of(running)))


async def test_an_address_without_a_server_is_not_healthy() -> None:
    assert not await is_healthy(server_at(free_ports(1)[0]))
