import asyncio
import datetime
import gzip
import io
import socket
import ssl
import struct
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from PIL import Image

from caslie_tools.domain import ImageRef
from caslie_tools.exceptions import ImageError, ImageFetchError
from caslie_tools.images.fetching import Resolver, fetch, is_public, resolve_host
from caslie_tools.images.loading import ImageLimits, ImageLoader

PUBLIC = "93.184.216.34"

Answer = Callable[[asyncio.StreamWriter, str], Awaitable[None]]


def http(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    fields = {"Content-Length": str(len(body)), "Connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    return (
        f"HTTP/1.1 {status} X\r\n".encode()
        + "".join(f"{k}: {v}\r\n" for k, v in fields.items()).encode()
        + b"\r\n"
        + body
    )


class Server:
    """Answers on a free loopback port: by path with fixed bytes, or by writing as it likes."""

    def __init__(self, answers: dict[str, bytes | Answer]) -> None:
        self.answers = answers
        self.requests: list[str] = []
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(request)
            answer = self.answers[request.split()[1].partition("?")[0]]
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer, request)
        except (ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass  # the client has seen enough
        finally:
            writer.close()
            self._tasks.discard(task)

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def serving(answers: dict[str, bytes | Answer], tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(answers)
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await server.stop()


async def get(url: str, *, max_bytes: int = 1000, timeout_seconds: float = 20, max_redirects: int = 5) -> bytes:
    return await fetch(
        url,
        max_bytes=max_bytes,
        timeout_seconds=timeout_seconds,
        max_redirects=max_redirects,
        allow_private_addresses=True,
    )


class Names:
    """A name server that gives the n-th answer to the n-th question."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


class Internet:
    """Stands where the connections are made, and writes down which addresses are dialled."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response] | None = None) -> None:
        self.answer = answer or (lambda _: httpx.Response(200, stream=httpx.ByteStream(b"picture")))
        self.dialled: list[str] = []
        self.requests: list[httpx.Request] = []
        self.transport = httpx.MockTransport(self._handle)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.dialled.append(request.url.host)
        self.requests.append(request)
        return self.answer(request)


async def through(internet: Internet, url: str, names: Resolver) -> bytes:
    return await fetch(url, max_bytes=9, timeout_seconds=20, resolve=names, transport=internet.transport)


async def test_fetches_a_body_asking_for_an_uncompressed_image() -> None:
    async with serving({"/a.png": http(body=b"picture")}) as server:
        assert await get(server.url("/a.png?size=2")) == b"picture"
    assert server.requests[0].startswith("GET /a.png?size=2 HTTP/1.1")
    assert "accept-encoding: identity" in server.requests[0].lower()


async def test_accepts_a_body_of_exactly_the_limit_and_none_longer() -> None:
    async with serving({"/": http(body=b"x" * 10)}) as server:
        assert await get(server.url("/"), max_bytes=10) == b"x" * 10
        with pytest.raises(ImageFetchError, match="larger than 9 bytes"):
            await get(server.url("/"), max_bytes=9)


async def test_a_body_of_unknown_length_is_cut_at_the_limit() -> None:
    async def endless(writer: asyncio.StreamWriter, request: str) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with serving({"/": endless}) as server:
        with pytest.raises(ImageFetchError, match="larger than 100,000 bytes"):
            await get(server.url("/"), max_bytes=100_000)


async def test_an_announced_length_over_the_limit_is_refused_without_reading() -> None:
    async def only_promises(writer: asyncio.StreamWriter, request: str) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
        await asyncio.Event().wait()

    async with serving({"/": only_promises}) as server:
        with pytest.raises(ImageFetchError, match="larger than 1,000 bytes"):
            await get(server.url("/"))


async def test_gzip_is_undone_and_a_gzip_bomb_is_cut_at_the_limit() -> None:
    answers: dict[str, bytes | Answer] = {
        "/small": http(body=gzip.compress(b"picture"), Content_Encoding="gzip"),
        "/bomb": http(body=gzip.compress(bytes(50_000_000)), Content_Encoding="gzip"),
        "/half": http(body=gzip.compress(b"picture")[:-9], Content_Encoding="gzip"),
        "/not-gzip": http(body=b"picture", Content_Encoding="gzip"),
        "/nested": http(body=gzip.compress(gzip.compress(b"picture")), Content_Encoding="gzip, gzip"),
    }
    async with serving(answers) as server:
        assert await get(server.url("/small")) == b"picture"
        tracemalloc.start()
        try:
            with pytest.raises(ImageFetchError, match="larger than 1,000,000 bytes"):
                await get(server.url("/bomb"), max_bytes=1_000_000)
            assert tracemalloc.get_traced_memory()[1] < 20_000_000  # the peak: most of the bomb never went off
        finally:
            tracemalloc.stop()
        with pytest.raises(ImageFetchError, match="broke off"):
            await get(server.url("/half"))
        with pytest.raises(ImageFetchError, match="nonsense"):
            await get(server.url("/not-gzip"))
        with pytest.raises(ImageFetchError, match="not asked for"):
            await get(server.url("/nested"))


@pytest.mark.parametrize("status", [204, 206, 304, 401, 404, 500])
async def test_any_status_but_200_is_an_error_that_names_it(status: int) -> None:
    async with serving({"/gone.jpg": http(status)}) as server:
        with pytest.raises(ImageFetchError, match=f"gone.jpg.*status {status}"):
            await get(server.url("/gone.jpg"))


@pytest.mark.parametrize(("status", "passing"), [(403, False), (404, False), (410, False), (429, True), (503, True)])
async def test_it_tells_whether_another_try_may_do_better(status: int, passing: bool) -> None:
    async with serving({"/gone.jpg": http(status)}) as server:
        with pytest.raises(ImageFetchError) as caught:
            await get(server.url("/gone.jpg"))
    assert caught.value.passing is passing
    with pytest.raises(ImageFetchError) as caught:  # there is nobody any more
        await get(server.url("/gone.jpg"))
    assert caught.value.passing is True


@pytest.mark.parametrize(("error", "passing"), [(socket.EAI_AGAIN, True), (socket.EAI_NONAME, False)])
async def test_a_name_that_is_not_known_for_want_of_a_network_may_be_later(error: int, passing: bool) -> None:
    async def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(error, "no such name")

    with pytest.raises(ImageFetchError, match="is not known") as caught:
        await fetch("http://shop.example/", max_bytes=10, timeout_seconds=5, resolve=unknown)
    assert caught.value.passing is passing


async def test_a_server_that_drips_is_cut_at_the_deadline_of_the_whole_fetch() -> None:
    async def drip(writer: asyncio.StreamWriter, request: str) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:  # faster than any timeout of a single read
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with serving({"/": drip}) as server:
        started = asyncio.get_running_loop().time()
        with pytest.raises(ImageFetchError, match=r"over 0\.3 s") as caught:
            await get(server.url("/"), max_bytes=200_000, timeout_seconds=0.3)
        assert asyncio.get_running_loop().time() - started < 5
    assert isinstance(caught.value.__cause__, TimeoutError)


async def test_a_name_server_that_never_answers_is_cut_at_the_deadline() -> None:
    async def silent(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(ImageFetchError, match=r"over 0\.1 s"):
        await fetch("http://shop.example/", max_bytes=10, timeout_seconds=0.1, resolve=silent)


async def test_a_broken_connection_is_our_error_with_its_cause() -> None:
    async def reset(writer: asyncio.StreamWriter, request: str) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
        await writer.drain()
        raw: socket.socket = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets
        writer.transport.abort()

    answers: dict[str, bytes | Answer] = {
        "/reset": reset,
        "/short": http(body=b"half", Content_Length="1000"),
        "/garbage": b"SSH-2.0-OpenSSH\r\n\r\n",
        "/nothing": b"",
    }
    async with serving(answers) as server:
        for path in answers:
            with pytest.raises(ImageFetchError, match="broke") as caught:
                await get(server.url(path))
            assert isinstance(caught.value.__cause__, httpx.HTTPError)
    with pytest.raises(ImageFetchError, match="no connection"):
        await get(server.url("/closed"))


async def test_redirects_are_followed_without_reading_their_bodies() -> None:
    async def endless_redirect(writer: asyncio.StreamWriter, request: str) -> None:
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 99999999999\r\n\r\n")
        await asyncio.Event().wait()

    async with serving({"/a": endless_redirect, "/b": http(body=b"picture")}) as server:
        assert await get(server.url("/a")) == b"picture"


async def test_a_redirect_loop_ends_at_the_limit() -> None:
    async with serving({"/a": http(302, Location="/a")}) as server:
        with pytest.raises(ImageFetchError, match="more than 3 redirects"):
            await get(server.url("/a"), max_redirects=3)
    assert len(server.requests) == 4


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://shop.example/a", "gopher://x/", "http://[", "http://"])
async def test_a_redirect_leads_nowhere_but_to_http(target: str) -> None:
    async with serving({"/a": http(302, Location=target)}) as server:
        with pytest.raises(ImageFetchError):
            await get(server.url("/a"))
    assert len(server.requests) == 1


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
    internet = Internet(lambda _: httpx.Response(302, headers={"Location": target}))

    async def resolve(host: str, port: int) -> Sequence[str]:
        return [PUBLIC] if host == "shop.example" else [host]

    with pytest.raises(ImageFetchError, match=r"shop\.example/a.*public internet"):
        await through(internet, "https://shop.example/a", resolve)
    assert internet.dialled == [PUBLIC]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "127.1", "0"])
async def test_a_server_on_this_machine_is_never_reached_however_it_is_written(host: str) -> None:
    async with serving({"/": http(body=b"secret")}) as server:
        with pytest.raises(ImageFetchError, match=r"public internet|not known"):
            await fetch(server.url("/", host), max_bytes=1000, timeout_seconds=20)
    assert server.requests == []


async def test_the_connection_goes_to_the_checked_address_whatever_the_name_server_says_later() -> None:
    names = Names([PUBLIC], ["127.0.0.1"])
    internet = Internet()
    body = await through(internet, "https://rebinding.example/a.png", names)
    assert body == b"picture"
    assert internet.dialled == [PUBLIC]
    assert names.asked == ["rebinding.example"]
    assert internet.requests[0].headers["Host"] == "rebinding.example"
    assert internet.requests[0].extensions["sni_hostname"] == "rebinding.example"


async def test_rebinding_between_redirects_is_seen() -> None:
    names = Names([PUBLIC], ["127.0.0.1"])
    internet = Internet(lambda _: httpx.Response(302, headers={"Location": "/again"}))
    with pytest.raises(ImageFetchError, match="public internet"):
        await through(internet, "http://rebinding.example/", names)
    assert internet.dialled == [PUBLIC]


async def test_one_private_address_among_public_ones_spoils_them_all() -> None:
    internet = Internet()
    for addresses in ([PUBLIC, "10.0.0.1"], ["10.0.0.1", PUBLIC], [PUBLIC, "not an address"]):
        with pytest.raises(ImageFetchError, match="public internet"):
            await through(internet, "http://mixed.example/", Names(addresses))
    assert internet.dialled == []


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "2606:4700::1111":
            raise httpx.ConnectError("unreachable")
        return httpx.Response(200, stream=httpx.ByteStream(b"picture"))

    internet = Internet(answer)
    names = Names(["2606:4700::1111", PUBLIC])
    url = "http://dual.example/"
    assert await through(internet, url, names) == b"picture"
    assert internet.dialled == ["2606:4700::1111", PUBLIC]


async def test_a_name_is_only_resolved_by_the_resolver_and_sent_as_host() -> None:
    names = Names(["127.0.0.1"])
    async with serving({"/": http(body=b"picture")}) as server:
        url = server.url("/", "no-such-host.example")
        body = await fetch(url, max_bytes=9, timeout_seconds=20, allow_private_addresses=True, resolve=names)
    assert body == b"picture"
    assert f"\r\nhost: no-such-host.example:{server.port}\r\n" in server.requests[0].lower()


async def test_an_unknown_name_is_said_to_be_unknown() -> None:
    async def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    for resolve in (unknown, Names([])):
        with pytest.raises(ImageFetchError, match=r"'nowhere\.example' is not known"):
            await fetch("http://nowhere.example/", max_bytes=9, timeout_seconds=20, resolve=resolve)


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving({"/": http(body=b"direct")}) as server, serving({}) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url(""))
        assert await get(server.url("/")) == b"direct"
    assert proxy.requests == []


