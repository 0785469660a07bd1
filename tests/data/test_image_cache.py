import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from caslie_tools.data.image_cache import FetchReport, ImageCache, fetch_images, image_urls
from caslie_tools.domain import ImageRef
from caslie_tools.exceptions import DataError
from caslie_tools.images.loading import ImageLimits, ImageLoader
from tests.data.raw_records import URL, raw, read, write_lines
from tests.doubles import draw_picture
from tests.shop import PictureServer, picture_server
from tests.time_limits import HANG_SECONDS

LOADER = ImageLoader(ImageLimits(allow_private_addresses=True, max_bytes=50_000, timeout_seconds=HANG_SECONDS))


@pytest.fixture
def server() -> Iterator[PictureServer]:
    with picture_server() as server:
        for number in range(12):
            server.pictures[f"/{number}.png"] = draw_picture(f"LABEL {number}")
        server.pictures["/same.png"] = server.pictures["/0.png"]
        server.pictures["/photo.jpg"] = draw_picture("PHOTO", "red", kind="JPEG")
        server.pictures["/text.png"] = b"no picture"
        server.pictures["/large.png"] = b"\x89PNG" + b"x" * 60_000
        yield server


async def fetch(server: PictureServer, folder: Path, *paths: str, **options: Any) -> FetchReport:
    urls = [server.url(path) if path.startswith("/") else path for path in paths]
    return await fetch_images(urls, folder, loader=LOADER, **options)


def index_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]


