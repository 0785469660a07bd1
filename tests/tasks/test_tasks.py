import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from caslie_tools.domain import Caption, ImageRef, Product, QueryContext
from caslie_tools.exceptions import InstanceError, UnknownTaskError
from caslie_tools.tasks import (
    MMECINSTRUCT,
    PRODUCT_QA,
    TASKS,
    FusedInstance,
    Instance,
    PlacedImage,
    Task,
    get_task,
    product_question,
)
from caslie_tools.tasks.evidence import evidence
from caslie_tools.tasks.fusion import fuse
from caslie_tools.tasks.product_qa import CAPTION_KEY, SHOPPERS_IMAGE
from tests.paths import INSTANCES
from tests.tasks.records import RECORDS, REFS

ROLES = {
    "ap": (["yes", "no"], "f1"),
    "cc": (["A", "B"], "recall@1"),
    "prp": (["A", "B", "C"], "macro_f1"),
    "psi": (["yes", "no"], "f1"),
    "mpc": (["A", "B", "C", "D"], "accuracy"),
    "sa": (["A", "B", "C", "D", "E"], "macro_f1"),
    "sr": (["A", "B", "C"], "recall@1"),
}


def instance(short: str) -> Instance:
    return get_task(short).read(RECORDS[short])


def contexts(short: str) -> dict[str, QueryContext]:
    return {place.name: place.context for place in get_task(short).places(instance(short))}


def test_the_built_in_tasks_are_the_seven_of_the_dataset_and_product_qa() -> None:
    assert [task.abbreviation for task in TASKS.values()] == ["ap", "cc", "prp", "psi", "mpc", "sa", "sr", "pqa"]
    assert list(TASKS.values()) == [*MMECINSTRUCT, PRODUCT_QA]


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.abbreviation)
def test_a_task_is_found_by_its_name_and_its_abbreviation(task: Task) -> None:
    assert get_task(task.name) is get_task(task.abbreviation) is task


def test_the_error_for_an_unknown_task_lists_all_tasks() -> None:
    with pytest.raises(
        UnknownTaskError, match=r"no task 'captioning'; choose one of: answerability_prediction, .*product_qa"
    ):
        get_task("captioning")


@pytest.mark.parametrize("short", RECORDS)
def test_each_task_has_its_answers_and_its_metric(short: str) -> None:
    labels, metric = ROLES[short]
    task = get_task(short)
    assert task.labels(instance(short)) == tuple(labels)
    assert task.metric is not None
    assert (task.metric.name, task.metric.positive) == (metric, "yes" if metric == "f1" else None)


@pytest.mark.parametrize("short", RECORDS)
def test_json_text_and_json_values_read_the_same(short: str) -> None:
    record = RECORDS[short]
    text = {"input": json.dumps(record["input"]), "options": json.dumps(record.get("options", [])), "images": "[]",
            "instruction": "Do it.", "output": "A", "split": "test"}  # fmt: skip
    assert get_task(short).read(text) == get_task(short).read(
        record | {"images": [], "instruction": "Do it.", "output": "A"}
    )


@pytest.mark.parametrize("short", [short for short in RECORDS if short not in ("cc", "sr")])
def test_an_input_alone_reads_like_a_record_if_the_options_are_fixed(short: str) -> None:
    assert get_task(short).read(RECORDS[short]["input"]) == instance(short)


class TestContexts:
    """The context of each image, for EC3 and CQE."""

    @pytest.mark.parametrize("short", ["psi", "mpc"])
    def test_psi_and_mpc_use_query_and_title(self, short: str) -> None:
        context = contexts(short)["product"]
        assert (context.focus, context.known) == ("usb-c charger", "USB-A charger")

    def test_prp_has_a_context_for_each_product_that_names_the_other(self) -> None:
        found = contexts("prp")
        assert list(found) == ["product 1", "product 2"]
        assert (found["product 1"].known, found["product 1"].compared_with) == ("Tripod", "Ball head")
        assert (found["product 2"].known, found["product 2"].compared_with) == ("Ball head", "Tripod")
        assert "product 1" in found["product 1"].question
        assert "product 2" in found["product 2"].question

    def test_sa_ap_and_cc_use_review_question_and_title(self) -> None:
        assert contexts("sa")["review"].focus == "The seam came apart."
        assert contexts("ap")["product"].focus == "Does the lid fit?"
        assert contexts("ap")["product"].known == "Sturdy lid.\nFits well."
        assert contexts("cc")["product"].known == "Kettle"

    def test_in_paper_answerability_tells_captioner_and_judges_the_question_alone(self) -> None:
        (place,) = get_task("ap").places(instance("ap"), "paper")
        assert (place.context.focus, place.context.known) == ("Does the lid fit?", "")
        for short in RECORDS.keys() - {"ap"}:
            assert get_task(short).places(instance(short), "paper") == get_task(short).places(instance(short))

    def test_sr_has_different_contexts_for_purchases_and_candidates(self) -> None:
        found = contexts("sr")
        assert list(found) == ["purchase 1", "purchase 2", "candidate A", "candidate B", "candidate C"]
        assert found["purchase 2"].known == "2: Stove"
        assert found["candidate B"].known == "B: Lamp"
        assert all("next purchase" in context.aim for context in found.values())
        assert "bought before" in found["purchase 1"].aim
        assert "candidate" in found["candidate A"].aim

    def test_a_title_is_what_is_known_and_asks_nothing(self) -> None:
        found = [context for short in ("cc", "prp", "sr") for context in contexts(short).values()]
        assert [context.focus for context in found] == [""] * len(found)

    @pytest.mark.parametrize("short", RECORDS)
    def test_judges_are_asked_whether_the_image_helps(self, short: str) -> None:
        for context in contexts(short).values():
            assert re.fullmatch(r"Does the information from the image .*help.*\?", context.question)
            assert context.task == get_task(short).name
            assert context.aim

    def test_braces_in_a_text_are_not_template_fields(self) -> None:
        read = get_task("psi").read({"query": "{product title} {0} {", "product title": "}"})
        context = get_task("psi").places(read)[0].context
        assert (context.focus, context.known) == ("{product title} {0} {", "}")


