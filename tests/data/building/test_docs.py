"""Runs the commands and the code of docs/building-data.md."""

from pathlib import Path

import pytest

from tests.data.building.sample_shop import write_sample_shop
from tests.docs.examples import run_page
from tests.paths import ROOT


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sample_shop(tmp_path, products=12)
    monkeypatch.setenv("CASLIE_PROFILE", "tests.doubles:light_profile")
    monkeypatch.chdir(tmp_path)
    document = run_page(ROOT / "docs" / "building-data.md", {})
    assert document.namespace["report"].instances
