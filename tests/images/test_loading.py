import asyncio
import base64
import hashlib
import io
import os
import socket
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from pydantic import ValidationError

from caslie_tools.domain import ImageRef
from caslie_tools.exceptions import ImageError, InputError
from caslie_tools.images.decoding import supported_formats
from caslie_tools.images.loading import ImageLimits, ImageLoader, LoadedImage

RED, GREEN, WHITE = (255, 0, 0), (0, 128, 0), (255, 255, 255)


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(width: int, height: int) -> Image.Image:
    return Image.effect_noise((width, height), 90).convert("RGB")


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def load(data: bytes, **limits: Any) -> LoadedImage:
    return ImageLoader(ImageLimits(**limits)).load_sync(ImageRef(data=data))


def close(pixel: Any, colour: tuple[int, int, int]) -> bool:
    return all(abs(a - b) <= 12 for a, b in zip(pixel, colour, strict=True))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_each_format_is_decoded_and_its_bytes_are_kept(kind: str) -> None:
    if kind not in supported_formats():
        pytest.skip(f"this installation of Pillow does not support {kind}")
    data = encoded(Image.new("RGB", (40, 30), "red"), kind)
    image = load(data)
    assert (image.media_type, image.width, image.height) == (f"image/{kind.lower()}", 40, 30)
    assert image.data == data
    assert image.sha256 == hashlib.sha256(data).hexdigest()
    assert image.rgb().mode == "RGB"
    assert close(image.rgb().getpixel((20, 15)), RED)


async def test_a_path_bytes_and_a_data_url_give_the_same_image(tmp_path: Path) -> None:
    data = encoded(Image.new("RGB", (4, 3), "red"))
    (tmp_path / "a.png").write_bytes(data)
    loader = ImageLoader()
    base64_url = "DATA:image/png;charset=x;base64," + base64.b64encode(data).decode()
    percent_url = "data:," + "".join(f"%{byte:02x}" for byte in data)
    refs = [ImageRef(path=tmp_path / "a.png"), ImageRef(data=data), ImageRef(url=base64_url), ImageRef(url=percent_url)]
    images = await asyncio.gather(*map(loader.load, refs))
    assert images == [images[0]] * 4
    assert loader.load_sync(refs[0]) == images[0]  # also while an event loop runs


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation: int) -> None:
    corners = Image.new("RGB", (60, 40), "white")
    corners.paste(RED, (0, 0, 20, 20))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = corners.transpose(undo[orientation]) if orientation in undo else corners
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = load(encoded(stored, "JPEG", exif=exif, quality=95))
    assert (image.width, image.height) == image.rgb().size == (60, 40)
    assert close(image.rgb().getpixel((10, 10)), RED)
    assert close(image.rgb().getpixel((50, 30)), WHITE)


def test_an_image_with_broken_exif_is_decoded() -> None:
    image = load(encoded(Image.new("RGB", (8, 8), "red"), "JPEG", exif=b"Exif\0\0garbage in here"))
    assert close(image.rgb().getpixel((0, 0)), RED)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_the_first_of_several_frames_is_used(kind: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "green", "blue")]
    image = load(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert close(image.rgb().getpixel((16, 16)), RED)
    assert image.media_type == {"MPO": "image/jpeg"}.get(kind, f"image/{kind.lower()}")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB with a transparent colour"])
def test_transparency_becomes_white(mode: str) -> None:
    if mode.startswith("RGB "):
        data = encoded(Image.new("RGB", (4, 4), "red"), transparency=RED)
    else:
        clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
        data = encoded(clear.quantize() if mode == "P" else clear.convert(mode))
    assert load(data).rgb().getpixel((1, 1)) == WHITE


def test_partial_transparency_is_blended_with_white() -> None:
    assert load(encoded(Image.new("RGBA", (2, 2), (255, 0, 0, 128)))).rgb().getpixel((0, 0)) == (255, 127, 127)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "I;16"])