class TestImages:
    def places(self, short: str, refs: Sequence[ImageRef | None], **record: Any) -> list[tuple[str, ImageRef | None]]:
        task = get_task(short)
        read = task.read({**RECORDS[short], **record}, refs)
        names = [place.name for place in task.places(read)]
        return [(names[image.place], image.ref) for image in read.images]

    def test_images_belong_to_the_places_in_order(self) -> None:
        assert self.places("prp", REFS[:2]) == [("product 1", REFS[0]), ("product 2", REFS[1])]
        assert [name for name, _ in self.places("sr", REFS)] == [
            "purchase 1", "purchase 2", "candidate A", "candidate B", "candidate C",
        ]  # fmt: skip

    def test_all_images_belong_to_a_single_place(self) -> None:
        assert self.places("sa", REFS[:3]) == [("review", ref) for ref in REFS[:3]]

    def test_a_missing_image_keeps_its_place(self) -> None:
        assert self.places("prp", [None, REFS[1]]) == [("product 1", None), ("product 2", REFS[1])]
        urls = ["", "https://shop.example/2.png"]
        assert self.places("prp", [], images=json.dumps(urls)) == [
            ("product 1", None), ("product 2", ImageRef(url=urls[1])),
        ]  # fmt: skip

    def test_passed_images_replace_the_images_of_the_record(self) -> None:
        assert self.places("cc", REFS[:1], images=["https://shop.example/a.png"]) == [("product", REFS[0])]

    def test_more_images_than_places_are_refused(self) -> None:
        with pytest.raises(InstanceError, match="image 3 belongs to no text; the instance has 2"):
            self.places("prp", REFS[:3])


@pytest.mark.parametrize(
    ("short", "record", "message"),
    [
        ("cc", {"input": {"title": "Kettle"}}, "options are missing; give them"),
        ("cc", {"input": {"title": "Kettle"}, "options": ["Toasters", "Kettles"]}, "its own letter"),
        ("cc", {"input": {"title": "Kettle"}, "options": ["A: Toasters", "A: Kettles"]}, "its own letter"),
        ("cc", {"input": {"title": "Kettle"}, "options": "A: Toasters"}, "options is not JSON"),
        ("cc", {"input": {"title": "Kettle"}, "options": {"A": "Toasters"}}, "options is not a list"),
        ("cc", {"input": {"title": "Kettle"}, "options": [1, 2]}, "options > 0: Input should be a valid string"),
        ("sr", {"input": [], "options": ["A: Gas"]}, "input: List should have at least 1 item"),
        ("sr", {"input": {"title": "Tent"}, "options": ["A: Gas"]}, "input: Input should be a valid list"),
        ("psi", {"query": "charger"}, "product title: Field required"),
        ("psi", {"query": "", "product title": "Charger"}, "query: String should have at least 1 character"),
        ("psi", {"query": "c", "product title": 7}, "product title: Input should be a valid string"),
        ("psi", {"input": "{not json"}, "not an instance of this task: input: .*Expecting"),
        ("psi", {"input": "[" * 100_000}, "nested too deeply"),
        ("psi", {"input": 5}, "not an instance of this task: input"),
        ("sa", {"review": "Fine.", "stars": 5}, "stars: Extra inputs are not permitted"),
        ("sa", {"input": {"review": "Fine."}, "images": "https://shop.example/a.png"}, "images is not JSON"),
        ("sa", {"input": {"review": "Fine."}, "images": ["https://[x"]}, None),
    ],
)
def test_the_error_for_an_invalid_record_gives_the_reason(short: str, record: Any, message: str | None) -> None:
    if message is None:  # a malformed URL is an image that fails later, on its own
        assert get_task(short).read(record).images[0].ref is not None
        return
    with pytest.raises(InstanceError, match=message) as caught:
        get_task(short).read(record)
    assert str(caught.value).startswith(get_task(short).name) or "is not" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("short", RECORDS)
