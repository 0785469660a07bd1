import pytest
from hypothesis import given
from hypothesis import strategies as st

from caslie_tools.tasks.answers import option_label, option_text, parse_label, parse_yes_no

OPTIONS = ["A: Toasters", "B: Kettles.", "C: Very hot things", "I: Irons"]


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("yes", "yes"),
        ("No.", "no"),
        ("**Yes**", "yes"),
        ('"No"', "no"),
        (" YES, it shows the size", "yes"),
        ("Answer: no", "no"),
        ("The final answer is **yes**.", "yes"),
        ("no\nThe image shows nothing new.", "no"),
        ("Yes, yes!", "yes"),
    ],
)
def test_a_clear_yes_or_no_is_parsed(answer: str, label: str) -> None:
    assert parse_yes_no(answer) == label


@pytest.mark.parametrize(
    "answer",
    ["", "not helpful", "none", "nope", "No idea", "yes/no", "Yes or no", "no-brainer", "maybe", "It says yes", "Y",
     "Yes and no", "answerno", "yesterday", "NaN", "Yes, no, hard to say"],
)  # fmt: skip
def test_an_ambiguous_answer_is_neither_yes_nor_no(answer: str) -> None:
    assert parse_yes_no(answer) is None


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(C)", "C"),
        ("**A**", "A"),
        ("B.", "B"),
        ("B) Kettles", "B"),
        ("C: Very hot things", "C"),
        ("A\nbecause it toasts", "A"),
        ("Answer: C", "C"),
        ("answer is C", "C"),
        ("The correct option is (B).", "B"),
        ("kettles", "B"),
        ("Very hot things.", "C"),
        ("A, toasters are a kind of it", "A"),
    ],
)
def test_an_option_is_named_by_its_letter_or_its_text(answer: str, label: str) -> None:
    assert parse_label(answer, OPTIONS) == label


@pytest.mark.parametrize(
    "answer",
    ["", "D", "A kettle", "A or B", "A, B", "A/B", "A & B", "I'm sorry", "I\u2019m sorry", "I cannot tell", "Answers",
     "answerB", "The answer is not B", "Hot", "Kettles and irons"],
)  # fmt: skip
def test_an_ambiguous_answer_names_no_option(answer: str) -> None:
    assert parse_label(answer, OPTIONS) is None


def test_a_letter_takes_precedence_over_an_option_s_text() -> None:
    assert parse_label("B", ["A: B", "B: A"]) == "B"
    assert parse_label("M", ["A: M", "B: L"]) == "A"


def test_a_text_shared_by_two_options_names_neither() -> None:
    assert parse_label("red", ["A: red", "B: Red"]) is None


@pytest.mark.parametrize("option", ["B: Kettles", "B) Kettles", "B. Kettles", " B:Kettles"])
def test_an_option_has_a_letter_and_a_text(option: str) -> None:
    assert (option_label(option), option_text(option)) == ("B", "Kettles")


@pytest.mark.parametrize("option", ["Kettles", "AB: Kettles", "b: Kettles", "", "1: Kettles"])
def test_an_option_without_a_letter_keeps_its_text(option: str) -> None:
    assert (option_label(option), option_text(option)) == (None, option)


@given(st.text(max_size=60))
def test_no_answer_makes_parsing_fail(answer: str) -> None:
    assert parse_yes_no(answer) in ("yes", "no", None)
    assert parse_label(answer, OPTIONS) in ("A", "B", "C", "I", None)