async def test_credentials_are_sent_but_never_shown_nor_passed_on_to_another_host() -> None:
    internet = Internet(
        lambda request: httpx.Response(
            *((302,) if request.url.path == "/a" else (404,)), headers={"Location": "http://other.example/b?key=s3cret"}
        )
    )
    with pytest.raises(ImageFetchError) as caught:
        await through(internet, "http://user:s3cret@shop.example/a?token=s3cret", Names([PUBLIC]))
    first, second = internet.requests
    assert first.headers["Authorization"].startswith("Basic ")
    assert "Authorization" not in second.headers
    assert str(caught.value) == "image 'http://shop.example/a' cannot be fetched: the server answered with status 404"
    assert "s3cret" not in repr(caught.value) + repr(caught.value.__cause__)


@pytest.mark.parametrize(
    "url",
    ["http://", "http:///a", "http://[", "http://user:s3cret@shop:port/", "https://a\x00b/", "http://" + "a" * 70000],
)
async def test_a_malformed_url_is_our_error_and_shows_no_secret(url: str) -> None:
    with pytest.raises(ImageFetchError) as caught:
        await get(url)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None or "s3cret" not in str(caught.value.__cause__)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://shop.example/", "data:,x", "s3cret", ""])
async def test_only_http_is_fetched(url: str) -> None:
    with pytest.raises(ImageFetchError, match="does not start with http"):
        await get(url)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192", "168.63.129.16", "198.18.0.1"),
        *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.0.2.1", "203.0.113.9"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::7f00:1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
        *("64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
        *("", "localhost", "1.2.3"),
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [PUBLIC, "1.1.1.1", "100.128.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1"],
)
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)


