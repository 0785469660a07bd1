"""The pages for contributors agree with the code: its layers, and the files that they name."""

import re
import tomllib

import pytest

from tests.paths import ROOT

ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
BUILT = {"site/"}
"""Folders that only a build creates."""
_LAYER = re.compile(r'^    "(?P<names>[^"]+)", *# (?P<comment>.+)$', re.MULTILINE)


def _unmarked(cell: str) -> str:
    return cell.replace("&#124;", "|").replace("`", "").strip()


def test_the_layers_are_those_that_the_import_linter_enforces() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    contract = tomllib.loads(text)["tool"]["importlinter"]["contracts"][0]
    listed = text[text.index("\nlayers = [") :]
    enforced = [(names, comment.replace("`", "")) for names, comment in _LAYER.findall(listed)]
    assert [names for names, _ in enforced] == contract["layers"], "every layer has a comment on its line"
    table = ARCHITECTURE.split("| layer | contents |\n|---|---|\n")[1].split("\n\n")[0]
    shown = [tuple(map(_unmarked, row.strip("|").split(" | "))) for row in table.splitlines()]
    assert shown == enforced


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([\w/]+(?:\.py|/))`", ARCHITECTURE + CONTRIBUTING)) - BUILT))
def test_a_named_file_exists(path: str) -> None:
    assert "NAME" in path or (ROOT / "caslie_tools" / path).exists() or (ROOT / path).exists()
