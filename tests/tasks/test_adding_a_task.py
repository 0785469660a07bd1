"""One definition adds a task to the whole package: requests, tools, data, evaluation, and the command line."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from pydantic import TypeAdapter

from caslie_tools import Caslie, Settings
from caslie_tools.data.checking import check_data
from caslie_tools.data.reading import read_records
from caslie_tools.data.records import Record
from caslie_tools.data.statistics import data_statistics
from caslie_tools.data.writing import write_records
from caslie_tools.domain import ImageRef, Product
from caslie_tools.evaluation.evaluate import evaluate
from caslie_tools.evaluation.groups import group_outcomes
from caslie_tools.evaluation.metrics import score_answers
from caslie_tools.evaluation.reading import read_outcomes
from caslie_tools.evaluation.report import write_report
from caslie_tools.evaluation.treatment_scores import score_treatments
from caslie_tools.exceptions import InstanceError, UnknownTaskError
from caslie_tools.roles.prompts import question_prompt
from caslie_tools.tasks import (
    TASKS,
    FusedInstance,
    ImageSlot,
    Instance,
    Task,
    get_task,
    product_question,
    register_task,
)
from tests.cli.commands import finish, start
from tests.doubles import draw_picture, light_profile
from tests.paths import ROOT
from tests.tasks.care_label import CARE_LABEL, care_record

LABEL_30 = draw_picture("WASH 30 DEGREES", "white")
LABEL_60 = draw_picture("WASH 60 DEGREES", "grey")


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    before = dict(TASKS)
    with register_task(CARE_LABEL):
        yield
    assert dict(TASKS) == before


@pytest.fixture
def caslie(tmp_path: Path) -> Iterator[Caslie]:
    with Caslie.open(tmp_path / "store", profile=light_profile(), settings=Settings()) as caslie:
        yield caslie


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A dataset of the new task, with its images beside it."""
    (tmp_path / "30.png").write_bytes(LABEL_30)
    (tmp_path / "60.png").write_bytes(LABEL_60)
    records = [
        care_record(f"Shirt {number}", "AB"[number % 2], ("30.png", "60.png")[number % 2], id=f"shirt-{number}")
        for number in range(6)
    ]
    path = tmp_path / "dataset.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


class TestPredict:
    @pytest.mark.parametrize(("image", "label"), [(LABEL_30, "A"), (LABEL_60, "B")])
    @pytest.mark.parametrize("name", ["care_label", "cl"])
    def test_the_caption_of_the_image_decides_the_answer(
        self, caslie: Caslie, name: str, image: bytes, label: str
    ) -> None:
        response = caslie.predict(name, {"title": "Merino shirt"}, images=[image])
        assert response.prediction.label == label
        assert response.image_results[0].kept
        assert "information on the care label" in json.loads(response.prediction.fused)
        assert (response.products, response.warnings) == ((), ())

    def test_without_images_the_text_is_used_alone(self, caslie: Caslie) -> None:
        response = caslie.predict("care_label", {"title": "60 degrees shirt"}, images=[LABEL_30], use_images=False)
        assert response.prediction.label == "B"

    def test_an_input_of_another_form_is_refused(self, caslie: Caslie) -> None:
        with pytest.raises(InstanceError, match="care_label: title: Field required"):
            caslie.predict("care_label", {"review": "Fine."})


class TestTools:
    def tool(self, caslie: Caslie) -> BaseTool:
        return next(tool for tool in caslie.tools() if tool.name == "predict_product_task")

    def test_the_description_and_the_arguments_name_the_task(self, caslie: Caslie) -> None:
        tool = self.tool(caslie)
        arguments = tool.get_input_jsonschema()["properties"]
        assert "care_label" in tool.description
        assert "care_label" in arguments["task"]["enum"]
        assert "category_classification, care_label: {'title'}" in arguments["input"]["description"]
        assert "care_label" not in arguments["options"]["description"]

    async def test_the_tool_solves_it(self, caslie: Caslie) -> None:
        message = await self.tool(caslie).ainvoke(
            {
                "name": "predict_product_task",
                "args": {"task": "care_label", "input": {"title": "60 degrees shirt"}},
                "id": "1",
                "type": "tool_call",
            }
        )
        assert isinstance(message, ToolMessage)
        assert json.loads(message.text) == {"answer": "B: 60 degrees"}


