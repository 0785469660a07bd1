"""The tokeniser of BERT models without capital letters (Devlin et al., 2019): from a text to the numbers of its pieces.

The package ``tokenizers`` computes the same, but takes 40 MB with the packages that it requires.
"""

import re
import string
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

_SPECIAL: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_MAX_LETTERS: Final = 100
"""A longer word is unknown."""
_IDEOGRAPHS: Final = re.compile(
    "([\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f\U0002b920-\U0002ceaf"
    "\uf900-\ufaff\U0002f800-\U0002fa1f])"
)
"""Each of them is a word."""


class WordPieces:
    """Splits texts into the pieces of a vocabulary.

    Args:
        vocabulary: A file with one piece per line. The number of a piece is the number of its line.
        limit: Maximum number of pieces of a text, with the pieces that mark its start and its end.
    """

    def __init__(self, vocabulary: Path, *, limit: int) -> None:
        lines = vocabulary.read_text(encoding="utf-8").split("\n")
        self._numbers = {piece: number for number, piece in enumerate(lines)}
        self._limit = limit
        self._special = re.compile("(" + "|".join(map(re.escape, _SPECIAL)) + ")")
        self._pieces_of = lru_cache(maxsize=16384)(self._split)

    def encode(self, text: str) -> list[int]:
        """Returns the numbers of the pieces of a text, between those of ``[CLS]`` and ``[SEP]``."""
        numbers: list[int] = []
        for word in self._words(text):
            numbers += self._pieces_of(word)
            if len(numbers) >= self._limit:
                break
        return [self._numbers["[CLS]"], *numbers[: self._limit - 2], self._numbers["[SEP]"]]

    def _words(self, text: str) -> Iterator[str]:
        for part in self._special.split(text):
            if part in _SPECIAL:
                yield part
            else:
                yield from _words(part)

    def _split(self, word: str) -> tuple[int, ...]:
        """Returns the numbers of the longest pieces that a word consists of, from its start to its end."""
        if word in _SPECIAL:
            return (self._numbers[word],)
        numbers = []
        start = 0
        while start < len(word) <= _MAX_LETTERS:
            for end in range(len(word), start, -1):
                number = self._numbers.get(("##" if start else "") + word[start:end])
                if number is not None:
                    break
            else:
                return (self._numbers["[UNK]"],)
            numbers.append(number)
            start = end
        return tuple(numbers) or (self._numbers["[UNK]"],)


def _words(text: str) -> Iterator[str]:
    """Returns the words and punctuation marks of a text, in lower case and without accents."""
    plain = _IDEOGRAPHS.sub(r" \1 ", "".join(map(_cleaned, text)))
    letters = (letter for letter in unicodedata.normalize("NFD", plain) if unicodedata.category(letter) != "Mn")
    # Letter by letter, because the lower case of a letter must not depend on its neighbours.
    spaced = "".join(f" {letter} " if _is_mark(letter) else letter.lower() for letter in letters)
    yield from spaced.split()


@lru_cache(maxsize=4096)
def _cleaned(letter: str) -> str:
    """Returns a space for white space, and nothing for a control character."""
    if letter in "\t\n\r":
        return " "
    if letter == "\ufffd" or unicodedata.category(letter) in {"Cc", "Cf", "Co", "Cs"}:
        return ""
    return " " if letter.isspace() else letter


@lru_cache(maxsize=4096)
def _is_mark(letter: str) -> bool:
    return letter in string.punctuation or unicodedata.category(letter)[0] == "P"
