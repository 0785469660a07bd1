"""Protection against server-side request forgery: only checked addresses are connected to."""

import datetime
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from caslie_tools.exceptions import ImageFetchError
from caslie_tools.images.fetching import fetch
from tests.images.http_server import PUBLIC, NameServer, Network, http, serving
from tests.time_limits import HANG_SECONDS


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1/x",
        "http://[::1]/x",
        "http://169.254.169.254/latest",
        "//10.0.0.1/x",
        "http://[::ffff:7f00:1]/",
    ],
)
async def test_a_redirect_from_a_public_to_a_private_address_is_refused(target: str) -> None:
    network = Network(lambda _: httpx.Response(302, headers={"Location": target}))

    async def resolve(host: str, port: int) -> Sequence[str]:
        return [PUBLIC] if host == "shop.example" else [host]

    with pytest.raises(ImageFetchError, match=r"shop\.example/a.*public internet"):
        await network.fetch("https://shop.example/a", resolve)
    assert network.connected == [PUBLIC]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "127.1", "0"])
async def test_no_notation_of_the_loopback_address_reaches_this_machine(host: str) -> None:
    async with serving({"/": http(body=b"secret")}) as server:
        with pytest.raises(ImageFetchError, match=r"public internet|cannot be resolved"):
            await fetch(server.url("/", host), max_bytes=1000, timeout_seconds=HANG_SECONDS)
    assert server.requests == []


async def test_the_connection_uses_the_checked_address_even_if_the_name_later_resolves_differently() -> None:
    names = NameServer([PUBLIC], ["127.0.0.1"])
    network = Network()
    assert await network.fetch("https://rebinding.example/a.png", names) == b"image"
    assert network.connected == [PUBLIC]
    assert names.queries == ["rebinding.example"]
    assert network.requests[0].headers["Host"] == "rebinding.example"
    assert network.requests[0].extensions["sni_hostname"] == "rebinding.example"


async def test_dns_rebinding_between_redirects_is_detected() -> None:
    names = NameServer([PUBLIC], ["127.0.0.1"])
    network = Network(lambda _: httpx.Response(302, headers={"Location": "/again"}))
    with pytest.raises(ImageFetchError, match="public internet"):
        await network.fetch("http://rebinding.example/", names)
    assert network.connected == [PUBLIC]


async def test_one_private_address_excludes_the_public_addresses_of_the_same_name() -> None:
    network = Network()
    for addresses in ([PUBLIC, "10.0.0.1"], ["10.0.0.1", PUBLIC], [PUBLIC, "not an address"]):
        with pytest.raises(ImageFetchError, match="public internet"):
            await network.fetch("http://mixed.example/", NameServer(addresses))
    assert network.connected == []


async def test_the_next_address_is_tried_after_a_failed_connection() -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        if request.url.host == "2606:4700::1111":
            raise httpx.ConnectError("unreachable")
        return httpx.Response(200, stream=httpx.ByteStream(b"image"))

    network = Network(respond)
    names = NameServer(["2606:4700::1111", PUBLIC])
    assert await network.fetch("http://dual.example/", names) == b"image"
    assert network.connected == ["2606:4700::1111", PUBLIC]


async def test_a_name_is_resolved_by_the_resolver_and_sent_as_the_host() -> None:
    names = NameServer(["127.0.0.1"])
    async with serving({"/": http(body=b"image")}) as server:
        url = server.url("/", "no-such-host.example")
        body = await fetch(url, max_bytes=9, timeout_seconds=HANG_SECONDS, allow_private_addresses=True, resolve=names)
    assert body == b"image"
    assert f"\r\nhost: no-such-host.example:{server.port}\r\n" in server.requests[0].lower()


async def test_a_name_without_addresses_is_an_error_that_names_it() -> None:
    async def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    for resolve in (unknown, NameServer([])):
        with pytest.raises(ImageFetchError, match=r"'nowhere\.example' cannot be resolved"):
            await fetch("http://nowhere.example/", max_bytes=9, timeout_seconds=HANG_SECONDS, resolve=resolve)


@pytest.mark.parametrize(("error", "transient"), [(socket.EAI_AGAIN, True), (socket.EAI_NONAME, False)])
async def test_an_unreachable_name_server_is_a_transient_error(error: int, transient: bool) -> None:
    async def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(error, "no such name")

    with pytest.raises(ImageFetchError, match="cannot be resolved") as caught:
        await fetch("http://shop.example/", max_bytes=10, timeout_seconds=HANG_SECONDS, resolve=unknown)
    assert caught.value.transient is transient


async def test_the_certificate_must_match_the_name_and_not_the_address(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path, "images.example")
    at_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    at_server.load_cert_chain(certificate)
    requested: list[str | None] = []
    at_server.sni_callback = lambda _, name, __: requested.append(name)
    trusting = ssl.create_default_context(cafile=str(certificate))

    async def get_as(host: str, trust: ssl.SSLContext | None) -> bytes:
        return await fetch(
            f"https://{host}:{server.port}/",
            max_bytes=100,
            timeout_seconds=HANG_SECONDS,
            allow_private_addresses=True,
            resolve=NameServer(["127.0.0.1"]),
            transport=httpx.AsyncHTTPTransport(verify=trust) if trust else None,
        )

    async with serving({"/": http(body=b"image")}, tls=at_server) as server:
        assert await get_as("images.example", trusting) == b"image"
        assert requested == ["images.example"]
        for host, trust in (("other.example", trusting), ("127.0.0.1", trusting), ("images.example", None)):
            with pytest.raises(ImageFetchError, match="no connection"):
                await get_as(host, trust)


def self_signed(folder: Path, host: str) -> Path:
    x509 = pytest.importorskip("cryptography.x509", reason="needed to create the certificate of this test")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return pem
