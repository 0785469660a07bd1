import asyncio
import gzip
import io
import socket
import struct
import tracemalloc
from collections.abc import Sequence

import httpx
import pytest
from PIL import Image

from caslie_tools.domain import ImageRef
from caslie_tools.exceptions import ImageError, ImageFetchError
from caslie_tools.images.fetching import fetch
from caslie_tools.images.loading import ImageLimits, ImageLoader
from tests.images.http_server import PUBLIC, Handler, NameServer, Network, get, http, serving


async def test_a_fetch_requests_an_uncompressed_image_and_returns_the_body() -> None:
    async with serving({"/a.png": http(body=b"image")}) as server:
        assert await get(server.url("/a.png?size=2")) == b"image"
    assert server.requests[0].startswith("GET /a.png?size=2 HTTP/1.1")
    assert "accept-encoding: identity" in server.requests[0].lower()


async def test_the_size_limit_is_inclusive() -> None:
    async with serving({"/": http(body=b"x" * 10)}) as server:
        assert await get(server.url("/"), max_bytes=10) == b"x" * 10
        with pytest.raises(ImageFetchError, match="larger than 9 bytes"):
            await get(server.url("/"), max_bytes=9)


async def test_an_endless_body_of_unknown_length_is_refused_at_the_limit() -> None:
    async def endless(writer: asyncio.StreamWriter, request: str) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with serving({"/": endless}) as server:
        with pytest.raises(ImageFetchError, match="larger than 100,000 bytes"):
            await get(server.url("/"), max_bytes=100_000)


async def test_a_content_length_over_the_limit_is_refused_without_reading_the_body() -> None:
    async def only_headers(writer: asyncio.StreamWriter, request: str) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
        await asyncio.Event().wait()

    async with serving({"/": only_headers}) as server:
        with pytest.raises(ImageFetchError, match="larger than 1,000 bytes"):
            await get(server.url("/"))


async def test_gzip_is_decompressed_and_a_gzip_bomb_is_refused_at_the_limit() -> None:
    responses: dict[str, bytes | Handler] = {
        "/small": http(body=gzip.compress(b"image"), Content_Encoding="gzip"),
        "/bomb": http(body=gzip.compress(bytes(50_000_000)), Content_Encoding="gzip"),
        "/half": http(body=gzip.compress(b"image")[:-9], Content_Encoding="gzip"),
        "/not-gzip": http(body=b"image", Content_Encoding="gzip"),
        "/nested": http(body=gzip.compress(gzip.compress(b"image")), Content_Encoding="gzip, gzip"),
    }
    async with serving(responses) as server:
        assert await get(server.url("/small")) == b"image"
        tracemalloc.start()
        try:
            with pytest.raises(ImageFetchError, match="larger than 1,000,000 bytes"):
                await get(server.url("/bomb"), max_bytes=1_000_000)
            assert tracemalloc.get_traced_memory()[1] < 20_000_000  # the peak: most of the bomb stays compressed
        finally:
            tracemalloc.stop()
        with pytest.raises(ImageFetchError, match="body is incomplete"):
            await get(server.url("/half"))
        with pytest.raises(ImageFetchError, match="incomplete or invalid"):
            await get(server.url("/not-gzip"))
        with pytest.raises(ImageFetchError, match="not requested"):
            await get(server.url("/nested"))


@pytest.mark.parametrize("status", [204, 206, 304, 401, 404, 500])
async def test_any_status_except_200_is_an_error_that_names_it(status: int) -> None:
    async with serving({"/missing.jpg": http(status)}) as server:
        with pytest.raises(ImageFetchError, match=f"missing.jpg.*status {status}"):
            await get(server.url("/missing.jpg"))


@pytest.mark.parametrize(("status", "transient"), [(403, False), (404, False), (410, False), (429, True), (503, True)])
async def test_the_error_states_whether_it_is_transient(status: int, transient: bool) -> None:
    async with serving({"/missing.jpg": http(status)}) as server:
        with pytest.raises(ImageFetchError) as caught:
            await get(server.url("/missing.jpg"))
    assert caught.value.transient is transient
    with pytest.raises(ImageFetchError) as caught:  # the server has stopped
        await get(server.url("/missing.jpg"))
    assert caught.value.transient is True


@pytest.mark.virtual_time
async def test_a_slow_body_is_refused_at_the_deadline_of_the_whole_fetch() -> None:
    async def drip(writer: asyncio.StreamWriter, request: str) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:  # each byte arrives before the timeout of a single read
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with serving({"/": drip}) as server:
        with pytest.raises(ImageFetchError, match=r"over 0\.3 s") as caught:
            await get(server.url("/"), max_bytes=200_000, timeout_seconds=0.3)
    assert isinstance(caught.value.__cause__, TimeoutError)


