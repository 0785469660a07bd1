import asyncio
import json
from typing import Any

import pytest

from caslie_tools.domain import Answer, Citation
from caslie_tools.exceptions import ModelError, UnknownTaskError
from caslie_tools.pipeline.unim3 import UniM3
from caslie_tools.tasks import FusedInstance, get_task
from caslie_tools.tasks.fusion import fuse
from tests.doubles import FunctionPredictor, raising
from tests.event_loop import settle
from tests.tasks.records import RECORDS, REFS, caption, fused

QUESTION = FusedInstance(
    task="product_qa",
    instruction="Answer.",
    input={"question": "Is it red?", "products": [{"id": "m1", "title": "Becher, süß"}]},
)


def answers(answer: Any) -> UniM3:
    return UniM3(FunctionPredictor(lambda instance: answer))


@pytest.mark.parametrize(
    ("short", "text", "label"),
    [
        ("psi", "Yes.", "yes"),
        ("ap", "no", "no"),
        ("cc", "B", "B"),
        ("cc", "kettles", "B"),
        ("mpc", "Answer: D", "D"),
        ("sr", "(C)", "C"),
        ("sa", "very negative", "E"),
    ],
)
async def test_a_closed_answer_is_read_as_a_label(short: str, text: str, label: str) -> None:
    prediction = await answers(text).ainvoke(fused(short))
    assert (prediction.label, prediction.text, prediction.task) == (label, text, get_task(short).name)
    assert prediction.valid


@pytest.mark.parametrize(("short", "text"), [("psi", "perhaps"), ("cc", "E"), ("sr", ""), ("sa", "A or B")])
async def test_an_answer_that_is_none_of_the_tasks_stays_and_is_invalid(short: str, text: str) -> None:
    prediction = await answers(text).ainvoke(fused(short))
    assert (prediction.label, prediction.text, prediction.valid) == (None, text, False)


async def test_a_closed_answer_cannot_pass_as_an_open_one() -> None:
    prediction = await answers(Answer(text="perhaps", answerable=True)).ainvoke(fused("psi"))
    assert (prediction.answerable, prediction.valid) == (None, False)


async def test_probabilities_are_given_for_the_tasks_labels_only() -> None:
    answer = Answer(text="B", probabilities={"B": 0.7, "Z": 0.1})
    prediction = await answers(answer).ainvoke(fused("cc"))
    assert prediction.probabilities == {"A": 0.0, "B": 0.7}
    assert (await answers("B").ainvoke(fused("cc"))).probabilities is None


class TestOpenQuestion:
    async def test_it_keeps_its_words_and_citations(self) -> None:
        cited = (Citation(product="m1", field="title", quote="Becher, süß"),)
        prediction = await answers(Answer(text="It is red.", citations=cited, answerable=True)).ainvoke(QUESTION)
        assert (prediction.label, prediction.text, prediction.citations) == (None, "It is red.", cited)
        assert prediction.answerable
        assert prediction.valid

    async def test_it_can_be_unanswerable_which_is_a_valid_answer(self) -> None:
        prediction = await answers(Answer(text="Not said.", answerable=False)).ainvoke(QUESTION)
        assert (prediction.answerable, prediction.valid) == (False, True)

    @pytest.mark.parametrize(("text", "answerable"), [("It is red.", True), (" \n", False)])
    async def test_a_predictor_that_does_not_say_is_taken_at_its_words(self, text: str, answerable: bool) -> None:
        assert (await answers(text).ainvoke(QUESTION)).answerable is answerable


async def test_a_prediction_says_what_the_predictor_saw() -> None:
    task = get_task("cc")
    kept = caption("A kettle, matt schwarz: größer.")
    instance = fuse(task, task.read(RECORDS["cc"], REFS[:2]), [kept, None])
    predictor = FunctionPredictor(lambda instance: "B")
    prediction = await UniM3(predictor).ainvoke(instance)
    assert predictor.requests == [instance]
    assert prediction.captions == (kept,)
    assert json.loads(prediction.fused) == instance.input
    assert "größer" in prediction.fused


class TestFailure:
    async def test_it_names_the_predictor_but_not_its_message(self) -> None:
        error = ConnectionError("https://api.example/?key=hunter2")
        step = UniM3(FunctionPredictor(raising(error), name="caslie-m"))
        with pytest.raises(ModelError, match=r"caslie-m failed \(ConnectionError\)") as caught:
            await step.ainvoke(QUESTION)
        assert caught.value.__cause__ is error
        assert "hunter2" not in str(caught.value)

    async def test_our_own_errors_pass_as_they_are(self) -> None:
        error = ModelError("the endpoint does not constrain its choices")
        with pytest.raises(ModelError) as caught:
            await UniM3(FunctionPredictor(raising(error))).ainvoke(QUESTION)
        assert caught.value is error

    @pytest.mark.virtual_time
    async def test_a_predictor_that_hangs_runs_out_of_time(self) -> None:
        async def hang(instance: FusedInstance) -> str:
            await asyncio.Event().wait()
            return ""

        predictor = FunctionPredictor(hang)
        with pytest.raises(ModelError, match="TimeoutError"):
            await UniM3(predictor, timeout_seconds=0.01).ainvoke(QUESTION)
        assert predictor.running == 0

    async def test_a_predictor_that_answers_nonsense_has_failed(self) -> None:
        class Odd(FunctionPredictor):
            def _answer(self, value: object) -> Answer:
                return None  # type: ignore[return-value]

        with pytest.raises(ModelError, match="failed"):
            await UniM3(Odd(lambda instance: "B")).ainvoke(fused("cc"))

    async def test_an_unknown_task_is_refused_before_the_model_is_asked(self) -> None:
        predictor = FunctionPredictor(lambda instance: "B")
        with pytest.raises(UnknownTaskError):
            await UniM3(predictor).ainvoke(FusedInstance(task="poetry", instruction="", input={}))
        assert predictor.calls == 0


def test_a_batch_keeps_its_order_and_the_bound() -> None:
    async def work(instance: FusedInstance) -> str:
        await settle()
        return "A" if instance.task == "category_classification" else "no"

    predictor = FunctionPredictor(work)
    predictions = UniM3(predictor, max_concurrency=2).batch([fused("cc"), fused("psi")] * 4)
    assert [prediction.label for prediction in predictions] == ["A", "no"] * 4
    assert predictor.peak == 2
