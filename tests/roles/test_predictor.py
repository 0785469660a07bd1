from typing import Any

import pytest
from langchain_core.language_models import FakeListLLM

from caslie_tools.domain import Product
from caslie_tools.exceptions import InputError
from caslie_tools.pipeline.unim3 import UniM3
from caslie_tools.roles.predictor import ModelPredictor
from caslie_tools.roles.prompts import NOT_ANSWERABLE
from caslie_tools.tasks import PRODUCT_QA, FusedInstance, PlacedImage, get_task, product_question
from caslie_tools.tasks.fusion import fuse
from caslie_tools.tasks.layouts import render
from tests.doubles import RecordingChatModel, RecordingLLM
from tests.roles.prompt_data import data_of
from tests.tasks.records import COMPLETE, REFS, caption, fused


class TestClosedTask:
    async def test_the_prompt_names_the_labels_and_passes_input_and_options_as_data(self) -> None:
        model = RecordingChatModel(replies=[" B \n"])
        answer = await ModelPredictor(model).ainvoke(fused("cc"))
        assert (answer.text, answer.answerable, answer.probabilities) == ("B", None, None)
        (prompt,) = model.texts
        assert data_of(prompt) == {"input": {"title": "Kettle"}, "options": ["A: Toasters", "B: Kettles"]}
        assert "exactly one of: A, B." in prompt

    async def test_the_prompt_of_a_task_without_options_has_none(self) -> None:
        model = RecordingChatModel(replies=["yes"])
        await ModelPredictor(model).ainvoke(fused("psi"))
        assert "options" not in data_of(model.texts[0])
        assert "exactly one of: yes, no." in model.texts[0]

    async def test_free_text_is_read_as_a_label_or_counts_as_invalid(self) -> None:
        task = get_task("cc")
        instance = task.read(COMPLETE["cc"])
        for text, label in ((" B: Kettles", "B"), ("It is hard to say.", None)):
            predictor = ModelPredictor(RecordingLLM(reply=text), layout="mistral", decoding="sampled")
            prediction = await UniM3(predictor).ainvoke(fuse(task, instance, []))
            assert (prediction.label, prediction.text, prediction.valid) == (label, text.strip(), label is not None)


def question() -> FusedInstance:
    instance = product_question("Is it red?", [Product(id="m1", title="Mug"), Product(id="j1", title="Jug")])
    images = (PlacedImage(ref=REFS[0], place=1, product="j1"),)
    return fuse(PRODUCT_QA, instance.model_copy(update={"images": images}), [caption("A red jug.")])


class TestOpenQuestion:
    async def test_the_prompt_numbers_the_evidence_and_the_answer_cites_it(self) -> None:
        model = RecordingChatModel(replies=["The jug is red [3], and so it is called [2]. Sure [3]."])
        answer = await ModelPredictor(model).ainvoke(question())
        assert [item["number"] for item in data_of(model.texts[0])["evidence"]] == [1, 2, 3]
        assert [(item.product, item.field, item.quote) for item in answer.citations] == [
            ("j1", "caption", "A red jug."),
            ("j1", "title", "Jug"),
        ]
        assert answer.answerable

    @pytest.mark.parametrize(("response", "cited"), [("Red [1, 3].", ["Mug", "A red jug."]), ("Red [0] [4] [99].", [])])
    async def test_numbers_without_evidence_are_ignored(self, response: str, cited: list[str]) -> None:
        answer = await ModelPredictor(RecordingChatModel(replies=[response])).ainvoke(question())
        assert [item.quote for item in answer.citations] == cited

    @pytest.mark.parametrize("response", [NOT_ANSWERABLE, "Not answerable.", f"**{NOT_ANSWERABLE}**"])
    async def test_a_model_can_report_that_the_evidence_does_not_answer_it(self, response: str) -> None:
        answer = await ModelPredictor(RecordingChatModel(replies=[response])).ainvoke(question())
        assert (answer.answerable, answer.citations) == (False, ())

    async def test_an_empty_response_is_no_answer(self) -> None:
        assert (await ModelPredictor(RecordingChatModel(replies=[" "])).ainvoke(question())).answerable is False

    @pytest.mark.parametrize(
        ("title", "response", "answerable", "cited"),
        [
            ("NOT ANSWERABLE lamp", "The NOT ANSWERABLE lamp is red [1].", True, 1),
            ("Lamp [2]", "The Lamp [2] is red.", True, 0),
            ("Lamp [2]", "Lamp [2] is red [1].", True, 1),
            ("Lamp [2, 1] of [1]", "It is the Lamp [2, 1] of [1].", True, 0),
            ("Lamp", "I looked at all of it. NOT ANSWERABLE.", False, 0),
            ("Lamp", "**Not answerable**: the texts do not say so.", False, 0),
            ("Lamp", "It is not answerable by the label, but red [1].", True, 1),
        ],
    )
    async def test_the_text_of_a_product_is_no_signal(
        self, title: str, response: str, answerable: bool, cited: int
    ) -> None:
        instance = fuse(PRODUCT_QA, product_question("Is it red?", [Product(id="l", title=title)]), [])
        answer = await ModelPredictor(RecordingChatModel(replies=[response])).ainvoke(instance)
        assert answer.answerable is answerable
        assert [item.quote for item in answer.citations] == [title] * cited


class TestRawCompletion:
    @pytest.mark.parametrize("layout", ["alpaca", "mistral"])
    async def test_the_prompt_is_the_raw_layout_and_the_response_is_used_whole(self, layout: Any) -> None:
        model = RecordingLLM(reply=" B: Kettles\n### Response: A")
        answer = await ModelPredictor(model, layout=layout).ainvoke(fused("cc"))
        assert model.prompts == [render(fused("cc"), layout)]
        assert answer.text == "B: Kettles\n### Response: A"

    async def test_an_llm_gets_the_alpaca_layout_by_default(self) -> None:
        model = RecordingLLM(reply="B")
        await ModelPredictor(model).ainvoke(fused("cc"))
        assert model.prompts == [render(fused("cc"), "alpaca")]

    async def test_the_prompt_has_the_wire_format_of_the_fused_text(self) -> None:
        task, model = get_task("psi"), RecordingLLM(reply="yes")
        instance = task.read(COMPLETE["psi"])
        for wire in ("corrected", "paper"):
            await ModelPredictor(model).ainvoke(fuse(task, instance, [], wire=wire))
        assert ["### Options" in prompt for prompt in model.prompts] == [False, True]

    def test_any_llm_of_langchain_works(self) -> None:
        predictor = ModelPredictor(FakeListLLM(responses=["no"]), name="caslie-s")
        assert predictor.get_name() == "caslie-s"
        assert predictor.invoke(fused("psi")).text == "no"

    def test_a_chat_model_cannot_have_a_layout(self) -> None:
        with pytest.raises(InputError, match="recording-chat-model cannot continue raw text in the layout 'mistral'"):
            ModelPredictor(RecordingChatModel(replies=["B"]), layout="mistral")
