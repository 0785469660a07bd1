import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caslie_tools.data.records import Record, is_inside, json_list, read_record
from caslie_tools.domain import WITH_LOCATIONS, ImageRef
from caslie_tools.exceptions import InstanceError
from tests.data.raw_records import TASKS, URL, raw

NESTED: Any = []
for _ in range(100_000):
    NESTED = [NESTED]

BAD = {
    "not an object": ([1], "the record is not a JSON object"),
    "no task": (raw(task="category_classification") | {"task": ""}, "the record has no task"),
    "an unknown task": (raw() | {"task": "x" * 1000}, "the task 'xxx"),
    "a task that is not a string": (raw() | {"task": {"a": 1}}, r"the task \{'a': 1\} is unknown"),
    "no input": (raw(input=""), "the record has no input"),
    "another task's input": (raw(input={"review": "Fine."}), "category_classification: title: Field required"),
    "input that is not JSON": (raw(input="{nope"), "input"),
    "options that are not JSON": (raw(options="A: Toasters"), "options is not JSON"),
    "options that are not a list": (raw(options={"A": "Toasters"}), "options is not a list"),
    "no options": (raw(options=[]), "options are missing"),
    "options of one letter": (raw(options=["A: Toasters", "A: Kettles"]), "its own letter"),
    "no output": (raw(output=None), "the record has no output"),
    "an empty output": (raw(output=""), "the record has no output"),
    "an output that is not an option": (raw(output="C"), "output 'C' is not one of A, B"),
    "a long output": (raw(output="C" * 1000), r"output 'C{59}\.\.\. is not one of A, B"),
    "an output that is not a string": (raw() | {"output": 1}, "output 1 is not a string"),
    "fewer images than products": (raw("product_relation_prediction", images=[URL]), "1 images for 2 products"),
    "more images than products": (raw("product_relation_prediction", images=[URL] * 3), "image 3 belongs to no text"),
    "images that are not JSON": (raw(images="a.jpg"), "images is not JSON"),
    "an image that is not a string": (raw(images=[5]), "image 1 is neither a URL nor a path"),
    "an image that is not a URL": (raw(images=["http:x"]), "image 1 is a malformed URL"),
    "too many captions": (raw(caption_info=["a", "b"]), "2 captions for 1 images"),
    "a caption that is not a string": (raw(caption_info=[1]), "caption_info has an element that is not a string"),
    "too many votes": (raw(votes=[True, False]), "2 votes for 1 images"),
    "too many products": (raw(products=["a", "b"]), "2 products for 1 images"),
    "a split that is not a string": (raw() | {"split": 5}, "split 5 is not a string"),
    "half a character": (raw(input={"title": "\ud800"}), "half a character"),
    "half a character in a caption": (raw(caption_info=["\ud800"]), "half a character"),
    "infinity": (
        raw("product_qa", input='{"question": "?", "products": [{"id": "mug", "price": 1e999}]}'),
        "a number that is out of range",
    ),
    "a very long number": (raw("product_qa", input='{"question": ' + "9" * 5000 + "}"), "product_qa: "),
    "a nested task": (raw() | {"task": NESTED}, "nested too deeply"),
    "a nested input": (raw() | {"input": {"title": NESTED}}, "category_classification"),
    "a nested text": (raw(input="[" * 100_000), "nested too deeply"),
    "a nested split": (raw() | {"split": NESTED}, "nested too deeply"),
    "nested products": (raw() | {"products": [NESTED]}, "nested too deeply"),
    "products without images": (
        raw("product_relation_prediction", images=None, caption_info=None, products=["a"]),
        "1 products for 2 places in the text",
    ),
    "user that is no text": (raw(users=["ann", 3]), "users has an element that is not a string"),
    "time that is no time": (raw(time="yesterday"), "time 'yesterday' is not an ISO 8601 time"),
}


@pytest.mark.parametrize("task", TASKS)
def test_a_record_of_every_task_is_read(task: str) -> None:
    fields = raw(task, id="r1")
    record = read_record(7, fields)
    assert (record.index, record.id, record.task, record.split) == (7, "r1", task, "test")
    assert record.output == fields["output"]
    assert record.instance.instruction == "Do it."
    assert [str(image.ref) for image in record.instance.images] == json_list(fields, "images")
    assert record.captions == tuple(json_list(fields, "caption_info"))
    assert record.kept is None


@pytest.mark.parametrize("task", TASKS)
def test_json_values_are_read_like_json_text(task: str) -> None:
    fields = raw(task)
    values = {name: json.loads(fields[name]) for name in ("input", "options", "images", "caption_info")}
    assert read_record(0, fields | values) == read_record(0, fields)


