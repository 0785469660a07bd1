import pytest
from hypothesis import given
from hypothesis import strategies as st

from caslie_tools.backends.embedded.answer_kinds import expected_kinds, is_question, kinds_in


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
def test_the_kind_that_a_question_expects_is_found_in_an_answer(question: str, kind: str, text: str) -> None:
    assert kind in expected_kinds(question)
    assert kind in kinds_in(text)
    assert kind not in kinds_in("PHOTO COMING SOON")


def test_a_connector_is_not_a_protection_class() -> None:
    assert "protection" not in kinds_in("65 W USB-C")


def test_a_bare_number_gets_its_unit_from_the_field_name() -> None:
    assert "mass" in kinds_in("320", "weight_g")
    assert "mass" not in kinds_in("320", "size")
    assert "nutrition" in kinds_in("45", "kcal_per_100g")


def test_the_field_name_gives_no_unit_to_other_text() -> None:
    assert kinds_in("see label", "weight_g") == set()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Is it red?", True), ("how do I wash it", True), ("apple juice", False), ("I like it.", False)],
)
def test_questions_differ_from_search_queries_and_reviews(text: str, expected: bool) -> None:
    assert is_question(text) is expected


@given(st.text(max_size=200))
def test_any_text_is_accepted(text: str) -> None:
    assert kinds_in(text) is not None
    assert expected_kinds(text) is not None
