"""Runs the commands and the code of docs/building-data.md."""

from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

from tests.data.building.sample_shop import write_sample_shop
from tests.docs.examples import run_commands
from tests.paths import ROOT

PAGE = ROOT / "docs" / "building-data.md"


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write_sample_shop(tmp_path, products=12)
    monkeypatch.setenv("CASLIE_PROFILE", "tests.doubles:light_profile")
    monkeypatch.chdir(tmp_path)
    document = Sybil([PythonCodeBlockParser(), CodeBlockParser("sh", run_commands)]).parse(PAGE)
    examples = list(document.examples())
    assert len(examples) == 2
    for example in examples:
        example.evaluate()
    assert "guarantees about the splits hold" in capsys.readouterr().out
    assert document.namespace["report"].instances
