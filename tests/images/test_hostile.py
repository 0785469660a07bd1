"""Images and URLs that strangers made: each is an error of ours, and costs little."""

import contextlib
import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from caslie_tools.domain import ImageRef
from caslie_tools.exceptions import ImageError
from caslie_tools.images.decoding import WORKING_PIXELS
from caslie_tools.images.loading import ImageLimits, ImageLoader, LoadedImage
from tests.doubles import draw_picture
from tests.images.http_server import Handler, http, serving


def load(data: bytes) -> LoadedImage:
    return ImageLoader().load_sync(ImageRef(data=data))


def png(width: int, height: int) -> bytes:
    """A black PNG that is small as a file, however many pixels it has."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pack = zlib.compressobj(9)
    rows = b"".join(pack.compress(bytes(1 + width)) for _ in range(height)) + pack.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def progressive(side: int, scans: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    file = io.BytesIO()
    Image.new("L", (side, side), 90).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


class TestPixels:
    @pytest.mark.parametrize(("width", "height"), [(50_000_000, 1), (1, 40_000), (201, 1), (1, 201)])
    def test_a_strip_is_refused(self, width: int, height: int) -> None:
        with pytest.raises(ImageError, match=f"is a strip of {width} x {height} pixels; crop it"):
            load(png(width, height))

    @pytest.mark.parametrize(("width", "height"), [(200, 1), (1, 200), (4000, 20)])
    def test_a_narrow_image_is_not(self, width: int, height: int) -> None:
        assert load(png(width, height)).rgb().size == (width, height)

    def test_a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded(self) -> None:
        with pytest.raises(ImageError, match=r"is a JPEG of 30\d\d scans, which take too long to decode"):
            load(progressive(1000, 3000))

    @pytest.mark.parametrize(("side", "scans"), [(1000, 20), (3000, 1), (7000, 1), (16, 3000)])
    def test_usual_progressive_ones_and_small_ones_are_not(self, side: int, scans: int) -> None:
        assert load(progressive(side, scans)).width == side

    @pytest.mark.parametrize("kind", ["PNG", "JPEG"])
    @pytest.mark.parametrize(("orientation", "upright"), [(1, (7000, 5000)), (6, (5000, 7000))])
    def test_a_large_one_is_scaled_down_and_keeps_its_size_in_words(
        self, kind: str, orientation: int, upright: tuple[int, int]
    ) -> None:
        image = Image.new("RGB", (7000, 5000), "red")
        image.paste("blue", (0, 0, 3500, 5000))
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = io.BytesIO()
        image.save(file, kind, exif=exif)
        loaded = load(file.getvalue())
        assert (loaded.width, loaded.height) == upright
        pixels = loaded.rgb()
        assert pixels.width * pixels.height <= WORKING_PIXELS
        assert pixels.width / pixels.height == pytest.approx(upright[0] / upright[1], rel=0.01)
        first = pixels.getpixel((pixels.width // 10, pixels.height // 10))
        assert isinstance(first, tuple)
        assert first[2] > 200  # blue

    @given(st.binary(max_size=300))
    def test_any_bytes_are_an_image_or_refused(self, data: bytes) -> None:
        for ref in (ImageRef(data=data), ImageRef(data=draw_picture("A", "red")[: len(data)] + data)):
            with contextlib.suppress(ImageError):
                ImageLoader().load_sync(ref)


LOCATIONS = (
    "data:x", "mailto:x", "http:ok", "http://xn--a/", "http://[", "//", "http://\xad/", "javascript:x", "http:///a",
    "http://127.0.0.1:99999/", "http://:80/", "http://user:pw@[::1/", "file:///etc/passwd", "gopher://a", " ", "?",
)  # fmt: skip
URLS = (
    "http://xn--i-7iq.ws/p.png", "http://xn--a/", "http://", "http://[::1", "http://a:b:c/", "http://\x00/",
    "http://\ud800/", "https://" + "a" * 70_000, "http://127.0.0.1:99999/", "http://127.0.0.1:-1/", "http://a..b/",
    "data:", "data:,", "data:;base64,!!", "data:image/png;base64,\ud800",
)  # fmt: skip


class TestUrls:
    async def test_a_redirect_to_anything_is_an_error_that_names_the_first_url(self) -> None:
        redirects = {f"/{number}": http(302, Location=location) for number, location in enumerate(LOCATIONS)}
        loader = ImageLoader(ImageLimits(allow_private_addresses=True))
        responses: dict[str, bytes | Handler] = {**redirects}
        async with serving(responses) as server:
            for path in redirects:
                with pytest.raises(ImageError, match=path):
                    await loader.load(ImageRef(url=f"http://127.0.0.1:{server.port}{path}"))

    @pytest.mark.parametrize("url", URLS)
    async def test_a_url_that_nobody_can_fetch(self, url: str) -> None:
        with pytest.raises(ImageError):
            await ImageLoader(ImageLimits(allow_private_addresses=True)).load(ImageRef(url=url))

    @given(
        st.text(max_size=60), st.sampled_from(["data:", "data:image/png;base64,", "http://127.0.0.1:0/", "http://["])
    )
    def test_any_text_after_a_scheme(self, rest: str, scheme: str) -> None:
        with pytest.raises(ImageError):
            ImageLoader(ImageLimits(allow_private_addresses=True)).load_sync(ImageRef(url=scheme + rest))


class TestFiles:
    @given(st.text(max_size=40))
    def test_any_path(self, path: str) -> None:
        with pytest.raises(ImageError):
            ImageLoader().load_sync(ImageRef(path=Path("no-such-folder") / path))

    def test_an_error_of_another_kind_is_an_image_error_with_its_cause(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: object) -> bytes:
            raise RecursionError

        monkeypatch.setattr("caslie_tools.images.loading.read_bytes", broken)
        loader, ref = ImageLoader(), ImageRef(path=Path("a.png"))
        for read in (loader.load_sync, loader.digest):
            with pytest.raises(ImageError, match=r"'a\.png' cannot be read: unexpected RecursionError") as raised:
                read(ref)
            assert isinstance(raised.value.__cause__, RecursionError)
