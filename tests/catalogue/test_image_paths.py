from pathlib import Path

import pytest

from caslie_tools.catalogue.format import ReadingOptions, inspect_catalogue
from caslie_tools.catalogue.image_paths import ImagePaths
from caslie_tools.catalogue.reading import BadValue, read_catalogue
from caslie_tools.domain import Product


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a catalogue, with links to a folder and a file beside it."""
    folder, outside = tmp_path / "shop", tmp_path / "shop-secrets"
    (folder / "images").mkdir(parents=True)
    outside.mkdir()
    for path in (folder / "a.png", folder / "images" / "b.png", outside / "key.png"):
        path.write_bytes(b"x")
    (folder / "linked").symlink_to(outside)
    (folder / "key.png").symlink_to(outside / "key.png")
    (folder / "same").symlink_to(folder / "images")
    (folder / "loop").symlink_to(folder / "loop")
    return folder


INSIDE = (
    "a.png", "images/b.png", "./a.png", "images/../a.png", "same/b.png", "missing.png", "missing/x.png", "a\\b.png",
)  # fmt: skip
OUTSIDE = (
    "../shop-secrets/key.png", "/etc/passwd", "images/../../shop-secrets/key.png", "linked/key.png", "key.png", "..",
    "images/../..", "linked/../shop-secrets/key.png", "/", "../shop/../shop-secrets/key.png",
)  # fmt: skip


@pytest.mark.parametrize("path", INSIDE)
def test_paths_in_the_folder_are_allowed(folder: Path, path: str) -> None:
    ImagePaths(folder, trusted=False).check(folder / path)


@pytest.mark.parametrize("path", OUTSIDE)
def test_paths_out_of_the_folder_are_not_unless_they_are_trusted(folder: Path, path: str) -> None:
    with pytest.raises(ValueError, match="leads out of the folder of the catalogue; use --trust-paths"):
        ImagePaths(folder, trusted=False).check(folder / path)
    ImagePaths(folder, trusted=True).check(folder / path)


def test_an_absolute_path_into_the_folder_and_a_loop_of_links(folder: Path) -> None:
    paths = ImagePaths(folder, trusted=False)
    paths.check(folder / "images" / "b.png")
    paths.check(folder / "loop")  # it leads nowhere; loading it fails


def test_a_folder_that_is_reached_over_a_link_is_its_own(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    ImagePaths(tmp_path / "link", trusted=False).check(tmp_path / "link" / "a.png")


@pytest.mark.parametrize("trusted", [False, True])
def test_such_an_image_is_reported_with_its_line_and_the_product_keeps_the_others(folder: Path, trusted: bool) -> None:
    (folder / "products.csv").write_text("id,title,image\nmug,Mug,a.png|/etc/passwd|https://shop.example/c.png\n")
    written = inspect_catalogue(folder / "products.csv", ReadingOptions(trust_paths=trusted))
    rows = list(read_catalogue(folder / "products.csv", written))
    (product,) = (row for row in rows if isinstance(row, Product))
    (*bad,) = (row.reason for row in rows if isinstance(row, BadValue))
    assert len(product.images) == (3 if trusted else 2)
    assert bad == ([] if trusted else [bad[0]])
    if bad:
        assert bad[0].startswith("line 2: image: '/etc/passwd' leads out of the folder of the catalogue")