async def test_resolves_as_the_system_does_each_address_once() -> None:
    assert await resolve_host("127.0.0.1", 80) == ["127.0.0.1"]


async def test_tls_checks_the_certificate_for_the_name_and_not_for_the_address(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path, "pictures.example")
    at_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    at_server.load_cert_chain(certificate)
    asked_for: list[str | None] = []
    at_server.sni_callback = lambda _, name, __: asked_for.append(name)
    trusting = ssl.create_default_context(cafile=str(certificate))

    async def get_as(host: str, trust: ssl.SSLContext | None) -> bytes:
        return await fetch(
            f"https://{host}:{server.port}/",
            max_bytes=100,
            timeout_seconds=20,
            allow_private_addresses=True,
            resolve=Names(["127.0.0.1"]),
            transport=httpx.AsyncHTTPTransport(verify=trust) if trust else None,
        )

    async with serving({"/": http(body=b"picture")}, tls=at_server) as server:
        assert await get_as("pictures.example", trusting) == b"picture"
        assert asked_for == ["pictures.example"]
        for host, trust in (("other.example", trusting), ("127.0.0.1", trusting), ("pictures.example", None)):
            with pytest.raises(ImageFetchError, match="no connection"):
                await get_as(host, trust)


def self_signed(folder: Path, host: str) -> Path:
    x509 = pytest.importorskip("cryptography.x509", reason="makes the test's certificate")
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


async def test_the_loader_fetches_and_decodes() -> None:
    encoded = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(encoded, "PNG")
    answers: dict[str, bytes | Answer] = {"/a.png": http(body=encoded.getvalue()), "/page": http(body=b"<html>")}
    loader = ImageLoader(ImageLimits(allow_private_addresses=True))
    async with serving(answers) as server:
        image = await loader.load(ImageRef(url=server.url("/a.png?key=s3cret")))
        assert (image.width, image.height, image.data) == (3, 2, encoded.getvalue())
        with pytest.raises(ImageError, match=r"/page' is not an image"):
            await loader.load(ImageRef(url=server.url("/page?key=s3cret")))
        with pytest.raises(ImageFetchError, match="public internet"):
            await ImageLoader().load(ImageRef(url=server.url("/a.png")))
    assert len(server.requests) == 2
