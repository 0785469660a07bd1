"""The texts that captions are conditioned on, cut to what the models take."""

from typing import Any

import pytest

from caslie_tools.domain import Product
from caslie_tools.pipeline.bounded_contexts import BoundedContext, bounded_contexts
from caslie_tools.tasks import Instance, get_task, product_question

REVIEW = "The seam came apart after a week. " * 600
"""20,400 characters, more than a model with 2,048 tokens takes."""


def read(task: str, record: Any, options: list[str] | None = None) -> Instance:
    return get_task(task).read({"input": record, "options": options or []})


def bounded(instance: Instance, text_tokens: int | None = 2048) -> list[BoundedContext]:
    return bounded_contexts(instance, wire="corrected", text_tokens=text_tokens)


def test_short_texts_and_models_without_a_limit_cut_nothing() -> None:
    for instance, limit in ((read("sa", {"review": REVIEW}), None), (read("sa", {"review": "It fits."}), 2048)):
        places = get_task("sa").places(instance)
        assert bounded(instance, limit) == [BoundedContext(context=place.context) for place in places]


def test_a_long_text_is_cut_to_two_bytes_for_each_token_that_the_prompt_leaves() -> None:
    (found,) = bounded(read("sa", {"review": REVIEW}))
    assert found.context.focus == found.context.known  # so that it stands in a prompt once
    assert REVIEW.startswith(found.context.focus.removesuffix("…"))
    assert 3200 < len(found.context.focus.encode()) < (2048 - 400) * 2
    assert found.note == (
        f"review: captioner and judges got {len(found.context.focus)} of 20400 characters of text; the rest does not "
        "fit into the context length of their models"
    )


def test_the_longest_texts_are_cut_first() -> None:
    instance = product_question("Does it fit?", [Product(id="a", title="Jacket", description=REVIEW)])
    (found,) = bounded(instance)
    assert found.context.focus == "Does it fit?"
    assert found.context.known.startswith("title: Jacket\ndescription: The seam")
    (one, other) = bounded(read("prp", {"product 1": REVIEW, "product 2": "Kettle " * 400 + "end"}))
    assert (one.context.known, one.context.compared_with) == (other.context.compared_with, other.context.known)
    assert len(one.context.known) == pytest.approx(len(one.context.compared_with), abs=1)


def test_options_take_their_room_but_leave_some() -> None:
    (alone,) = bounded(read("cc", {"title": REVIEW}, ["A: Mugs", "B: Hats"]))
    (beside,) = bounded(read("cc", {"title": REVIEW}, ["A: " + "Mugs " * 100, "B: Hats"]))
    assert len(alone.context.known) - len(beside.context.known) == pytest.approx(500, abs=10)
    (crowded,) = bounded(read("cc", {"title": REVIEW}, ["A: " + REVIEW, "B: Hats"]))
    assert len(crowded.context.known) == pytest.approx(400, abs=5)


def test_no_character_is_cut_in_two() -> None:
    text = "ä😀" * 4000
    (found,) = bounded(read("sa", {"review": text}))
    assert text.startswith(found.context.focus.removesuffix("…"))
    assert len(found.context.focus.encode()) < (2048 - 400) * 2
