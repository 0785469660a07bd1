import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.time_limits import PATIENT

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


def test_the_first_session_of_the_readme_works_as_printed(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """In an empty folder, in processes that see the wheel and what it requires, and nothing of the checkout."""
    pytest.importorskip("onnxruntime", reason="the session uses the embedded models")
    site, folder = tmp_path / "site", tmp_path / "folder"
    wheel.extractall(site)
    folder.mkdir()
    sample = site / "caslie_tools" / "sample"
    shutil.copy(sample / "products.csv", folder)
    shutil.copytree(sample / "images", folder / "images")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```text\n(.*?)```", readme, re.DOTALL)
    width = max(map(len, shown.splitlines()))
    printed: dict[str, str] = {}
    for line in [line for block in re.findall(r"```sh\n(.*?)```", readme, re.DOTALL) for line in block.splitlines()]:
        words = shlex.split(line, comments=True)
        if words[:1] != ["caslie"] or words[1] in {"data", "eval"}:  # a later section, which needs logs of a shop
            continue
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CASLIE_")}
        environment |= PATIENT | {"PYTHONPATH": str(site), "PYTHONIOENCODING": "utf-8", "COLUMNS": str(width)}
        command = [sys.executable, "-P", "-c", "from caslie_tools.cli import main; main()", *words[1:]]
        ended = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
        )
        assert ended.returncode == 0, (line, ended)
        printed[words[1]] = ended.stdout
    assert list(printed) == ["demo", "index", "search", "ask"]
    for line in shown.splitlines():
        assert line in printed["demo"]
    assert "rain" in printed["search"].lower()
    assert "750 ml" in printed["ask"]
