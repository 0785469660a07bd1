"""Parses labels from a model's answer.

Parsing is strict: an ambiguous answer gives ``None``. The reference implementation takes the first letters of any
answer, so that ``not helpful`` becomes a class of its own.
"""

import re
from collections.abc import Sequence
from typing import Literal

# _BEFORE allows "**", "Answer:" and "The correct option is". _AFTER allows the end of the text or punctuation, but not
# the rest of a word ("I'm") or a second answer ("yes/no", "A, B").
_BEFORE = r"^[\W_]*(?i:(?:the\s+)?(?:correct\s+|final\s+)?(?:answer|option)(?:\s+is)?(?![^\W_])[\W_]*)?"
_AFTER = r"(?=$|\s*[^\w\s]|\s*\n)(?!['\u2019/&-]\w)"

_YES_NO = re.compile(_BEFORE + r"(yes|no)" + _AFTER + r"(?!\W*(?!\1\b)(?:yes|no)\b)", re.IGNORECASE)
_LETTER = re.compile(_BEFORE + r"([A-Z])" + _AFTER + r"(?!\s*[,;/&]\W*[A-Z]\b)")
_LONE_LETTER = re.compile(r"^[\W_]*([A-Za-z])[\W_]*$")
_OPTION_LABEL = re.compile(r"^\s*([A-Z])\s*[:.)]\s*")


def parse_yes_no(answer: str) -> Literal["yes", "no"] | None:
    """Returns ``yes`` or ``no`` if the answer is clearly one of them, else ``None``."""
    match = _YES_NO.match(answer.strip())
    if match is None:
        return None
    return "yes" if match[1].lower() == "yes" else "no"


def option_label(option: str) -> str | None:
    """Returns the letter of an option such as ``B: Kettles``, or ``None`` if the option has no letter."""
    match = _OPTION_LABEL.match(option)
    return match[1] if match else None


def option_text(option: str) -> str:
    """Returns an option without its letter."""
    return _OPTION_LABEL.sub("", option)


def parse_label(answer: str, options: Sequence[str]) -> str | None:
    """Returns the letter of the option that the answer names, by its letter or its text, else ``None``."""
    labels = {label: _plain(option_text(option)) for option in options if (label := option_label(option))}
    match = _LONE_LETTER.match(answer) or _LETTER.match(answer)
    if match and match[1].upper() in labels:
        return match[1].upper()
    by_text = [label for label, text in labels.items() if text and text == _plain(answer)]
    return by_text[0] if len(by_text) == 1 else None


def _plain(text: str) -> str:
    return text.strip().rstrip(".").casefold()