@pytest.mark.parametrize(("fields", "reason"), BAD.values(), ids=BAD)
def test_an_invalid_record_is_refused(fields: Any, reason: str) -> None:
    with pytest.raises(InstanceError, match=reason):
        read_record(0, fields)


def test_images_and_captions_may_be_missing(tmp_path: Path) -> None:
    record = read_record(0, raw("product_relation_prediction", images=[None, ""], caption_info=["NA", None]))
    assert [image.ref for image in record.instance.images] == [None, None]
    assert record.captions == (None, None)
    bare = read_record(0, raw(images=None, caption_info=None))
    assert (bare.instance.images, bare.captions) == ((), None)
    assert read_record(0, raw(caption_info=[])).captions is None


def test_products_and_votes_are_matched_with_the_images() -> None:
    record = read_record(0, raw("product_relation_prediction", products=["p1", None], votes=["yes", None]))
    assert [image.product for image in record.instance.images] == ["p1", None]
    assert record.kept == (True, None)


def test_products_users_and_time_say_what_a_record_is_built_from() -> None:
    bare = {"images": None, "caption_info": None, "products": ["p1", "p2"]}
    record = read_record(0, raw("product_relation_prediction", **bare, users=["ann"], time="2026-01-31T12:00:00"))
    assert record.instance.images == ()
    assert (record.products, record.users) == (("p1", "p2"), ("ann",))
    assert record.time == datetime(2026, 1, 31, 12, tzinfo=UTC)
    silent = read_record(0, raw())
    assert (silent.products, silent.users, silent.time) == ((), (), None)


class TestImagePaths:
    """A record must not make this machine read files outside the folder of the data."""

    def test_they_are_relative_to_the_folder(self, tmp_path: Path) -> None:
        record = read_record(0, raw(images=["a/../b.png"]), base=tmp_path)
        assert record.instance.images[0].ref == ImageRef(path=tmp_path / "a/../b.png")

    @pytest.mark.parametrize(
        "path", ["../b.png", "a/../../b.png", "/etc/passwd", "link/b.png", "circle/b.png", "\0", "a\0/../b"]
    )
    def test_a_path_that_leads_out_of_the_folder_is_refused(self, tmp_path: Path, path: str) -> None:
        folder = tmp_path / "data"
        folder.mkdir()
        (folder / "link").symlink_to(tmp_path)
        (folder / "circle").symlink_to(folder / "circle")
        if path == "circle/b.png" and is_inside(folder / path, folder):
            pytest.skip("this Python does not follow cycles of links")
        with pytest.raises(InstanceError, match="image 1 leads out of the folder of the data"):
            read_record(0, raw(images=[path]), base=folder)

    def test_without_a_folder_paths_are_refused(self) -> None:
        with pytest.raises(InstanceError, match="image 1 is not a URL"):
            read_record(0, raw(images=["b.png"]))

    def test_trusted_paths_may_lead_anywhere(self, tmp_path: Path) -> None:
        record = read_record(0, raw(images=["/shop/b.png"]), base=tmp_path, trust_paths=True)
        assert record.instance.images[0].ref == ImageRef(path=Path("/shop/b.png"))


class TestKey:
    def key(self, **changes: Any) -> str:
        return read_record(0, raw(**changes)).key

    def test_the_key_depends_on_the_question_and_the_answer(self) -> None:
        changes: list[dict[str, Any]] = [
            {"output": "A"},
            {"instruction": "Other."},
            {"input": {"title": "Pot"}},
            {"images": []},
        ]
        for change in changes:
            assert self.key(caption_info=None, **change) != self.key()

    def test_the_key_depends_on_nothing_else(self) -> None:
        changes: list[dict[str, Any]] = [
            {"split": "train"},
            {"id": "r9"},
            {"caption_info": ["Other."]},
            {"output": "b"},
            {"products": ["p"]},
            {"users": ["ann"]},
            {"time": "2026-01-31"},
            {"extra": "x"},
        ]
        for change in changes:
            assert self.key(**change) == self.key()


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.sampled_from(TASKS),
    st.dictionaries(st.sampled_from([*raw(), "id", "products", "votes", "users", "time"]), _json, max_size=3),
)
def test_any_record_is_read_or_refused(task: str, changes: dict[str, Any]) -> None:
    try:
        record = read_record(0, raw(task) | changes, base=Path("data"))
    except InstanceError:
        return
    assert Record.model_validate_json(record.model_dump_json(context=WITH_LOCATIONS)) == record
