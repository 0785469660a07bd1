"""The products that an instance is about."""

from pathlib import Path
from typing import Any

import pytest

from caslie_tools.data.records import read_record
from caslie_tools.domain import ImageRef
from caslie_tools.evaluation.products import product_names
from tests.data.raw_records import raw


def names(task: str, *, base: Path | None = None, **changes: Any) -> tuple[str, ...]:
    return product_names(read_record(0, raw(task, **changes), base=base))


def bare(task: str, **changes: Any) -> tuple[str, ...]:
    """The names in a record without images."""
    return names(task, images=None, caption_info=None, **changes)


def test_ids_are_the_names_if_the_data_has_them() -> None:
    assert names("category_classification", products=["p1"]) == ("p1",)
    assert names("product_relation_prediction", products=["p1", "p2"]) == ("p1", "p2")
    assert bare("product_relation_prediction", products=["p1", "p2"]) == ("p1", "p2")
    assert bare("sentiment_analysis", products=["p1"]) == ("p1",)


def test_the_ids_of_products_in_the_text_are_names() -> None:
    assert names("product_qa") == bare("product_qa") == ("mug",)
    asked = {
        "question": "Which one is red?",
        "products": [{"id": "mug"}, {"id": "pot"}, {"id": "the shopper's picture"}],
    }
    assert bare("product_qa", input=asked) == ("mug", "pot")


def test_an_instance_that_chooses_among_products_is_about_the_right_one() -> None:
    ids = ["tent", "stove", "gas", "lamp"]
    for products in ({"images": None, "caption_info": None}, {}):
        assert names("sequential_recommendation", products=ids, output="A", **products) == ("gas",)
        assert names("sequential_recommendation", products=ids, output="B", **products) == ("lamp",)
    assert bare("sequential_recommendation") == bare(
        "sequential_recommendation", options=["A: Tea", "B: gas "], output="B", input=["1st: Other"]
    )


def test_without_ids_the_picture_is_the_name(tmp_path: Path) -> None:
    for name, content in {"a.png": b"one", "b.png": b"one", "c.png": b"two"}.items():
        (tmp_path / name).write_bytes(content)
    first, same, other = (
        names("category_classification", images=[name], base=tmp_path) for name in ("a.png", "b.png", "c.png")
    )
    assert first == same != other
    assert names("category_classification") == names("category_classification", input={"title": "Another title"})
    assert len({names("category_classification", images=[f"https://shop.example/{name}"]) for name in "ab"}) == 2
    assert len(names("product_relation_prediction")) == 2


def test_a_picture_that_was_fetched_before_is_named_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"one")
    fetched = product_names(read_record(0, raw()), lambda ref: ImageRef(path=tmp_path / "a.png"))
    assert fetched == names("category_classification", images=["a.png"], base=tmp_path)
    assert product_names(read_record(0, raw()), lambda ref: None) == names("category_classification")


@pytest.mark.parametrize("image", [None, "none.png", "."])
def test_without_a_picture_the_text_about_the_product_is_the_name(tmp_path: Path, image: str | None) -> None:
    task = "multiclass_product_classification"
    (one,) = names(task, images=[image], base=tmp_path)
    assert (one,) == bare(task, input={"query": "another query", "product title": "usb  Charger"})
    assert (one,) != bare(task, input={"query": "charger", "product title": "USB cable"})
    assert bare("category_classification", input={"title": ""}) == ()
