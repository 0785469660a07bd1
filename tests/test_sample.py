import csv
import json
import re
import subprocess
import sys
import unicodedata
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caslie_tools.catalogue.reading import read_catalogue
from caslie_tools.domain import Product
from caslie_tools.exceptions import InputError
from caslie_tools.sample import DEMO_QUESTIONS, DemoQuestion, catalogue_path
from caslie_tools.sample.canvas import SIDE, Canvas
from caslie_tools.sample.draw import COLOURS, PICTURES, Picture, draw
from caslie_tools.tasks import get_task
from tests.paths import ROOT

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
"""Task and number of images of its example."""


@cache
def products() -> dict[str, dict[str, str]]:
    with catalogue_path().open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["id"] for row in rows}) == len(rows), "ids are not unique"
    return {row["id"]: row for row in rows}


def pictures_of(product: str) -> list[Picture]:
    by_file = {f"images/{picture.file}": picture for picture in PICTURES}
    return [by_file[image] for image in products()[product]["image"].split("|")]


def text_of(product: str) -> str:
    return "\n".join(value for name, value in products()[product].items() if name not in {"id", "image"})


def plain(text: str) -> str:
    """Text as facts are compared: but for case, spaces and ways to write the same character."""
    return "".join(unicodedata.normalize("NFKC", text).split()).casefold()


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), dtype=np.int16)


def test_every_product_is_complete() -> None:
    assert 28 <= len(products()) <= 36
    for row in products().values():
        assert None not in row, f"{row['id']} has more values than columns"
        assert all(row[name] for name in ("id", "title", "description", "category", "price", "brand", "image"))
        assert float(row["price"]) > 0
        assert row["category"].count(" > ") == 1
    read = list(read_catalogue(catalogue_path()))
    assert [product.id for product in read if isinstance(product, Product)] == list(products())


def test_similar_products_stand_beside_each_other() -> None:
    categories = [row["category"] for row in products().values()]
    assert sum(categories.count(category) > 1 for category in set(categories)) >= 6


def test_every_picture_belongs_to_one_product() -> None:
    images = [image for row in products().values() for image in row["image"].split("|")]
    assert sorted(images) == sorted(f"images/{picture.file}" for picture in PICTURES)
    assert sorted(images) == sorted(
        str(path.relative_to(catalogue_path().parent)) for path in catalogue_path().parent.glob("images/*")
    )
    assert any("|" in row["image"] for row in products().values())


def test_enough_pictures_matter_and_enough_do_not() -> None:
    matter = [id_ for id_ in products() if any(picture.facts for picture in pictures_of(id_))]
    nothing = [id_ for id_ in products() if all(picture.adds_nothing for picture in pictures_of(id_))]
    assert len(matter) >= 18
    assert 6 <= len(nothing) <= 10


@pytest.mark.parametrize("product", products())
def test_facts_of_a_picture_stand_only_there(product: str) -> None:
    text = text_of(product)
    for picture in pictures_of(product):
        for fact in picture.facts:
            assert plain(fact) not in plain(text)
        if picture.facts:
            assert not re.search(rf"\b{picture.colour}\b", text, re.IGNORECASE)


@pytest.mark.parametrize("picture", [picture for picture in PICTURES if picture.facts], ids=lambda p: p.file)
def test_a_picture_shows_the_colour_it_tells(picture: Picture) -> None:
    shown = pixels(Image.open(catalogue_path().parent / "images" / picture.file))
    distance = {
        name: np.abs(shown - np.array([int(value[i : i + 2], 16) for i in (1, 3, 5)])).max(axis=-1)
        for name, value in COLOURS.items()
    }
    share = {name: float((apart < 12).mean()) for name, apart in distance.items()}
    assert max(share, key=lambda name: share[name]) == picture.colour
    assert share[picture.colour] > 0.05


