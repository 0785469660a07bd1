"""Renders Mermaid diagrams to SVG while the documentation is built, so that its pages load nothing from other hosts."""

import hashlib
from functools import cache
from typing import Any

import mermaidx

_OWN_ID = "my-svg"
"""The id that the renderer gives to every diagram, and refers to in the diagram's style sheet."""


def fence(source: str, language: str, css_class: str, options: dict[str, Any], md: Any, **_: Any) -> str:
    """Renders a fenced block for ``pymdownx.superfences``. See ``markdown_extensions`` in mkdocs.yml."""
    return f'<div class="{css_class}">{_render(source)}</div>'


@cache
def _render(source: str) -> str:
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    # A page may show several diagrams: every diagram needs an id of its own.
    return str(mermaidx.render(source).svg()).replace(_OWN_ID, f"diagram-{digest}")
