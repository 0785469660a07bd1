"""The short phrases of a text, for comparing a name inside a longer text."""

import re
from typing import Final

_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_MAX_WORDS: Final = 24
_MAX_LENGTH: Final = 3


def phrases_in(text: str) -> list[str]:
    """Returns all sequences of one to three words among the first 24 words of a text, in lowercase, each once."""
    words = _WORD.findall(text.lower())[:_MAX_WORDS]
    phrases = (
        " ".join(words[start : start + length])
        for length in range(1, _MAX_LENGTH + 1)
        for start in range(len(words) - length + 1)
    )
    return list(dict.fromkeys(phrases))