def test_the_script_draws_the_committed_pictures(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "caslie_tools.sample.draw", str(tmp_path / "one")]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    assert said.stdout.startswith(f"{len(PICTURES)} pictures")
    draw(tmp_path / "two")
    for picture in PICTURES:
        one, two = (tmp_path / run / picture.file for run in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
        with Image.open(one) as drawn, Image.open(catalogue_path().parent / "images" / picture.file) as committed:
            assert drawn.size == committed.size == (SIDE, SIDE)
            # Font rasterisers differ a little from one version to the next.
            assert np.abs(pixels(drawn) - pixels(committed)).mean() < 1.5, picture.file


def test_the_pictures_are_small() -> None:
    assert sum(path.stat().st_size for path in catalogue_path().parent.glob("images/*.png")) < 1_500_000


def test_text_recognition_reads_every_fact_and_nothing_new_elsewhere() -> None:
    rapidocr = pytest.importorskip("rapidocr", reason="the extra 'embedded' is not installed")
    recognise = rapidocr.RapidOCR()
    for product in products():
        for picture in pictures_of(product):
            result = recognise(str(catalogue_path().parent / "images" / picture.file))
            words = list(result.txts or ())
            seen = plain(" ".join(words))
            assert [fact for fact in picture.facts if plain(fact) not in seen] == [], f"{picture.file}: {words}"
            if picture.adds_nothing:
                # An outline can pass for a letter or two; a placeholder says what it is.
                known = plain(text_of(product)) + plain("photo coming soon")
                assert all(len(plain(word)) < 3 or plain(word) in known for word in words), f"{picture.file}: {words}"


@pytest.mark.parametrize("demo", DEMO_QUESTIONS, ids=lambda demo: demo.question)
def test_a_demo_question_is_answered_where_it_says(demo: DemoQuestion) -> None:
    facts = {plain(fact) for picture in pictures_of(demo.answered_by) for fact in picture.facts}
    assert (plain(demo.expected) in facts) == demo.from_picture
    assert (plain(demo.expected) in plain(text_of(demo.answered_by))) != demo.from_picture
    assert demo.product in {None, demo.answered_by}
    title = products()[demo.answered_by]["title"]
    assert demo.product is None or title in demo.question


def test_the_demo_shows_each_kind_of_question() -> None:
    fact, text, search = DEMO_QUESTIONS
    assert fact.from_picture
    assert not text.from_picture
    assert all(picture.adds_nothing for picture in pictures_of(text.answered_by))
    # Without the price filter two products would answer; with it, one of several candidates does.
    assert search.product is None
    assert search.where == "price < 50"
    holders = {
        id_ for id_ in products() if "750ml" in {plain(f) for picture in pictures_of(id_) for f in picture.facts}
    }
    assert {id_ for id_ in holders if float(products()[id_]["price"]) < 50} == {search.answered_by}
    assert holders - {search.answered_by}
    assert len([id_ for id_, row in products().items() if "Bottles" in row["category"]]) >= 4


def test_there_is_an_example_of_every_task() -> None:
    assert {path.stem for path in INSTANCES.iterdir()} == set(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_an_example_has_the_datasets_form(task: str) -> None:
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


def test_a_label_without_room_is_refused() -> None:
    with pytest.raises(InputError, match="no room for 'A LONG LINE OF TEXT'"):
        Canvas().label((0, 0, 200, 100), ["A LONG LINE OF TEXT"])


def test_a_silhouette_has_no_text_and_one_colour() -> None:
    canvas = Canvas("#ffffff", ink="#808080")
    canvas.box((100, 100, 540, 540), "#ff0000")
    canvas.label((200, 200, 440, 440), ["TEXT"])
    canvas.shade((100, 100, 540, 540))
    shown = pixels(canvas.finish())
    assert (shown == shown[..., :1]).all()
    assert (shown[SIDE // 4 : SIDE // 4 * 3, SIDE // 4 : SIDE // 4 * 3] == 0x80).all()
    assert shown.min() == 0x80
