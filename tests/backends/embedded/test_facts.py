import pytest
from hypothesis import given
from hypothesis import strategies as st

from caslie_tools.backends.embedded.facts import (
    asked_kinds,
    colour_words,
    content_words,
    contradicts,
    coverage,
    is_question,
    kinds_in,
    quantities,
    stem,
)


@pytest.mark.parametrize(
    ("one", "other"), [("750 ml", "0.75 l"), ("750ml", "75 cl"), ("1,5 L", "1500 ml"), ("2 kW", "2000 watts")]
)
def test_a_quantity_is_the_same_in_another_unit(one: str, other: str) -> None:
    assert quantities(one)[0].same(quantities(other)[0])


@pytest.mark.parametrize(("one", "other"), [("750 ml", "500 ml"), ("20 W", "20 V"), ("1 l", "1 kg"), ("65 W", "6.5 W")])
def test_other_numbers_or_units_are_never_the_same(one: str, other: str) -> None:
    assert not quantities(one)[0].same(quantities(other)[0])


def test_a_number_without_a_unit_and_a_number_inside_a_word_are_no_quantities() -> None:
    assert quantities("model 750, B12 mg5l, 3 lamps") == ()


@pytest.mark.parametrize(
    ("word", "other"), [("apples", "apple"), ("washing", "wash"), ("bottles", "bottle"), ("berries", "berry")]
)
def test_endings_are_cut(word: str, other: str) -> None:
    assert stem(word) == stem(other)


def test_words_that_carry_nothing_do_not_count() -> None:
    assert content_words("Which of these is the juice that is made from apples?") == {"juice", "apple"}


def test_coverage_finds_words_run_together_or_misread_by_a_letter_but_no_strangers() -> None:
    assert coverage({"juice"}, "APPLEJUICE") == 1
    assert coverage({"apple"}, "ÄPPLE JUICE") == 1
    assert coverage({"strawberry"}, "with fresh berries") == 0
    assert coverage({"juice", "pear"}, "apple juice") == 0.5
    assert coverage(set(), "apple juice") == 0


@pytest.mark.parametrize(
    ("question", "kind", "text"),
    [
        ("What colour is it?", "colour", "It is mostly navy."),
        ("Is it waterproof?", "protection", "Rated IP67"),
        ("Which plug does it have?", "connector", "65 W USB-C"),
        ("How much does it hold?", "volume", "REED 500 ml"),
        ("How heavy is it?", "mass", "about 320 g"),
        ("How bright is it?", "light", "400 LUMEN"),
        ("Where does it come from?", "origin", "PRODUCT OF AUSTRIA"),
        ("How long does the battery last?", "time", "40 h BATTERY"),
    ],
)
def test_what_a_question_asks_for_is_recognised_and_found(question: str, kind: str, text: str) -> None:
    assert kind in asked_kinds(question)
    assert kind in kinds_in(text)
    assert kind not in kinds_in("PHOTO COMING SOON")


def test_a_code_of_another_kind_is_no_protection_class() -> None:
    assert "protection" not in kinds_in("65 W USB-C")


def test_a_bare_number_gets_its_unit_from_the_name_of_its_field() -> None:
    assert "mass" in kinds_in("320", "weight_g")
    assert "mass" not in kinds_in("320", "size")


def test_another_quantity_contradicts_and_another_dimension_does_not() -> None:
    assert contradicts("Which bottle holds 750 ml?", "REED 500 ml")
    assert not contradicts("Which bottle holds 750 ml?", "KELP 0.75 l")
    assert not contradicts("Which bottle holds 750 ml?", "weighs 150 g")
    assert not contradicts("How much does it hold?", "REED 500 ml")


def test_shades_count_as_the_colours_they_go_with() -> None:
    assert colour_words("Gray and navy, a violet seam") == {"grey", "blue", "purple"}


@pytest.mark.parametrize(
    ("text", "asks"), [("Is it red?", True), ("how do I wash it", True), ("apple juice", False), ("I like it.", False)]
)
def test_a_question_is_told_from_a_search_or_a_review(text: str, asks: bool) -> None:
    assert is_question(text) is asks


@given(st.text(max_size=200))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert 0 <= coverage(content_words(text), text) <= 1
    assert not contradicts(text, text)
    assert kinds_in(text) is not None
    assert asked_kinds(text) is not None


def test_the_first_unit_in_a_fields_name_counts_and_only_for_bare_numbers() -> None:
    assert "nutrition" in kinds_in("45", "kcal_per_100g")
    assert kinds_in("see label", "weight_g") == set()
