from collections import Counter

import pytest
from questions import HALVES, KINDS, Question, judge, read_questions

CATALOGUES = ("sample", "mixed", "grocery")
ASKED = Question(
    catalogue="c", half="held-out", kind="text", product="p", question="?", accepted=r"\b5\b", cites=("p", "q")
)
UNANSWERABLE = Question(
    catalogue="c", half="held-out", kind="none", product="p", question="?", accepted="", cites=("p",)
)


def test_a_third_of_the_questions_has_no_answer_and_a_third_needs_pictures() -> None:
    asked = [question for catalogue in CATALOGUES for question in read_questions(catalogue)]

    assert len(asked) >= 150
    for half in HALVES:
        kinds = Counter(question.kind for question in asked if question.half == half)
        assert set(kinds) == set(KINDS)
        assert all(abs(count / kinds.total() - 1 / 3) < 0.05 for count in kinds.values())


@pytest.mark.parametrize(
    ("answer", "answered", "cited", "verdict"),
    [
        ("Lamp: 5 years.", True, ["q"], "right"),
        ("Lamp: 15 years.", True, ["p"], "wrong"),
        ("Lamp: 5 years.", True, ["other"], "wrong"),
        ("5 " * 31, True, ["p"], "wrong"),
        ("Not stated.", False, [], "refused"),
    ],
)
def test_an_answer_is_right_if_it_is_short_and_cites_the_product(
    answer: str, answered: bool, cited: list[str | None], verdict: str
) -> None:
    assert judge(ASKED, answer, answered=answered, cited=cited) == verdict


def test_only_a_refusal_is_right_without_an_answer() -> None:
    assert judge(UNANSWERABLE, "", answered=False, cited=[]) == "right"
    assert judge(UNANSWERABLE, "Lamp: 5 years.", answered=True, cited=["p"]) == "wrong"