def test_other_colour_modes_are_converted_to_rgb(mode: str) -> None:
    if mode == "I;16":
        picture = Image.new(mode, (9, 9), 0x8080)
    else:
        palette = Image.Palette.ADAPTIVE
        picture = Image.new("RGB", (9, 9), (128, 128, 128)).convert(mode, dither=Image.Dither.NONE, palette=palette)
    grey = load(encoded(picture, "TIFF" if mode in {"CMYK", "YCbCr"} else "PNG")).rgb()
    assert grey.mode == "RGB"
    assert close(grey.getpixel((4, 4)), WHITE if mode == "1" else (128, 128, 128))


def test_32_bit_measurements_are_refused() -> None:
    with pytest.raises(ImageError, match="32-bit"):
        load(encoded(Image.new("F", (2, 2), 0.5), "TIFF"))


def test_the_caller_may_change_the_returned_pixels() -> None:
    data = encoded(Image.new("RGB", (4, 4), "red"))
    constructed = LoadedImage(data=data, sha256="0" * 64, media_type="image/png", width=4, height=4)
    for image in (load(data), constructed):
        image.rgb().paste(GREEN, (0, 0, 4, 4))
        assert image.rgb().getpixel((0, 0)) == RED


def test_a_large_image_is_decoded_again_when_needed() -> None:
    image = load(encoded(Image.new("L", (4000, 3500), 7)))
    assert image.decoded is None
    assert image.rgb().getpixel((3999, 3499)) == (7, 7, 7)


def test_repr_contains_no_image_data() -> None:
    assert "PNG" not in repr(load(encoded(Image.new("RGB", (4, 4)))))


def opened(data_url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data_url.partition(",")[2])))


@pytest.mark.parametrize(("kind", "written"), [("JPEG", "jpeg"), ("WEBP", "jpeg"), ("PNG", "png"), ("GIF", "png")])
def test_a_data_url_is_scaled_down_and_never_up(kind: str, written: str) -> None:
    image = load(encoded(noise(200, 100), kind))
    for max_side, size in ((None, (200, 100)), (50, (50, 25)), (200, (200, 100)), (900, (200, 100)), (1, (1, 1))):
        url = image.data_url(max_side)
        assert url.startswith(f"data:image/{written};base64,")
        with opened(url) as picture:
            assert picture.size == size
    with pytest.raises(InputError, match="at least 1"):
        image.data_url(0)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_data_url_contains_no_metadata(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "secret place"
    options: dict[str, Any] = {"exif": exif, "icc_profile": b"secret profile"}
    if kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text("comment", "secret text")
    else:
        options["comment"] = b"secret text"
    data = encoded(noise(20, 10), kind, **options)
    assert b"secret" in data
    assert b"secret" not in base64.b64decode(load(data).data_url().partition(",")[2])


def test_a_missing_or_irregular_file_is_an_image_error(tmp_path: Path) -> None:
    loader = ImageLoader()
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.png"))
        expected = {
            tmp_path / "missing.png": "'missing.png' does not exist",
            tmp_path: "is a folder",
            tmp_path / "pipe.png": "'pipe.png' is not a regular file",  # without waiting for a writer
            tmp_path / "socket.png": "'socket.png' cannot be read",
            Path("/dev/zero"): "'zero' is not a regular file",
            tmp_path / "a\0b.png": "cannot be read: its path is invalid",
            tmp_path / ("x" * 300): "cannot be read: File name too long",
        }
        for path, message in expected.items():
            with pytest.raises(ImageError, match=message):
                loader.load_sync(ImageRef(path=path))


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(Image.new("RGB", (4, 3))))
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    assert ImageLoader().load_sync(ImageRef(path=tmp_path / "b.png")).width == 4


async def test_the_size_limit_holds_for_files_bytes_and_data_urls(tmp_path: Path) -> None:
    data = encoded(noise(30, 30))
    loader = ImageLoader(ImageLimits(max_bytes=len(data) - 1))
    exact = ImageLoader(ImageLimits(max_bytes=len(data)))
    (tmp_path / "a.png").write_bytes(data)
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    for ref in (ImageRef(path=tmp_path / "a.png"), ImageRef(data=data), ImageRef(url=url)):
        assert (await exact.load(ref)).width == 30
        with pytest.raises(ImageError, match=r"larger than [\d,]+ bytes"):
            await loader.load(ref)


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(1 << 40)  # a sparse file of one terabyte
    with pytest.raises(ImageError, match="larger than"):
        ImageLoader().load_sync(ImageRef(path=tmp_path / "huge.png"))


