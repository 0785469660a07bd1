"""Text from products, files and models, safe to display or to pass to a model; and suggestions for wrong names."""

import json
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

# Characters with a meaning in Markdown, in HTML inside Markdown, or for readers that turn plain addresses into links.
# An underscore inside a word has no meaning there.
_MARKS = re.compile(r"[\\`*\[\]<>#|~&$]|(?<!\w)_|_(?!\w)|(?<=:)//|(?<=www)\.")

_INVISIBLE: Final = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
# Outside a string, a bracket of JSON is followed by a quote, a bracket, a number or one of the three words.
_MARK_OF_A_TOKENIZER: Final = re.compile(r"<|\[(?!(?:true|false|null|NaN|Infinity)\])(?=/?[A-Za-z_][A-Za-z0-9_ ]*\])")
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


def escape_invisible(text: str) -> str:
    """Returns JSON text in which characters that a terminal or a model would obey unseen are written as escapes.

    These are control characters (C1), line separators, and characters that change the direction or hide text.
    """
    return _INVISIBLE.sub(_as_json_escape, text)


def data_json(value: object) -> str:
    """Returns a value as JSON that a model can take for nothing but data.

    Inside strings, every ``<`` is an escape, and so is the bracket of a mark such as ``[INST]`` or ``[TOOL_CALLS]``:
    tokenizers treat such marks as special in any text. Invisible characters are escapes, too. A JSON parser returns the
    value unchanged.
    """
    return _MARK_OF_A_TOKENIZER.sub(_as_json_escape, escape_invisible(json.dumps(value, ensure_ascii=False)))


def instruction_line(text: str) -> str:
    """Returns an instruction as one line outside of JSON, without invisible characters and without marks of tokenizers.

    A data set brings its own instructions. They must not add a heading or a turn to a prompt.
    """
    line = " ".join(_INVISIBLE.sub("", text).split())
    return _MARK_OF_A_TOKENIZER.sub(lambda mark: "(" if mark[0] == "[" else "\u2039", line)


def _as_json_escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))


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
