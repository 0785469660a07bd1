import csv
import hashlib
import json
import re
import sqlite3
import subprocess
import sys
import unicodedata
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from caslie_tools.catalogue.reading import read_catalogue
from caslie_tools.domain import Product
from caslie_tools.exceptions import InputError
from caslie_tools.sample import DEMO_QUESTIONS, DemoQuestion, catalogue_path
from caslie_tools.sample.canvas import SIDE, Canvas
from caslie_tools.sample.draw import COLOURS, DRAWINGS, Drawing, draw_images
from caslie_tools.tasks import get_task
from tests.paths import ROOT
from tests.shop import DATABASE

INSTANCES = ROOT / "examples" / "instances"
TASKS = {
    "answerability_prediction": 1,
    "category_classification": 1,
    "product_relation_prediction": 2,
    "product_substitute_identification": 1,
    "multiclass_product_classification": 1,
    "sentiment_analysis": 1,
    "sequential_recommendation": 8,
}
"""From a task to the number of images in its example."""


@cache
def products() -> dict[str, dict[str, str]]:
    with catalogue_path().open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["id"] for row in rows}) == len(rows), "ids are not unique"
    return {row["id"]: row for row in rows}


def drawings_of(product: str) -> list[Drawing]:
    by_file = {f"images/{drawing.file}": drawing for drawing in DRAWINGS}
    return [by_file[image] for image in products()[product]["image"].split("|")]


def text_of(product: str) -> str:
    return "\n".join(value for name, value in products()[product].items() if name not in {"id", "image"})


def plain(text: str) -> str:
    """Returns a text in the form in which facts are compared: without case, spaces and Unicode variants."""
    return "".join(unicodedata.normalize("NFKC", text).split()).casefold()


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), dtype=np.int16)


def test_each_product_has_all_required_fields() -> None:
    assert 28 <= len(products()) <= 36
    for row in products().values():
        assert None not in row, f"{row['id']} has more values than columns"
        assert all(row[name] for name in ("id", "title", "description", "category", "price", "brand", "image"))
        assert float(row["price"]) > 0
        assert row["category"].count(" > ") == 1
    read = list(read_catalogue(catalogue_path()))
    assert [product.id for product in read if isinstance(product, Product)] == list(products())


def test_several_categories_have_more_than_one_product() -> None:
    categories = [row["category"] for row in products().values()]
    assert sum(categories.count(category) > 1 for category in set(categories)) >= 6


def test_each_image_belongs_to_one_product() -> None:
    images = [image for row in products().values() for image in row["image"].split("|")]
    assert sorted(images) == sorted(f"images/{drawing.file}" for drawing in DRAWINGS)
    assert sorted(images) == sorted(
        str(path.relative_to(catalogue_path().parent)) for path in catalogue_path().parent.glob("images/*")
    )
    assert any("|" in row["image"] for row in products().values())


def test_many_images_add_facts_and_some_add_nothing() -> None:
    informative = [id_ for id_ in products() if any(drawing.facts for drawing in drawings_of(id_))]
    uninformative = [id_ for id_ in products() if all(drawing.adds_nothing for drawing in drawings_of(id_))]
    assert len(informative) >= 18
    assert 6 <= len(uninformative) <= 10


@pytest.mark.parametrize("product", products())
def test_the_facts_in_an_image_are_not_in_the_text(product: str) -> None:
    text = text_of(product)
    for drawing in drawings_of(product):
        for fact in drawing.facts:
            assert plain(fact) not in plain(text)
        if drawing.facts:
            assert not re.search(rf"\b{drawing.colour}\b", text, re.IGNORECASE)


@pytest.mark.parametrize(
    "drawing", [drawing for drawing in DRAWINGS if drawing.facts], ids=lambda drawing: drawing.file
)
def test_an_image_mostly_has_its_colour(drawing: Drawing) -> None:
    shown = pixels(Image.open(catalogue_path().parent / "images" / drawing.file))
    distance = {
        name: np.abs(shown - np.array([int(value[i : i + 2], 16) for i in (1, 3, 5)])).max(axis=-1)
        for name, value in COLOURS.items()
    }
    share = {name: float((differences < 12).mean()) for name, differences in distance.items()}
    assert max(share, key=lambda name: share[name]) == drawing.colour
    assert share[drawing.colour] > 0.05


