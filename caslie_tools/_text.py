"""Makes text from products, files and models safe to display."""

import re
from typing import Final

# Characters with a meaning in Markdown, in HTML inside Markdown, or for readers that turn plain addresses into links.
# An underscore inside a word has no meaning there.
_MARKS = re.compile(r"[\\`*\[\]<>#|~&$]|(?<!\w)_|_(?!\w)|(?<=:)//|(?<=www)\.")

_MAX_CHARACTERS: Final = 160


def shortened(text: str, longest: int = _MAX_CHARACTERS) -> str:
    """Returns a text on one line, cut to at most ``longest`` characters."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def escape_markdown(text: str, longest: int = 1000) -> str:
    """Returns a text as Markdown that displays it unchanged, on one line, also inside a table cell.

    Args:
        text: Any text.
        longest: Maximum number of characters that are shown.
    """
    return _MARKS.sub(r"\\\g<0>", shortened(text, longest))
