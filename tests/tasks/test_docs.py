"""The code and the commands of docs/adding-a-task.md run as they are printed there."""

import json
import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser
from sybil.typing import Parser

from caslie_tools.exceptions import UnknownTaskError
from caslie_tools.tasks import unregister_task
from tests.cli.commands import finish, start
from tests.doubles import draw_picture
from tests.paths import ROOT

PAGE = ROOT / "docs" / "adding-a-task.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the images that the page names, the light models, and an end to the page's registration."""
    monkeypatch.setenv("CASLIE_PROFILE", "tests.doubles:light_profile")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    for name, degrees in (("shirt-care.png", 20), ("jacket-care.png", 30)):
        (tmp_path / name).write_bytes(draw_picture(f"WASHING {degrees} DEGREES"))
    instance = {"input": {"title": "Merino shirt"}, "images": ["shirt-care.png"]}
    (tmp_path / "shirt.json").write_text(json.dumps(instance), encoding="utf-8")
    yield tmp_path
    with suppress(UnknownTaskError):
        unregister_task("care_label")


def test_its_code_and_its_commands_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed: list[str] = []

    def write_records(example: Example) -> None:
        (folder / "care.jsonl").write_text(example.parsed, encoding="utf-8")

    def run_commands(example: Example) -> None:
        path = os.pathsep.join((str(ROOT), str(folder)))
        for line in example.parsed.splitlines():
            ended = finish(start(*shlex.split(line)[1:], environment={"PYTHONPATH": path}))
            assert ended.code == 0, (line, ended)
            printed.append(ended.out)

    parsers: list[Parser] = [
        PythonCodeBlockParser(),
        CodeBlockParser("json", write_records),
        CodeBlockParser("sh", run_commands),
    ]
    document = Sybil(parsers).parse(PAGE)
    definition, use, *others = document.examples()
    (folder / "care_label.py").write_text(definition.parsed.text, encoding="utf-8")
    for example in (definition, use):
        example.evaluate()
    answer, fused, description = capsys.readouterr().out.splitlines()
    assert answer == "A: 20 degrees"
    assert "WASHING 20 DEGREES" in json.loads(fused)["information on the care label"]
    assert "care_label" in description
    for example in others:
        example.evaluate()
    checked, evaluated, predicted = printed
    assert "A 1, B 1, C 1" in checked
    assert "care_label" in evaluated
    assert "kept" in predicted
