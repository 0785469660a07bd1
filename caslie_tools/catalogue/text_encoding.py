"""Detects the encoding of a text file: Unicode from its bytes, or else an encoding of one region by how words look."""

import codecs
import re
import unicodedata
from pathlib import Path
from typing import Final, NamedTuple

_CHUNK: Final = 1 << 20
_SAMPLE: Final = 1 << 16
_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, because it starts with the same two bytes
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WESTERN: Final = "cp1252"
_REGIONAL: Final = ("cp1250", "cp1251", "cp1253", "cp1254", "cp1257", "cp932", "gb18030", "big5", "euc_kr")
"""The encodings in which spreadsheets save text outside Western Europe and America."""
_MOST_DAMAGED: Final = 0.5
"""A file counts as UTF-8 up to this number of damaged characters for each intact one outside ASCII. In a file with
another encoding, hardly any character is intact by chance."""
_MOST_SYMBOLS_IN_WORDS: Final = 0.15
_MOST_FOREIGN_LETTERS: Final = 0.7
_MIN_NULLS: Final = 0.3


class TextEncoding(NamedTuple):
    """An encoding, and whether it is certain."""

    name: str
    """A name that Python knows."""
    guessed: bool = False
    """Whether the bytes allow other encodings, too."""


def detect_encoding(path: Path) -> TextEncoding:
    """Returns the encoding of a file.

    A file is UTF-8 unless many of its characters outside ASCII are damaged. A file without Unicode is taken for
    Western European, unless its words look wrong in that encoding.

    Raises:
        OSError: If the file cannot be read.
    """
    characters = damaged = 0
    lines: list[bytes] = []
    decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
    with path.open("rb") as file:
        start = file.read(_SAMPLE)
        for mark, encoding in _BYTE_ORDER_MARKS:
            if start.startswith(mark):
                return TextEncoding(encoding)
        if unmarked := _utf16_without_mark(start):
            return TextEncoding(unmarked, guessed=True)
        file.seek(0)
        while chunk := file.read(_CHUNK):
            text = decoder.decode(chunk)
            if text.isascii():
                continue
            wrong = len(re.findall("[\udc80-\udcff]", text))
            characters += len(re.findall("[^\x00-\x7f]", text)) - wrong
            damaged += wrong
            if wrong and sum(map(len, lines)) < _SAMPLE:
                lines += [line for line in chunk.splitlines() if not line.isascii()]
    if damaged <= _MOST_DAMAGED * characters:
        return TextEncoding("utf-8")
    return TextEncoding(_regional_encoding(b"\n".join(lines)[:_SAMPLE]), guessed=True)


def _utf16_without_mark(start: bytes) -> str | None:
    """Returns the encoding of text in UTF-16, in which every other byte of ASCII characters is null."""
    even, odd = start[::2], start[1::2]
    if odd and odd.count(0) > _MIN_NULLS * len(odd) and not even.count(0):
        return "utf-16-le"
    if odd and even.count(0) > _MIN_NULLS * len(even) and not odd.count(0):
        return "utf-16-be"
    return None


def _regional_encoding(sample: bytes) -> str:
    if _looks_western(sample):
        return _WESTERN
    from charset_normalizer import from_bytes  # slow to import, and rarely needed

    best = from_bytes(sample, cp_isolation=list(_REGIONAL)).best()
    return _WESTERN if best is None else best.encoding


def _looks_western(sample: bytes) -> bool:
    """Returns whether the words of a text look right in the Western European encoding.

    Texts of other regions show symbols between letters ("£y¿ka") or words without ASCII letters ("Êðóæêà").
    """
    try:
        text = sample.decode(_WESTERN)
    except UnicodeDecodeError:
        return False
    foreign = [character for character in text if not character.isascii()]
    in_words = re.findall(r"(?<=[^\W\d_])[^\x00-\x7f](?=[^\W\d_])", text)
    # Typographic quotation marks and dashes, which every region uses, are above this block.
    symbols = sum(character <= "\xff" and unicodedata.category(character)[0] in "SNP" for character in in_words)
    words = [word for word in re.findall(r"[^\W\d_]{2,}", text) if not word.isascii()]
    letters = sum(map(len, words))
    foreign_letters = sum(not character.isascii() for word in words for character in word)
    return symbols <= _MOST_SYMBOLS_IN_WORDS * len(foreign) and foreign_letters <= _MOST_FOREIGN_LETTERS * letters
