"""The list of questions by kind, and how a caption is judged."""

import re
from collections import Counter

import pytest
from question_kinds import Question, is_right, load, read_questions
from questions import HALVES

from caslie_tools.sample import catalogue_path

ASKED = Question(
    half="held-out", kind="colour", source="drawn", picture="box|#c63a32|NEW", title="Box", question="Red or blue?",
    accepted="red", rejected="blue",
)  # fmt: skip


def test_every_kind_is_in_both_halves() -> None:
    counts = Counter((question.half, question.kind) for question in read_questions())
    kinds = {kind for _, kind in counts}
    assert len(kinds) >= 12
    assert set(counts) == {(half, kind) for half in HALVES for kind in kinds}
    assert min(counts.values()) >= 4


def test_no_question_is_in_the_list_twice() -> None:
    asked = Counter((question.picture, question.question) for question in read_questions())
    assert [question for question, count in asked.items() if count > 1] == []


def test_every_pattern_is_valid_and_every_picture_without_a_photo_can_be_loaded() -> None:
    folders = {"sample": catalogue_path().parent / "images"}
    for question in read_questions():
        assert re.compile(question.accepted)
        assert question.context.focus == question.question
        if question.source in ("sample", "drawn"):
            assert load(question, folders).data


@pytest.mark.parametrize(
    ("caption", "right"),
    [
        ("It is mostly red.", True),
        ("It is mostly red, with blue.", True),
        ("It is mostly blue, with red.", False),
        ("It is mostly blue.", False),
        ("", False),
    ],
)
def test_the_right_alternative_must_come_first(caption: str, right: bool) -> None:
    assert is_right(ASKED, caption) is right


def test_a_question_is_the_focus_of_its_caption_and_a_title_is_what_is_known() -> None:
    assert (ASKED.context.focus, "Box" in ASKED.context.known) == ("Red or blue?", True)
