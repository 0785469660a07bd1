from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from caslie_tools.backends.embedded import EmbeddedPredictor, MiniLMEmbeddings
from caslie_tools.backends.embedded.option_scoring import FEATURES, WEIGHTS, OptionScorer, ProductEvidence
from caslie_tools.backends.embedded.predictor import STRATEGIES
from caslie_tools.domain import Answer, Caption, Evidence, QueryContext
from caslie_tools.exceptions import ModelError
from caslie_tools.pipeline.unim3 import UniM3
from caslie_tools.tasks import MMECINSTRUCT, Decision, ImageSlot, Metric, Task, get_task, register_task
from caslie_tools.tasks.fusion import fuse
from tests.backends.embedded.images import sha


def caption(text: str, *evidence: Evidence) -> Caption:
    return Caption(
        key=sha(text), text=text, image=sha(text), context=QueryContext(task="t"), captioner="c", prompt_version="1",
        evidence=evidence,
    )  # fmt: skip


def resembles(category: str, score: float) -> Evidence:
    return Evidence(kind="resembles", text=category, score=score)


async def solve(
    predictor: EmbeddedPredictor, task: str, data: Any, options: tuple[str, ...] = (), kept: Caption | None = None
) -> Answer:
    images = ["https://shop.example/1.jpg"] if kept else []
    instance = get_task(task).read({"input": data, "options": list(options), "images": images})
    return await predictor.ainvoke(fuse(get_task(task), instance, [kept] if kept else []))


INPUTS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "ap": ({"question": "Is it loud?", "document": ["It is very loud.", "Nice."]}, ()),
    "cc": ({"title": "Granny Smith"}, ("A: Apple", "B: Milk")),
    "prp": ({"product 1": "red kettle", "product 2": "blue kettle"}, ()),
    "psi": ({"query": "kettle", "product title": "red kettle"}, ()),
    "mpc": ({"query": "kettle", "product title": "red kettle"}, ()),
    "sa": ({"review": "I love it"}, ()),
    "sr": (["1st: kettle", "2nd: teapot"], ("A: tea cups", "B: bicycle")),
}


@pytest.mark.parametrize("task", MMECINSTRUCT, ids=lambda task: task.abbreviation)
async def test_each_task_is_answered_with_a_valid_label_and_probabilities(
    predictor: EmbeddedPredictor, task: Any
) -> None:
    data, options = INPUTS[task.abbreviation]
    prediction = await UniM3(predictor).ainvoke(fuse(task, task.read({"input": data, "options": list(options)}), []))

    assert prediction.valid
    assert prediction.label is not None
    assert prediction.probabilities is not None
    assert sum(prediction.probabilities.values()) == pytest.approx(1)
    assert prediction.probabilities[prediction.label] == max(prediction.probabilities.values())


def test_there_is_a_strategy_for_every_kind_of_decision() -> None:
    assert set(STRATEGIES) == set(get_args(Decision))


@pytest.mark.parametrize(
    ("task", "data", "options", "label"),
    [
        ("cc", {"title": "Granny Smith apples, 1 kg"}, ("A: Milk", "B: Apple", "C: Potato"), "B"),
        ("cc", {"title": "Wireless headphones with microphone"}, ("A: Kettles", "B: Jackets", "C: Headsets"), "C"),
        ("sr", ["1st: oat drink", "2nd: almond milk"], ("A: garden hose", "B: soy drink", "C: headlamp"), "B"),
        ("prp", {"product 1": "steel kettle 1.7 l", "product 2": "steel kettle 1.5 l"}, (), "C"),
        ("prp", {"product 1": "garden hose", "product 2": "wool hat"}, (), "A"),
        ("mpc", {"query": "apple juice", "product title": "Bravo apple juice 2 l"}, (), "A"),
        ("mpc", {"query": "apple juice", "product title": "bicycle light for the handlebar"}, (), "D"),
        ("sa", {"review": "Terrible. It broke after a day, a waste of money."}, (), "E"),
        ("sa", {"review": "Excellent, I love it, the best headphones I have ever had!"}, (), "A"),
        (
            "ap",
            {"question": "Is the kettle loud?", "document": ["The kettle is rather loud when it boils."]},
            (),
            "yes",
        ),
        ("ap", {"question": "Is the kettle loud?", "document": ["Arrived on time.", "Pretty box."]}, (), "no"),
        ("psi", {"query": "apple juice", "product title": "bicycle light"}, (), "no"),
    ],
)
async def test_simple_cases_are_solved(
    predictor: EmbeddedPredictor, task: str, data: Any, options: tuple[str, ...], label: str
) -> None:
    assert (await solve(predictor, task, data, options)).text == label


OPTIONS = ("A: Milk", "B: Pear", "C: Potato", "D: Yoghurt")


