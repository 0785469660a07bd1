from collections.abc import Callable
from typing import Annotated, Any

import pytest
from pydantic import PlainValidator, TypeAdapter

from caslie_tools.exceptions import InstanceError, TaskDefinitionError, UnknownTaskError
from caslie_tools.tasks import TASKS, ImageSlot, Metric, Task, get_task, register_task, unregister_task
from tests.tasks.care_label import CARE_LABEL


def task_with(**changes: Any) -> Task:
    """Returns the task ``care_label`` with other fields."""
    return Task(**{**vars(CARE_LABEL), **changes})


def slot_with(**changes: Any) -> ImageSlot:
    return ImageSlot(**{**vars(CARE_LABEL.image_slots[0]), **changes})


def test_a_registered_task_stays_until_it_is_unregistered() -> None:
    register_task(CARE_LABEL)
    try:
        assert get_task("cl") is TASKS["care_label"] is CARE_LABEL
        assert list(TASKS)[-1] == "care_label"
    finally:
        unregister_task("cl")
    assert "care_label" not in TASKS


def test_a_task_may_be_unregistered_before_its_block_ends() -> None:
    with register_task(CARE_LABEL) as task:
        unregister_task(task.name)
        again = register_task(task_with())
    assert "care_label" in TASKS  # the second registration is not this block's
    with again:
        pass
    assert "care_label" not in TASKS


@pytest.mark.parametrize(
    ("changes", "taken"),
    [
        ({"name": "sentiment_analysis"}, "the task 'sentiment_analysis' already has .* 'sentiment_analysis'"),
        ({"abbreviation": "sa"}, "the task 'sentiment_analysis' already has the name or abbreviation 'sa'"),
        ({"name": "sa"}, "the task 'sentiment_analysis' already has the name or abbreviation 'sa'"),
        ({"abbreviation": "product_qa"}, "the task 'product_qa' already has .* 'product_qa'"),
    ],
)
def test_a_name_or_abbreviation_that_is_taken_is_refused(changes: dict[str, str], taken: str) -> None:
    with pytest.raises(TaskDefinitionError, match=taken):
        register_task(task_with(**changes))
    assert "care_label" not in TASKS


def test_the_same_task_cannot_be_registered_twice() -> None:
    with register_task(CARE_LABEL), pytest.raises(TaskDefinitionError, match="choose another one"):
        register_task(CARE_LABEL)


def test_a_built_in_task_cannot_be_removed() -> None:
    with pytest.raises(TaskDefinitionError, match="'product_qa' is built in and cannot be removed"):
        unregister_task("pqa")


def test_an_unknown_task_cannot_be_removed() -> None:
    with pytest.raises(UnknownTaskError):
        unregister_task("care_label")


def test_the_view_of_all_tasks_is_read_only() -> None:
    with pytest.raises(TypeError):
        TASKS["care_label"] = CARE_LABEL  # type: ignore[index]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": "Care label"}, "'Care label' must start with a lowercase letter"),
        ({"abbreviation": ""}, "'' must start with a lowercase letter"),
        ({"options": ()}, "every option must start with its own letter"),
        ({"options": ("30 degrees", "60 degrees")}, "every option must start with its own letter"),
        ({"options": ("A: 30",)}, "one option is no choice; give at least two"),
        ({"options": ("A: 30", "A: 60")}, "every option must start with its own letter"),
        ({"metric": None}, "a metric is missing"),
        ({"answers": "text"}, "an open question has no metric"),
        ({"metric": Metric(name="f1")}, "the metric f1 needs a positive label"),
        ({"metric": Metric(name="accuracy", positive="A")}, "no other metric has one"),
        ({"metric": Metric(name="f1", positive="C")}, "the positive label 'C' is not a label of every instance"),
        ({"options": "given"}, "the positive label 'B' is not a label of every instance"),
        ({"image_slots": (slot_with(key=""),)}, "the image slot 'care label' needs a key"),
        ({"image_slots": (slot_with(key="title"),)}, "would write captions over the input's field 'title'"),
        ({"image_slots": (slot_with(each="options"),)}, "cannot have a key, because an option is a text"),
        ({"image_slots": (slot_with(), slot_with(name="b"))}, "two image slots would write captions to the same place"),
    ],
)
def test_a_contradictory_definition_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(TaskDefinitionError, match=r"the task '.*' cannot be defined: .*" + problem):
        task_with(**changes)


def test_a_template_with_an_unknown_field_is_an_error_that_names_it() -> None:
    task = task_with(image_slots=(slot_with(known="{brand}"),))
    with pytest.raises(InstanceError, match="care_label: the input has no field 'brand', which the image slot"):
        task.read({"title": "Shirt"})


def test_a_slot_may_have_a_place_for_each_item_of_any_list() -> None:
    task = task_with(
        input=TypeAdapter(dict[str, Any]),
        image_slots=(slot_with(name="bundle {number}", each="bundle", focus="{title}", known="{item}"),),
    )
    places = task.places(task.read({"title": "Set", "bundle": [{"name": "Shirt"}, {"name": "Hat"}]}))
    assert [(place.name, place.context.known) for place in places] == [
        ("bundle 1", "name: Shirt"),
        ("bundle 2", "name: Hat"),
    ]
    assert [place.target.path[:2] for place in places] == [("bundle", 0), ("bundle", 1)]


@pytest.mark.parametrize(
    ("name", "described"),
    [
        ("ap", "{'question', 'document'}"),
        ("prp", "{'product 1', 'product 2'}"),
        ("sr", "a list of '1st: title' strings, oldest first"),
    ],
)
def test_the_input_is_described_by_its_fields_or_in_words(name: str, described: str) -> None:
    assert get_task(name).describe_input() == described


def test_an_input_without_named_fields_is_described_by_its_kind() -> None:
    assert task_with(input=TypeAdapter(list[str])).describe_input() == "a list"
    assert task_with(input=TypeAdapter(dict[str, str])).describe_input() == "an object"
    without_schema = TypeAdapter(Annotated[Any, PlainValidator(dict, json_schema_input_type=Callable[[], None])])
    assert task_with(input=without_schema).describe_input() == "an object"