async def test_each_image_is_fetched_once_and_named_by_its_hash(server: PictureServer, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "pictures"
    report = await fetch(server, folder, "/0.png", "/1.png", "/0.png", "/photo.jpg", "/same.png")
    assert report == FetchReport(urls=4, known=0, fetched=4, failed=())
    assert sorted(server.requests) == ["/0.png", "/1.png", "/photo.jpg", "/same.png"]
    files = {str(path.relative_to(folder)) for path in folder.rglob("*.*") if path.name != "index.jsonl"}
    for path, extension in (("/0.png", "png"), ("/1.png", "png"), ("/photo.jpg", "jpg")):
        sha256 = hashlib.sha256(server.pictures[path]).hexdigest()
        file = f"{sha256[:2]}/{sha256}.{extension}"
        files.remove(file)
        assert (folder / file).read_bytes() == server.pictures[path]
        assert ImageCache.open(folder).resolve(ImageRef(url=server.url(path))) == ImageRef(path=folder / file)
    assert files == set()
    assert {entry["url"] for entry in index_of(folder)} == {server.url(path) for path in set(server.requests)}


async def test_settled_urls_are_not_fetched_again(server: PictureServer, tmp_path: Path) -> None:
    paths = ["/0.png", "/1.png", "/dead.png", "/text.png", "/large.png"]
    first = await fetch(server, tmp_path, *paths)
    assert (first.fetched, len(first.failed)) == (2, 3)
    asked = len(server.requests)
    again = await fetch(server, tmp_path, *paths, "/2.png")
    assert again == FetchReport(urls=6, known=5, fetched=1, failed=())
    assert server.requests[asked:] == ["/2.png"]


async def test_dead_urls_are_recorded_and_resolve_to_none(server: PictureServer, tmp_path: Path) -> None:
    inner = "http://169.254.169.254/latest?token=secret"
    report = await fetch(server, tmp_path, "/dead.png", "/text.png", "/large.png")
    reasons = {failure.url.rpartition("/")[2]: failure.error for failure in report.failed}
    assert "status 404" in reasons["dead.png"]
    assert "not an image in a supported format" in reasons["text.png"]
    assert "larger than 50,000 bytes" in reasons["large.png"]
    refused = await fetch_images([inner], tmp_path)  # the default loader allows no private addresses
    assert "not on the public internet" in refused.failed[0].error
    assert "secret" not in repr(refused)
    pictures = ImageCache.open(tmp_path)
    for url in (*(server.url(path) for path in ("/dead.png", "/text.png", "/large.png")), inner):
        assert pictures.resolve(ImageRef(url=url)) is None
    assert all(entry["error"] and entry["when"] for entry in index_of(tmp_path))


async def test_dead_urls_are_tried_again_on_request(server: PictureServer, tmp_path: Path) -> None:
    await fetch(server, tmp_path, "/late.png", "/dead.png")
    server.pictures["/late.png"] = draw_picture("LATE")
    assert (await fetch(server, tmp_path, "/late.png", "/dead.png")).known == 2
    report = await fetch(server, tmp_path, "/late.png", "/dead.png", retry_dead=True)
    assert (report.fetched, [failure.url for failure in report.failed]) == (1, ["http://127.0.0.1/dead.png"])
    pictures = ImageCache.open(tmp_path)
    late, dead = (pictures.resolve(ImageRef(url=server.url(path))) for path in ("/late.png", "/dead.png"))
    assert late is not None
    assert late.path is not None
    assert late.path.is_file()
    assert dead is None


async def test_a_temporary_failure_is_tried_again_by_the_next_run(server: PictureServer, tmp_path: Path) -> None:
    with picture_server() as stopped:
        url = stopped.url("/0.png")
    for _ in range(2):
        report = await fetch(server, tmp_path, url)
        assert [failure.passing for failure in report.failed] == [True]
    assert ImageCache.open(tmp_path).resolve(ImageRef(url=url)) == ImageRef(url=url)
    assert len(index_of(tmp_path)) == 2


async def test_an_image_whose_file_was_deleted_is_fetched_again(server: PictureServer, tmp_path: Path) -> None:
    await fetch(server, tmp_path, "/0.png")
    there = ImageCache.open(tmp_path).resolve(ImageRef(url=server.url("/0.png")))
    assert there is not None
    assert there.path is not None
    there.path.unlink()
    assert ImageCache.open(tmp_path).resolve(ImageRef(url=server.url("/0.png"))) == ImageRef(url=server.url("/0.png"))
    assert (await fetch(server, tmp_path, "/0.png")).fetched == 1
    assert ImageCache.open(tmp_path).is_settled(server.url("/0.png"))


async def test_an_incomplete_last_line_of_the_index_is_ignored(server: PictureServer, tmp_path: Path) -> None:
    await fetch(server, tmp_path, "/0.png", "/1.png", parallel=1)
    index = tmp_path / "index.jsonl"
    index.write_bytes(index.read_bytes()[:-10])
    torn = ImageCache.open(tmp_path)
    assert [torn.is_settled(server.url(path)) for path in ("/0.png", "/1.png")] == [True, False]
    assert (await fetch(server, tmp_path, "/0.png", "/1.png", "/2.png")).fetched == 2
    pictures = ImageCache.open(tmp_path)
    assert all(pictures.is_settled(server.url(f"/{number}.png")) for number in range(3))


@pytest.mark.parametrize(
    "line",
    ["[1]", "5", '{"url": 1}', "\udcff", "[" * 100_000, '{"url": "%s", "file": "../../etc/passwd"}',
     '{"url": "%s", "file": "/etc/passwd"}', '{"url": "%s", "file": "00/../../x.png"}', '{"url": "%s", "file": 7}',
     '{"url": "%s", "file": "11/' + "0" * 64 + '.png"}'],
)  # fmt: skip
async def test_a_foreign_index_cannot_name_other_files(tmp_path: Path, line: str) -> None:
    (tmp_path / "index.jsonl").write_bytes(line.replace("%s", URL).encode("utf-8", "surrogateescape"))
    pictures = ImageCache.open(tmp_path)
    assert pictures.resolve(ImageRef(url=URL)) == ImageRef(url=URL)
    assert not pictures.is_settled(URL, retry_dead=True)


async def test_progress_is_reported_after_the_index_is_written(server: PictureServer, tmp_path: Path) -> None:
    reported: list[tuple[str, str, int, int]] = []

    def progress(*step: Any) -> None:
        reported.append(step)
        assert len(index_of(tmp_path)) >= len(reported)

    await fetch(server, tmp_path, *(f"/{number}.png" for number in range(12)), "/dead.png", progress=progress)
    assert [done for _, _, done, _ in reported] == list(range(1, 14))
    assert {(step, total) for step, _, _, total in reported} == {("fetching", 13)}


async def test_local_files_are_returned_unchanged(server: PictureServer, tmp_path: Path) -> None:
    await fetch(server, tmp_path, "/0.png")
    local = ImageRef(path=tmp_path / "local.png")
    assert ImageCache.open(tmp_path).resolve(local) == local


def test_urls_are_unique_and_in_order(tmp_path: Path) -> None:
    rows = [
        raw("product_relation_prediction", images=[URL, None]),
        "{",
        raw("product_relation_prediction", images=["data:,x", "HTTP://shop.example/b.jpg"]),
        raw(images=["c.png"]),
        raw(images=[URL]),
    ]
    good, bad = read(write_lines(tmp_path / "a.jsonl", *rows))
    assert image_urls([*good, *bad]) == [URL, "HTTP://shop.example/b.jpg"]


async def test_a_folder_that_cannot_be_used_is_an_error(server: PictureServer, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no fetched images; fetch them with caslie data fetch-images"):
        ImageCache.open(tmp_path)
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataError, match="cannot be"):
            await fetch(server, folder, "/0.png")
