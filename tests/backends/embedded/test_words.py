import pytest
from hypothesis import given
from hypothesis import strategies as st

from caslie_tools.backends.embedded.words import colour_words, content_words, coverage, stem


@pytest.mark.parametrize(
    ("first", "second"), [("apples", "apple"), ("washing", "wash"), ("bottles", "bottle"), ("berries", "berry")]
)
def test_words_with_different_endings_have_the_same_stem(first: str, second: str) -> None:
    assert stem(first) == stem(second)


def test_stop_words_are_not_content_words() -> None:
    assert content_words("Which of these is the juice that is made from apples?") == {"juice", "apple"}


def test_coverage_counts_compounds_and_misread_letters_but_not_unrelated_words() -> None:
    assert coverage({"juice"}, "APPLEJUICE") == 1
    assert coverage({"apple"}, "ÄPPLE JUICE") == 1
    assert coverage({"strawberry"}, "with fresh berries") == 0
    assert coverage({"juice", "pear"}, "apple juice") == 0.5
    assert coverage(set(), "apple juice") == 0


def test_shades_count_as_their_basic_colours() -> None:
    assert colour_words("Gray and navy, a violet seam") == {"grey", "blue", "purple"}


@given(st.text(max_size=200))
def test_coverage_of_any_text_is_a_share(text: str) -> None:
    assert 0 <= coverage(content_words(text), text) <= 1
