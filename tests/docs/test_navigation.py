import re

from tests.paths import ROOT


def test_every_page_is_in_the_navigation_once() -> None:
    configuration = (ROOT / "mkdocs.yml").read_text("utf-8")
    listed = re.findall(r"^ +- [^:]+: (\S+\.md)$", configuration, re.MULTILINE)
    pages = (ROOT / "docs").rglob("*.md")
    assert sorted(listed) == sorted(page.relative_to(ROOT / "docs").as_posix() for page in pages)