def test_an_input_with_the_key_of_a_caption_is_refused(short: str) -> None:
    task = get_task(short)
    keys = [place.target.path[-1] for place in task.places(instance(short)) if not place.target.append]
    for key in keys:
        with pytest.raises(InstanceError, match="Extra inputs are not permitted"):
            task.read({**RECORDS[short], "input": {**RECORDS[short]["input"], str(key): "the best there is"}})


class TestProductQuestion:
    mug = Product(id="m1", title="Mug", brand="Tonus", price=9.5, attributes={"volume_ml": 350},
                  images=(ImageRef(data=b"1"), ImageRef(data=b"2")))  # fmt: skip
    jug = Product(id="j1", title="Jug", images=(ImageRef(data=b"3"),))

    def test_each_product_has_a_place_with_the_question(self) -> None:
        asked = PRODUCT_QA.check(product_question("Is it red?", [self.mug, self.jug], [ImageRef(data=b"4")]))
        places = PRODUCT_QA.places(asked)
        assert [place.context.focus for place in places] == ["Is it red?"] * 3
        assert [place.context.known for place in places] == [
            "title: Mug\nbrand: Tonus\nprice: 9.5\nvolume_ml: 350", "title: Jug", "",
        ]  # fmt: skip
        assert [(image.place, image.product) for image in asked.images] == [(0, "m1"), (0, "m1"), (1, "j1"), (2, None)]
        assert PRODUCT_QA.labels(asked) == ()
        assert PRODUCT_QA.parse("yes", asked) is None

    def test_an_attribute_named_like_the_id_or_a_caption_is_dropped(self) -> None:
        shop = Product(id="m1", attributes={"id": "j1", CAPTION_KEY: "the best there is", "colour": "red"})
        asked = product_question("Is it red?", [shop])
        assert asked.input == {"question": "Is it red?", "products": [{"id": "m1", "colour": "red"}]}

    def test_an_empty_question_is_refused(self) -> None:
        with pytest.raises(InstanceError, match="question: String should have at least 1 character"):
            PRODUCT_QA.check(product_question("", [self.mug]))

    def test_the_evidence_is_each_product_s_fields_then_its_kept_captions(self) -> None:
        asked = product_question("Is it red?", [self.mug, self.jug], [ImageRef(data=b"4")])
        captions = [
            Caption(key=text, text=text, image=text[0] * 64, context=QueryContext(task="pqa"), captioner="c",
                    prompt_version="1") if text else None
            for text in ("a red mug", "", "", "b a photo")
        ]  # fmt: skip
        found = evidence(fuse(PRODUCT_QA, asked, captions))
        assert [(item.product, item.field, item.quote) for item in found] == [
            ("m1", "title", "Mug"),
            ("m1", "brand", "Tonus"),
            ("m1", "price", "9.5"),
            ("m1", "volume_ml", "350"),
            ("m1", "caption", "a red mug"),
            ("j1", "title", "Jug"),
            (SHOPPERS_IMAGE, "caption", "b a photo"),
        ]
        assert found[4].image == "a" * 64

    def test_products_that_are_not_a_list_give_no_evidence(self) -> None:
        assert evidence(FusedInstance(task="pqa", instruction="", input={"products": "none"})) == []


def test_the_evidence_of_another_input_is_its_texts_then_the_kept_captions() -> None:
    task = get_task("ap")
    read = task.read(RECORDS["ap"], [ImageRef(data=b"1")])
    kept = Caption(
        key="", text="a red mug", image="1" * 64, context=QueryContext(task="ap"), captioner="c", prompt_version="1"
    )
    found = evidence(fuse(task, read, [kept]))
    assert [(item.product, item.field, item.quote) for item in found] == [
        (None, "document", "Sturdy lid.\nFits well."),
        (None, "caption", "a red mug"),
    ]
    listed = evidence(FusedInstance(task="sr", instruction="", input=["1: Tent"]))
    assert [(item.field, item.quote) for item in listed] == [("item 1", "1: Tent")]


def test_an_image_with_an_unknown_place_is_refused() -> None:
    lost = Instance(task="cc", input={"title": "Kettle"}, options=("A: x",), images=(PlacedImage(ref=None, place=1),))
    with pytest.raises(InstanceError, match="image 2 belongs to no text; the instance has 1"):
        get_task("cc").check(lost)


def test_the_example_instances_fit_their_tasks() -> None:
    folder = INSTANCES
    names = {path.stem for path in folder.glob("*.json")}
    assert names == {task.name for task in MMECINSTRUCT}
    for name in names:
        record = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        read = get_task(name).read(record)
        assert read.images
        if read.output is not None:
            assert get_task(name).parse(read.output, read) == read.output
