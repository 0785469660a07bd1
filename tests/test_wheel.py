import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.paths import ROOT

_IMPORT = """
import sys
sys.path.insert(0, sys.argv[1])
import caslie_tools.cli, caslie_tools.graphs.graph
from caslie_tools.catalogue.reading import read_catalogue
from caslie_tools.sample import catalogue_path
for module in (caslie_tools, caslie_tools.graphs):
    assert module.__file__.startswith(sys.argv[1]), module.__file__
products = list(read_catalogue(catalogue_path()))
assert len(products) > 30
assert all(image.path.is_file() for product in products for image in product.images)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    pytest.importorskip("hatchling", reason="builds the wheel with it")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder], check=True, cwd=ROOT
    )
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_only_our_package_lands_on_the_import_path(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"caslie_tools"}


def test_all_of_the_package_is_in_it_once(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert len(names) == len(set(names))
    sources = {
        str(path.relative_to(ROOT))
        for pattern in (
            "*.py",
            "py.typed",
            "sample/*.csv",
            "sample/images/*.png",
            "profiles/*.toml",
            "*.pyi",
            "backends/embedded/onnx/*.onnx",
            "evaluation/templates/*.jinja",
        )
        for path in (ROOT / "caslie_tools").rglob(pattern)
    } | {f"caslie_tools/graphs/{path.name}" for path in (ROOT / "graphs").glob("*.py")}
    assert {name for name in names if name.startswith("caslie_tools/")} == sources


def test_it_works_where_it_is_unpacked(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    site = tmp_path / "site"
    wheel.extractall(site)
    subprocess.run([sys.executable, "-P", "-c", _IMPORT, site], check=True, cwd=tmp_path)


def test_it_brings_the_command(wheel: zipfile.ZipFile) -> None:
    (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "caslie = caslie_tools.cli:main" in wheel.read(entry_points).decode()