def test_the_script_draws_the_committed_images(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "caslie_tools.sample.draw", str(tmp_path / "one")]
    finished = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    assert finished.stdout.startswith(f"{len(DRAWINGS)} images")
    draw_images(tmp_path / "two")
    for drawing in DRAWINGS:
        one, two = (tmp_path / run / drawing.file for run in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
        with Image.open(one) as drawn, Image.open(catalogue_path().parent / "images" / drawing.file) as committed:
            assert drawn.size == committed.size == (SIDE, SIDE)
            # Versions of the font rasteriser differ slightly.
            assert np.abs(pixels(drawn) - pixels(committed)).mean() < 1.5, drawing.file


def test_the_image_files_are_small() -> None:
    assert sum(path.stat().st_size for path in catalogue_path().parent.glob("images/*.png")) < 1_500_000


def test_text_recognition_finds_each_fact_and_no_other_new_text(sample_demo: tuple[Path, Any]) -> None:
    store, _ = sample_demo
    with closing(sqlite3.connect(f"{(store / DATABASE).as_uri()}?mode=ro", uri=True)) as database:
        analyses = {image: json.loads(text) for image, text in database.execute("SELECT image, json FROM observations")}
    for product in products():
        for drawing in drawings_of(product):
            image = (catalogue_path().parent / "images" / drawing.file).read_bytes()
            words = [line["text"] for line in analyses[hashlib.sha256(image).hexdigest()]["text"]]
            recognised = plain(" ".join(words))
            missing = [fact for fact in drawing.facts if plain(fact) not in recognised]
            assert missing == [], f"{drawing.file}: {words}"
            if drawing.adds_nothing:
                # An outline may be recognised as one or two letters. A placeholder has a text of its own.
                known = plain(text_of(product)) + plain("photo coming soon")
                assert all(len(plain(word)) < 3 or plain(word) in known for word in words), f"{drawing.file}: {words}"


@pytest.mark.parametrize("demo", DEMO_QUESTIONS, ids=lambda demo: demo.question)
def test_only_the_stated_source_answers_a_demo_question(demo: DemoQuestion) -> None:
    facts = {plain(fact) for drawing in drawings_of(demo.answered_by) for fact in drawing.facts}
    assert (plain(demo.expected) in facts) == demo.from_image
    assert (plain(demo.expected) in plain(text_of(demo.answered_by))) != demo.from_image
    assert demo.product in {None, demo.answered_by}
    title = products()[demo.answered_by]["title"]
    assert demo.product is None or title in demo.question


def test_the_demo_contains_each_kind_of_question() -> None:
    fact, text, search = DEMO_QUESTIONS
    assert fact.from_image
    assert not text.from_image
    assert all(drawing.adds_nothing for drawing in drawings_of(text.answered_by))
    # Without the price filter, two products answer the question. With the filter, only one does.
    assert search.product is None
    assert search.where == "price < 50"
    holders = {
        id_ for id_ in products() if "750ml" in {plain(fact) for drawing in drawings_of(id_) for fact in drawing.facts}
    }
    assert {id_ for id_ in holders if float(products()[id_]["price"]) < 50} == {search.answered_by}
    assert holders - {search.answered_by}
    assert len([id_ for id_, row in products().items() if "Bottles" in row["category"]]) >= 4


def test_each_task_has_an_example() -> None:
    assert {path.stem for path in INSTANCES.iterdir()} == set(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_an_example_has_the_format_of_the_dataset(task: str) -> None:
    instance = json.loads((INSTANCES / f"{task}.json").read_text(encoding="utf-8"))
    assert set(instance) == {"instruction", "input", "options", "images", "output"}
    assert len(instance["images"]) == TASKS[task]
    assert all(
        (INSTANCES / image).resolve().parent == catalogue_path().parent / "images" for image in instance["images"]
    )
    assert all((INSTANCES / image).is_file() for image in instance["images"])
    definition = get_task(task)
    read = definition.read(instance)
    assert len(definition.places(read)) == TASKS[task]
    assert instance["output"] in definition.labels(read)


def test_a_line_too_long_for_its_label_is_an_error() -> None:
    with pytest.raises(InputError, match="no room for 'A LONG LINE OF TEXT'"):
        Canvas().label((0, 0, 200, 100), ["A LONG LINE OF TEXT"])


def test_a_silhouette_has_a_single_colour_and_no_text() -> None:
    canvas = Canvas("#ffffff", ink="#808080")
    canvas.box((100, 100, 540, 540), "#ff0000")
    canvas.label((200, 200, 440, 440), ["TEXT"])
    canvas.shade((100, 100, 540, 540))
    shown = pixels(canvas.finish())
    assert (shown == shown[..., :1]).all()
    assert (shown[SIDE // 4 : SIDE // 4 * 3, SIDE // 4 : SIDE // 4 * 3] == 0x80).all()
    assert shown.min() == 0x80