class TestData:
    def test_a_sound_dataset_passes_the_check(self, data: Path) -> None:
        report = check_data(data, tasks=["cl"])
        assert report.passed
        assert report.usable == 6

    def test_faults_of_its_records_are_found(self, data: Path) -> None:
        faults = [
            care_record("Shirt", "C", "30.png"),
            care_record("", "A", "30.png"),
            care_record("Shirt 0", "A", "30.png", split="train"),
            care_record("Shirt 7", "A", "gone.png"),
        ]
        with data.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in faults)
        findings = check_data(data).findings
        assert [(finding.index, finding.kind) for finding in findings] == [
            (6, "bad record"), (7, "bad record"), (8, "leak"), (9, "missing image"),
        ]  # fmt: skip
        assert [finding.reason.partition(": ")[0] for finding in findings[:2]] == ["care_label"] * 2

    def test_statistics_count_its_labels(self, data: Path) -> None:
        (part,) = data_statistics(data).tasks
        assert (part.task, part.records, part.options, part.answers) == ("care_label", 6, {2: 6}, {"A": 3, "B": 3})

    def test_written_records_read_back_the_same(self, data: Path, tmp_path: Path) -> None:
        records = [record for record in read_records(data) if isinstance(record, Record)]
        assert write_records(records, tmp_path / "copy.jsonl") == 6
        again = [record for record in read_records(tmp_path / "copy.jsonl") if isinstance(record, Record)]
        assert [record.key for record in again] == [record.key for record in records]


class TestEvaluation:
    async def test_a_run_is_scored_by_the_task_s_own_metric(self, caslie: Caslie, data: Path, tmp_path: Path) -> None:
        await evaluate(data, caslie, tmp_path / "run", tasks=["care_label"])
        (group,) = group_outcomes(read_outcomes(tmp_path / "run"))
        scores = {found.treatment: found for found in score_treatments(group)}
        assert group.task is CARE_LABEL
        assert {found.metric for found in scores.values()} == {"f1"}
        assert scores["every"].value == scores["gated"].value == 1
        assert scores["none"].value < 1
        report = write_report(tmp_path / "run")
        assert [row[0] for row in report.rows] == ["care_label"]
        assert "care_label" in report.markdown.read_text(encoding="utf-8")

    def test_an_invalid_answer_counts_as_the_other_of_two_labels(self) -> None:
        # As no label at all it would leave the F1 of B perfect.
        assert score_answers(CARE_LABEL, ["B", None], ["B", "A"]).value == pytest.approx(2 / 3)


class TestCommandLine:
    """A process of its own registers the task by ``--task-module``."""

    @pytest.fixture
    def environment(self, tmp_path: Path) -> dict[str, str]:
        plugin = "from caslie_tools import register_task\nfrom tests.tasks.care_label import CARE_LABEL\n"
        (tmp_path / "my_tasks.py").write_text(f"{plugin}\nregister_task(CARE_LABEL)\n", encoding="utf-8")
        return {
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(tmp_path))),
            "CASLIE_PROFILE": "tests.doubles:light_profile",
            "CASLIE_STORE": str(tmp_path / "store"),
        }

    def test_data_check(self, data: Path, environment: dict[str, str]) -> None:
        ended = finish(start("--task-module", "my_tasks", "data", "check", data, "--json", environment=environment))
        assert ended.code == 0, ended
        assert ended.document["passed"]
        assert ended.document["tasks"][0]["task"] == "care_label"

    def test_predict_with_the_module_in_the_environment(self, tmp_path: Path, environment: dict[str, str]) -> None:
        (tmp_path / "60.png").write_bytes(LABEL_60)
        instance = tmp_path / "instance.json"
        instance.write_text(json.dumps({"input": {"title": "Shirt"}, "images": ["60.png"]}), encoding="utf-8")
        modules = {"CASLIE_TASK_MODULES": "json my_tasks"}
        ended = finish(start("predict", "cl", instance, "--json", environment=environment | modules))
        assert ended.code == 0, ended
        assert (ended.document["task"], ended.document["label"]) == ("care_label", "B")

    def test_a_module_that_does_not_exist_is_an_error(self, environment: dict[str, str]) -> None:
        ended = finish(start("--task-module", "gone", "info", environment=environment))
        assert (ended.code, ended.out) == (1, "")
        assert "the task module 'gone' cannot be imported" in ended.err


