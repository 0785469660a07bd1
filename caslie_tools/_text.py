"""Text for people: text from products, files and models that is safe to display, and suggestions for wrong names."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
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


def did_you_mean(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Returns the end of a message about an unknown name: the most similar known name as a question, or nothing.

    Args:
        name: The unknown name, without the prefix.
        known: The known names, without the prefix.
        prefix: What all names start with. It does not count as similarity.
    """
    by_folded = {candidate.casefold(): candidate for candidate in known}
    nearest = get_close_matches(name.casefold(), by_folded, n=1)
    return f"; did you mean {prefix + by_folded[nearest[0]]!a}?" if nearest else ""
