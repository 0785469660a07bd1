"""Writes Markdown tables from texts of shops and models."""

from collections.abc import Iterable, Sequence

from caslie_tools._text import escape_markdown


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a table. The cells are escaped, so that they cannot end a cell or start markup."""
    lines = [columns, ["---"] * len(columns), *([escape_markdown(str(cell)) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
