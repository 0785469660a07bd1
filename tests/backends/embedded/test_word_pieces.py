import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caslie_tools.backends.embedded.sentence_embeddings import PACKAGE
from caslie_tools.backends.embedded.word_pieces import WordPieces

LETTERS = st.characters(exclude_categories=["Cs"]).filter(
    # The Unicode of `tokenizers` is older than Python's: they disagree on marks that were added since.
    lambda letter: unicodedata.ucd_3_2_0.category(letter) != "Cn"
)
WORDS = st.sampled_from(
    ["waterproof", "400 LUMEN", "[SEP]", "[MASK", "Crème", "ΟΔΟΣ", "東京", "x" * 101, "e\u0301", "İ"]
)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "rain", "##coat", "##s", "!", "creme", "東", "a"]
    file.write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", []),
        ("Raincoats!", [5, 6, 7, 8]),
        ("crème a", [9, 11]),
        ("a東a", [11, 10, 11]),
        ("rain\x00coat\u200b \t coats", [5, 6, 1]),
        ("a [MASK]!", [11, 4, 8]),
        ("a" * 101, [1]),
    ],
)
def test_a_text_is_split_into_the_longest_pieces(vocabulary: Path, text: str, numbers: list[int]) -> None:
    assert WordPieces(vocabulary, limit=256).encode(text) == [2, *numbers, 3]


def test_a_long_text_is_cut(vocabulary: Path) -> None:
    assert WordPieces(vocabulary, limit=5).encode("a " * 100) == [2, 11, 11, 11, 3]


@pytest.fixture(scope="module")
def tokenizers() -> tuple[WordPieces, Any]:
    tokenizers = pytest.importorskip("tokenizers", reason="the comparison needs the package tokenizers")
    if (folder := PACKAGE.installed()) is None:
        pytest.skip(f"the comparison needs the package {PACKAGE.requirement}")
    theirs = tokenizers.Tokenizer.from_file(str(folder / "model" / "tokenizer.json"))
    theirs.enable_truncation(256)
    theirs.no_padding()
    return WordPieces(folder / "model" / "vocab.txt", limit=256), theirs


@given(text=st.lists(st.one_of(st.text(LETTERS), WORDS), max_size=8).map("".join))
def test_the_pieces_are_those_of_the_package_tokenizers(tokenizers: tuple[WordPieces, Any], text: str) -> None:
    ours, theirs = tokenizers

    assert ours.encode(text) == theirs.encode(text).ids


def test_the_pieces_of_a_long_text_are_those_of_the_package_tokenizers(tokenizers: tuple[WordPieces, Any]) -> None:
    ours, theirs = tokenizers
    text = "A waterproof (IP67) headlamp, 400 lumen. " * 200

    assert ours.encode(text) == theirs.encode(text).ids
    assert len(ours.encode(text)) == 256