async def test_a_caption_determines_the_category_without_a_title(predictor: EmbeddedPredictor) -> None:
    kept = caption("It resembles Conference (Fruit > Pear).", resembles("Fruit > Pear", 0.8))
    answer = await solve(predictor, "cc", {"title": ""}, OPTIONS, kept)

    assert answer.text == "B"
    assert answer.probabilities is not None
    assert answer.probabilities["B"] > 0.8


async def test_the_second_best_category_counts_if_the_best_is_not_an_option(predictor: EmbeddedPredictor) -> None:
    kept = caption("It resembles ...", resembles("Fruit > Kiwi", 0.7), resembles("Vegetables > Potato", 0.2))

    assert (await solve(predictor, "cc", {"title": ""}, OPTIONS, kept)).text == "C"


async def test_the_text_of_a_caption_without_evidence_is_used(predictor: EmbeddedPredictor) -> None:
    kept = caption("A carton of strawberry yoghurt on a shelf.")

    assert (await solve(predictor, "cc", {"title": ""}, OPTIONS, kept)).text == "D"


async def test_a_word_with_a_similar_spelling_counts(predictor: EmbeddedPredictor) -> None:
    kept = caption('It reads "GRILLTOMAT".', Evidence(kind="text", text="GRILL TOMAT", score=0.9))

    assert (await solve(predictor, "cc", {"title": ""}, ("A: Tomato", "B: Onion", "C: Leek"), kept)).text == "A"


async def test_a_caption_changes_the_relevance_of_a_product(predictor: EmbeddedPredictor) -> None:
    data = {"query": "apple juice", "product title": "Bravo 2 l"}
    without = await solve(predictor, "mpc", data)
    with_it = await solve(predictor, "mpc", data, kept=caption('It reads "APPLE JUICE".'))

    assert without.probabilities is not None
    assert with_it.probabilities is not None
    assert with_it.probabilities["A"] > without.probabilities["A"]


def test_without_evidence_all_options_are_equally_probable(embeddings: MiniLMEmbeddings) -> None:
    assert OptionScorer(embeddings).probabilities(ProductEvidence(), ["Milk", "Pear"]) == [0.5, 0.5]


def test_each_feature_has_a_weight() -> None:
    assert len(FEATURES) == len(WEIGHTS)


def task_with(**fields: Any) -> Task:
    """Returns a user-defined task whose input is the title of a product."""
    slot = ImageSlot(name="product", focus="{title}", known="{title}", aim="", question="Does it help?", key="image")
    defaults: dict[str, Any] = {"name": "own_task", "abbreviation": "own", "input": TypeAdapter(dict[str, str])}
    return Task(**(defaults | {"image_slots": (slot,)} | fields))


async def test_a_registered_task_with_options_is_a_choice(predictor: EmbeddedPredictor) -> None:
    options = ("A: 30 degrees", "B: 60 degrees")
    metric = Metric(name="accuracy")
    task = task_with(instruction="Choose the temperature.", answers="letter", options=options, metric=metric)
    kept = caption('It reads "WASH 60".', Evidence(kind="text", text="WASH 60 DEGREES", score=0.9))
    with register_task(task):
        assert (await solve(predictor, "own_task", {"title": "Shirt"}, kept=kept)).text == "B"


@pytest.mark.parametrize(("title", "label"), [("Waterproof rain jacket", "yes"), ("Ceramic mug", "no")])
async def test_a_registered_yes_no_task_is_answered_by_the_support_for_its_instruction(
    predictor: EmbeddedPredictor, title: str, label: str
) -> None:
    metric = Metric(name="f1", positive="yes")
    task = task_with(instruction="Is the jacket waterproof?", answers="yes_no", metric=metric)
    with register_task(task):
        assert (await solve(predictor, "own_task", {"title": title})).text == label


async def test_a_registered_open_task_is_answered_by_a_quote(predictor: EmbeddedPredictor) -> None:
    task = task_with(instruction="What colour is it?", answers="text")
    with register_task(task):
        answer = await solve(predictor, "own_task", {"title": "Mug"}, kept=caption("It is mostly red."))
    assert answer.answerable
    assert answer.text == "Mug: It is mostly red."
    assert [citation.field for citation in answer.citations] == ["caption"]


async def test_a_decision_with_another_number_of_answers_is_an_error(predictor: EmbeddedPredictor) -> None:
    task = task_with(
        instruction="Choose.", answers="letter", options=("A: exact", "B: irrelevant"),
        metric=Metric(name="accuracy"), decision="relevance",
    )  # fmt: skip
    with register_task(task), pytest.raises(ModelError, match=r"own_task: .* 'relevance' between 4 answers, .* has 2"):
        await solve(predictor, "own_task", {"title": "Mug"})
