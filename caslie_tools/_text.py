"""Text that others wrote, made safe to show."""

import re
from typing import Final

# What Markdown, the HTML inside of it, or a reader that makes links of bare addresses could take for its own. Inside of
# a word an underscore is none of that.
_MARKS = re.compile(r"[\\`*\[\]<>#|~&$]|(?<!\w)_|_(?!\w)|(?<=:)//|(?<=www)\.")

_LONGEST: Final = 160


def shortened(text: str, longest: int = _LONGEST) -> str:
    """Returns a text on one line and no longer than told."""
    line = " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def escape_markdown(text: str, longest: int = 1000) -> str:
    """Returns a text from elsewhere as Markdown that shows it as it is, on one line and in its cell.

    Args:
        text: Whatever it holds.
        longest: Characters of it that are shown.
    """
    return _MARKS.sub(r"\\\g<0>", shortened(text, longest))
