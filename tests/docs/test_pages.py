"""The code of every page runs as it stands there. Pages with a test of their own are listed in ELSEWHERE."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from PIL import Image

from caslie_tools import Caslie
from caslie_tools.sample import catalogue_path
from tests.docs.examples import run_page, users_models
from tests.paths import ROOT
from tests.time_limits import PATIENT

DOCS = ROOT / "docs"
ELSEWHERE = {
    "building-data.md",  # tests/data/building/test_docs.py
    "adding-a-task.md",  # tests/tasks/test_adding_a_task.py
}
EMBEDDED = ("catalogue-and-store.md", "getting-started.md", "own-models.md")
"""The pages that show answers of the embedded models. The others run on models that cost nothing."""
TROUBLESHOOTING = "troubleshooting.md"
LIGHT = sorted({page.name for page in DOCS.glob("*.md")} - {*ELSEWHERE, *EMBEDDED, TROUBLESHOOTING})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder: a catalogue with its pictures, and the examples of the repository."""
    for name in [name for name in os.environ if name.startswith("CASLIE_")]:
        monkeypatch.delenv(name)
    for name, value in PATIENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    shutil.copy(catalogue_path(), tmp_path / "products.csv")
    shutil.copytree(catalogue_path().with_name("images"), tmp_path / "images")
    export = "SKU;Name;Cost;Farbe\nbowl;Schüssel;12,90 €;rot\n"
    (tmp_path / "export.csv").write_text(export, encoding="cp1252")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return tmp_path


@pytest.fixture
def broken_folder(light_shop: Path) -> Path:
    """The user's folder with the faulty files of the page on troubleshooting."""
    files = {
        "sku.csv": "sku,title\n1,Mug\n",
        "rows.csv": "id,title,price\nm1,Mug,9.50\nm2,Cup,on request\nm1,Mug,1\nm3,Red, round,1\n",
        "pictures.csv": "id,image\na,images/gone.png\nb,images/text.png\nc,images/cut.png\nd,images/large.png\n"
        "e,http://127.0.0.1/a.png\n",
        "images/text.png": "not an image",
    }
    for name, text in files.items():
        (light_shop / name).write_text(text, encoding="utf-8")
    images = light_shop / "images"
    (images / "cut.png").write_bytes((images / "kelp-bottle.png").read_bytes()[:100])
    Image.new("1", (9000, 6000)).save(images / "large.png")
    shutil.copytree(light_shop / "shop", light_shop / "old-shop")
    with closing(sqlite3.connect(light_shop / "old-shop" / "store.sqlite")) as database:
        database.execute("PRAGMA user_version = 0")
    (light_shop / "damaged-shop").mkdir()
    (light_shop / "damaged-shop" / "store.sqlite").write_text("not a database, " * 100, encoding="utf-8")
    return light_shop


@pytest.fixture
def shop(folder: Path, sample_demo: tuple[Path, Any]) -> Path:
    """The user's folder with the store of the demo, to save the time of indexing."""
    shutil.copytree(sample_demo[0], folder / "shop")
    return folder


@pytest.fixture(scope="module")
def light_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample catalogue, indexed with models that cost nothing. Do not write to it: copy it."""
    store = tmp_path_factory.mktemp("light") / "store"
    with Caslie.open(store, profile="tests.doubles:light_profile") as caslie:
        caslie.index(catalogue_path())
    return store


@pytest.fixture
def light_shop(folder: Path, light_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(light_store, folder / "shop")
    monkeypatch.setenv("CASLIE_PROFILE", "tests.doubles:light_profile")
    return folder


def test_the_code_of_the_readme_runs(shop: Path) -> None:
    names = run_page(ROOT / "README.md", {**users_models(), "my_tools": []}).namespace
    assert names["response"].answer == 'Yes. Trail headlamp: "WATERPROOF IP67".'
    (called,) = (message for message in names["state"]["messages"] if isinstance(message, ToolMessage))
    assert called.status == "success"
    assert "kelp-bottle" in called.content


@pytest.mark.parametrize("page", EMBEDDED)
def test_the_code_of_a_page_on_the_embedded_models_runs(shop: Path, page: str) -> None:
    run_page(DOCS / page, users_models())


@pytest.mark.parametrize("page", LIGHT)
def test_the_code_of_a_page_runs(light_shop: Path, page: str) -> None:
    run_page(DOCS / page, users_models())


def test_the_messages_on_the_page_on_troubleshooting_are_the_real_ones(broken_folder: Path) -> None:
    run_page(DOCS / TROUBLESHOOTING, users_models())
