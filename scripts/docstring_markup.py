"""A Griffe extension that turns the markup of our docstrings into Markdown for the API reference.

The docstrings use three forms of reStructuredText: cross-references such as ``:class:`~caslie_tools.Caslie```,
``code`` in double backquotes, and ``::`` before an indented block.
"""

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):`(?P<short>~?)(?P<target>[\w.]+)`")
_LITERAL_BLOCK = re.compile(r"^(?P<text>.*?)(?P<space> ?)::$", re.MULTILINE)


class DocstringMarkup(griffe.Extension):
    """Rewrites every docstring when it is loaded."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrites the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)


def to_markdown(docstring: str) -> str:
    """Returns a docstring with its reStructuredText markup as Markdown.

    A cross-reference becomes a link where the reference has its target, and plain code elsewhere.
    """
    text = _ROLE.sub(_link, docstring)
    return _LITERAL_BLOCK.sub(_introduction, text)


def _link(match: re.Match[str]) -> str:
    target = match["target"]
    shown = target.rsplit(".", 1)[-1] if match["short"] else target
    return f'<autoref identifier="{target}" optional><code>{shown}</code></autoref>'


def _introduction(match: re.Match[str]) -> str:
    return f"{match['text']}:" if match["text"].strip() else ""