@pytest.mark.virtual_time
async def test_a_name_server_without_response_is_refused_at_the_deadline() -> None:
    async def silent(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(ImageFetchError, match=r"over 0\.1 s"):
        await fetch("http://shop.example/", max_bytes=10, timeout_seconds=0.1, resolve=silent)


async def test_a_broken_connection_is_an_image_fetch_error_with_its_cause() -> None:
    async def reset(writer: asyncio.StreamWriter, request: str) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
        await writer.drain()
        raw: socket.socket = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets the connection
        writer.transport.abort()

    responses: dict[str, bytes | Handler] = {
        "/reset": reset,
        "/short": http(body=b"half", Content_Length="1000"),
        "/garbage": b"SSH-2.0-OpenSSH\r\n\r\n",
        "/nothing": b"",
    }
    async with serving(responses) as server:
        for path in responses:
            with pytest.raises(ImageFetchError, match=r"connection was lost|incomplete or invalid") as caught:
                await get(server.url(path))
            assert isinstance(caught.value.__cause__, httpx.HTTPError)
    with pytest.raises(ImageFetchError, match="no connection"):
        await get(server.url("/closed"))


async def test_redirects_are_followed_without_reading_their_bodies() -> None:
    async def endless_redirect(writer: asyncio.StreamWriter, request: str) -> None:
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 99999999999\r\n\r\n")
        await asyncio.Event().wait()

    async with serving({"/a": endless_redirect, "/b": http(body=b"image")}) as server:
        assert await get(server.url("/a")) == b"image"


async def test_a_redirect_loop_stops_at_the_limit() -> None:
    async with serving({"/a": http(302, Location="/a")}) as server:
        with pytest.raises(ImageFetchError, match="more than 3 redirects"):
            await get(server.url("/a"), max_redirects=3)
    assert len(server.requests) == 4


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://shop.example/a", "gopher://x/", "http://[", "http://"])
async def test_a_redirect_to_anything_but_http_is_refused(target: str) -> None:
    async with serving({"/a": http(302, Location=target)}) as server:
        with pytest.raises(ImageFetchError):
            await get(server.url("/a"))
    assert len(server.requests) == 1


async def test_proxies_from_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving({"/": http(body=b"direct")}) as server, serving({}) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url(""))
        assert await get(server.url("/")) == b"direct"
    assert proxy.requests == []


async def test_credentials_are_never_shown_nor_sent_to_another_host() -> None:
    network = Network(
        lambda request: httpx.Response(
            *((302,) if request.url.path == "/a" else (404,)), headers={"Location": "http://other.example/b?key=s3cret"}
        )
    )
    with pytest.raises(ImageFetchError) as caught:
        await network.fetch("http://user:s3cret@shop.example/a?token=s3cret", NameServer([PUBLIC]))
    first, second = network.requests
    assert first.headers["Authorization"].startswith("Basic ")
    assert "Authorization" not in second.headers
    assert str(caught.value) == "image 'http://shop.example/a' cannot be fetched: the server responded with status 404"
    assert "s3cret" not in repr(caught.value) + repr(caught.value.__cause__)


@pytest.mark.parametrize(
    "url",
    ["http://", "http:///a", "http://[", "http://user:s3cret@shop:port/", "https://a\x00b/", "http://" + "a" * 70000],
)
async def test_a_malformed_url_is_an_image_fetch_error_without_secrets(url: str) -> None:
    with pytest.raises(ImageFetchError) as caught:
        await get(url)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None or "s3cret" not in str(caught.value.__cause__)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://shop.example/", "data:,x", "s3cret", ""])
async def test_only_http_urls_are_fetched(url: str) -> None:
    with pytest.raises(ImageFetchError, match="does not start with http"):
        await get(url)


async def test_the_loader_fetches_and_decodes_an_image() -> None:
    encoded = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(encoded, "PNG")
    responses: dict[str, bytes | Handler] = {"/a.png": http(body=encoded.getvalue()), "/page": http(body=b"<html>")}
    loader = ImageLoader(ImageLimits(allow_private_addresses=True))
    async with serving(responses) as server:
        image = await loader.load(ImageRef(url=server.url("/a.png?key=s3cret")))
        assert (image.width, image.height, image.data) == (3, 2, encoded.getvalue())
        with pytest.raises(ImageError, match=r"/page' is not an image"):
            await loader.load(ImageRef(url=server.url("/page?key=s3cret")))
        with pytest.raises(ImageFetchError, match="public internet"):
            await ImageLoader().load(ImageRef(url=server.url("/a.png")))
    assert len(server.requests) == 2
