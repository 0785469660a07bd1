"""Instruction data about the light products, and helpers to evaluate it."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caslie_tools.caslie import Caslie
from caslie_tools.data.records import Record, read_record
from caslie_tools.domain import Answer
from caslie_tools.evaluation.outcomes import Outcome
from caslie_tools.profiles.profile import Profile
from caslie_tools.roles.interfaces import Captioner, Judge, Models, Predictor, VisionPredictor
from caslie_tools.settings import Settings
from caslie_tools.store import CaptionStore
from caslie_tools.tasks import FusedInstance, get_task
from tests.doubles import FunctionPredictor, HashEmbeddings, HashPictures, light_models, light_products

RED_MUG = "Colour: red. Label: 350 ML."
"""The light captioner's caption of the mug without a context."""


def raw(task: str, text: Any, output: str, *images: str | None, **fields: Any) -> dict[str, Any]:
    """One raw record."""
    record = {"task": task, "split": "test", "input": json.dumps(text), "output": output, "images": json.dumps(images)}
    return record | {"options": json.dumps(get_task(task).fixed_options), "instruction": "Do it."} | fields


def relevance(query: str, title: str, output: str, image: str | None = "mug-1.png", **fields: Any) -> dict[str, Any]:
    """A record of multiclass_product_classification."""
    return raw("multiclass_product_classification", {"query": query, "product title": title}, output, image, **fields)


def question(text: str, output: str, product: str = "mug", **fields: Any) -> dict[str, Any]:
    """A record of product_qa about one of the light products."""
    products = [{"id": product, "title": f"The {product}"}]
    return raw("product_qa", {"question": text, "products": products}, output, f"{product}-1.png", **fields)


def record_of(folder: Path, record: dict[str, Any], index: int = 0) -> Record:
    """Reads a raw record. The pictures of the light products are drawn into the folder."""
    light_products(folder)
    return read_record(index, record, base=folder)


def write_data(folder: Path, records: Sequence[Any]) -> Path:
    """Writes JSON Lines next to the pictures of the light products. A string is written as it is."""
    light_products(folder)
    path = folder / "data.jsonl"
    lines = (record if isinstance(record, str) else json.dumps(record) for record in records)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def many(count: int) -> list[dict[str, Any]]:
    """Records of three tasks in turn. The right answers are A to D, names of colours, and yes and no."""
    names, colours = ("mug", "jacket", "bottle", "lamp"), ("red", "blue", "green", "white")
    records = []
    for number in range(count):
        name, colour = names[number % 4], colours[number % 4]
        image = f"{name}-1.png"
        captions = json.dumps([f"A {colour} thing."])
        records += [
            relevance(f"query {number}", f"Title {number}", "ABCD"[number % 4], image, caption_info=captions),
            question(f"Which colour is number {number}?", colour, name, caption_info=captions),
            raw(
                "product_substitute_identification",
                {"query": f"something {colour}", "product title": f"Thing {number}"},
                ("yes", "no")[number % 2],
                image,
            ),
        ]
    return records[:count]


def comparable(outcomes: list[Outcome]) -> list[Any]:
    """Outcomes without the values that differ between equal runs: the times, and whether a caption was cached."""
    plain = [outcome.model_dump() for outcome in outcomes]
    for outcome in plain:
        for treated in outcome["treatments"].values():
            cost = treated["cost"]
            cost["captions"] = cost.pop("captioner_calls") + cost.pop("cached_captions")
            del cost["seconds"]
    return plain


def predicting(function: Callable[[FusedInstance], Answer | str]) -> FunctionPredictor:
    """A predictor that calls a function."""
    return FunctionPredictor(function, name="predictor")


@contextmanager
def opened(
    folder: Path,
    *,
    captioner: Captioner | None = None,
    judges: Sequence[Judge] = (),
    predictor: Predictor | None = None,
    vision_predictor: VisionPredictor | None = None,
    text_tokens: int | None = None,
    claim_judge: Judge | None = None,
    **settings: Any,
) -> Iterator[Caslie]:
    """Opens a store in a folder, with the light models. Given models replace them."""

    def models(store: CaptionStore) -> Models:
        light = light_models(store)
        return Models(
            captioners=[captioner] if captioner is not None else light.captioners,
            judges=judges or light.judges,
            predictor=predictor or light.predictor,
            vision_predictor=vision_predictor,
            text_tokens=text_tokens,
            claim_judge=claim_judge,
        )

    profile = Profile(name="light", embeddings=HashEmbeddings(), image_embeddings=HashPictures(), models=models)
    with Caslie.open(folder / "store", profile=profile, settings=Settings(**settings)) as caslie:
        yield caslie
