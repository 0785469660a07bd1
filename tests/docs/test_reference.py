"""The pages of the reference that are generated are up to date, and the reference is complete."""

import re

import pytest

from scripts.docstring_markup import to_markdown
from scripts.reference_pages import GENERATED_PAGES, PAGES
from tests.paths import ROOT


@pytest.mark.parametrize("name", GENERATED_PAGES)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    page = (PAGES / name).read_text(encoding="utf-8")
    assert page == GENERATED_PAGES[name](), "run `make docs`, then commit the pages"


def test_the_python_reference_has_every_public_name() -> None:
    stub = (ROOT / "caslie_tools" / "__init__.pyi").read_text(encoding="utf-8")
    public = set(re.findall(r"^from \.\S+ import \w+ as (\w+)$", stub, re.MULTILINE)) - {"__version__"}
    page = (PAGES / "python.md").read_text(encoding="utf-8")
    documented = re.findall(r"^::: caslie_tools\.(\w+)$", page, re.MULTILINE)
    assert len(documented) == len(set(documented))
    assert set(documented) == public


class TestDocstringMarkup:
    def test_a_reference_becomes_a_link_that_may_be_absent(self) -> None:
        link = '<autoref identifier="caslie_tools.Caslie" optional><code>Caslie</code></autoref>'
        assert to_markdown("See :class:`~caslie_tools.Caslie`.") == f"See {link}."
        assert "<code>caslie_tools.Caslie</code>" in to_markdown(":class:`caslie_tools.Caslie`")

    def test_the_mark_before_an_indented_block_disappears(self) -> None:
        assert to_markdown("Use it so::\n\n    ask()") == "Use it so:\n\n    ask()"
        assert to_markdown("Usage.\n\n::\n\n    ask()") == "Usage.\n\n\n\n    ask()"