DESCRIBE = Task(
    name="describe",
    abbreviation="de",
    instruction="Name the colour of the product.",
    input=TypeAdapter(dict[str, str]),
    image_slots=(
        ImageSlot(
            name="product",
            focus="colour",
            known="{title}",
            aim="naming the colour",
            question="Does it help?",
            key="on the image",
        ),
    ),
    answers="text",
)


class TestOpenTask:
    """A task whose answer is free text, and whose input is not a question about products."""

    @pytest.fixture(autouse=True)
    def _open_task(self) -> Iterator[None]:
        with register_task(DESCRIBE):
            yield

    def test_it_is_answered_from_its_own_texts_and_captions(self, caslie: Caslie) -> None:
        response = caslie.predict("describe", {"title": "Mug", "question": "Which colour?"}, images=[LABEL_60])
        assert response.prediction.label is None
        assert "grey" in response.answer
        assert [citation.field for citation in response.prediction.citations] == ["caption"]

    def test_a_chat_model_is_asked_with_its_evidence(self) -> None:
        prompt = question_prompt(FusedInstance(task="describe", instruction="Name it.", input={"title": "Red mug"}))
        assert prompt.startswith("Name it. ")
        assert '"field": "title", "text": "Red mug"' in prompt
        assert "question" not in prompt.partition("<data>")[2].partition("</data>")[0]

    def test_its_records_may_have_any_answer_or_none(self, tmp_path: Path) -> None:
        fields = {"task": "describe", "split": "test", "input": {"title": "Mug"}}
        rows = [fields | {"output": output, "images": []} for output in ("Red.", "")]
        path = tmp_path / "data.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        assert data_statistics(path).tasks[0].answers == {"answered": 1, "unanswered": 1}


def test_a_task_can_build_its_instances_from_questions(caslie: Caslie) -> None:
    def about_titles(question: str, products: Any, images: Any) -> Instance:
        return product_question(question, products, images).model_copy(update={"task": "size_question"})

    asked = get_task("product_qa")
    task = Task(
        name="size_question",
        abbreviation="sq",
        instruction=asked.instruction,
        input=asked.input,
        image_slots=asked.image_slots,
        answers="text",
        from_question=about_titles,
    )
    caslie.index([Product(id="mug", title="Mug", images=(ImageRef(data=LABEL_30),))])
    with register_task(task):
        state = caslie.graph.invoke({"task": "size_question", "question": "Which degrees?", "products": ["mug"]})
        assert "size_question" not in caslie.tools()[-1].description
    assert state["prediction"].task == "size_question"
    assert "30 DEGREES" in state["prediction"].text


def test_a_record_of_an_open_question_is_answered_too(caslie: Caslie) -> None:
    record = {"question": "Which colour?", "products": [{"id": "mug", "title": "Mug", "colour": "red"}]}
    response = caslie.predict("product_qa", record)
    assert response.answer == "red"
    assert [product.id for product in response.products] == ["mug"]


def test_after_the_block_the_task_is_unknown(caslie: Caslie) -> None:
    with register_task(Task(**{**vars(DESCRIBE), "name": "other", "abbreviation": "ot"})):
        assert get_task("ot").name == "other"
    with pytest.raises(UnknownTaskError, match="there is no task 'other'"):
        caslie.predict("other", {"title": "Mug"})