@pytest.mark.parametrize(("width", "height"), [(10_000, 10_000), (100_000, 20_000)])
def test_too_many_pixels_are_refused_before_decoding(width: int, height: int) -> None:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = b"decoding this fails, so an error about pixels shows that it was not decoded"
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    with pytest.raises(ImageError, match="more than 50,000,000 pixels"):
        load(data)


def test_an_image_of_100_megapixels_is_refused() -> None:
    data = encoded(Image.new("1", (10_000, 10_000)))
    assert len(data) < 100_000
    with pytest.raises(ImageError, match="more than 50,000,000 pixels"):
        load(data)


def test_the_pixel_limit_is_inclusive() -> None:
    data = encoded(Image.new("L", (10, 10)))
    assert load(data, max_pixels=100).width == 10
    with pytest.raises(ImageError, match="more than 99 pixels"):
        load(data, max_pixels=99)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_truncated_image_is_refused_when_loaded(kind: str, part: float) -> None:
    data = encoded(noise(120, 90), kind)
    with pytest.raises(ImageError):
        load(data[: int(len(data) * part)])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"<html><img src='a.png'></html>",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='1' height='1'/>",
        b"%PDF-1.7\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n",
        b"P6 1 1 255 abc",
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_data_in_no_supported_format_are_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"supported format \(JPEG, PNG|broken"):
        load(data)


@pytest.mark.parametrize("kind", ["PPM", "TGA", "ICO", "PCX", "PDF", "EPS"])
def test_formats_outside_the_list_are_refused_even_if_pillow_supports_them(kind: str) -> None:
    with pytest.raises(ImageError, match="supported format"):
        load(encoded(Image.new("RGB", (16, 16), "red"), kind))


def test_a_decompression_bomb_in_a_png_text_chunk_is_refused() -> None:
    png = encoded(Image.new("RGB", (4, 4)))
    bomb = chunk(b"zTXt", b"comment\0\0" + zlib.compress(bytes(80_000_000), 9))
    with pytest.raises(ImageError, match="broken"):
        load(png[:33] + bomb + png[33:])


def test_warnings_of_pillow_are_suppressed() -> None:
    odd = encoded(Image.new("RGB", (8, 8)), "TIFF").replace(
        struct.pack("<HHI", 258, 3, 3), struct.pack("<HHI", 258, 3, 9**9)
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load(encoded(Image.new("1", (10_000, 9_500))), max_pixels=100_000_000)  # above the size at which Pillow warns
        with pytest.raises(ImageError):
            load(odd)
    assert caught == []


@pytest.mark.parametrize(
    "url", ["data:", "data:image/png;base64", "data:image/png;base64,@@@@", "data:;base64,QUJ", "data:,\udcff"]
)
def test_a_malformed_data_url_is_an_image_error(url: str) -> None:
    with pytest.raises(ImageError, match="data URL is malformed"):
        ImageLoader().load_sync(ImageRef(url=url))


def test_limits_must_be_positive_and_finite() -> None:
    for wrong in ({"max_bytes": 0}, {"max_pixels": -1}, {"timeout_seconds": float("inf")}, {"max_redirects": -1}):
        with pytest.raises(ValidationError):
            ImageLimits(**wrong)


SEEDS = [encoded(noise(12, 9), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")]


@given(st.binary(max_size=300), st.sampled_from([b"", *(seed[:40] for seed in SEEDS)]))
def test_random_bytes_raise_only_image_errors(data: bytes, start: bytes) -> None:
    _loads_or_is_refused(start + data)


@given(st.sampled_from(SEEDS), st.integers(0, 1 << 20), st.binary(min_size=1, max_size=6))
def test_damaged_images_raise_only_image_errors(seed: bytes, place: int, damage: bytes) -> None:
    at = place % len(seed)
    _loads_or_is_refused(seed[:at] + damage + seed[at + len(damage) :])


def _loads_or_is_refused(data: bytes) -> None:
    try:
        image = load(data, max_pixels=10_000)
    except ImageError:
        return
    assert image.rgb().size == (image.width, image.height)
