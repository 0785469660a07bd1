"""Requests whose answer from text alone may be enough: then no picture is loaded, captioned or judged."""

from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from caslie_tools.domain import Answer
from caslie_tools.exceptions import ModelError, UnsupportedModelError
from caslie_tools.graphs import Context, build_graph
from caslie_tools.graphs.run import run_graph
from caslie_tools.pipeline.pipeline import Pipeline
from caslie_tools.pipeline.text_first import Guarantee, TextFirst
from caslie_tools.roles.utility import UtilityJudge
from caslie_tools.store import CaptionStore
from caslie_tools.tasks import FusedInstance
from tests.doubles import FunctionPredictor, jury, light_captioner
from tests.graphs.pipelines import AT_ONCE, THREAD, pipeline_with

TASK = "product_substitute_identification"


def record(query: str = "red mug") -> dict[str, Any]:
    return {"input": {"query": query, "product title": "Stoneware mug"}}


def answering(instance: FusedInstance) -> Answer:
    """Sure of a mug without captions, and unsure of everything else."""
    assert isinstance(instance.input, dict)
    sure = 0.9 if "mug" in str(instance.input["query"]) else 0.6
    probabilities = {"no": sure, "yes": 1 - sure}
    return Answer(text="yes" if instance.captions else "no", probabilities=probabilities)


class Parts:
    """A pipeline with thresholds, and its models."""

    def __init__(self, store: CaptionStore, folder: Path, *verdicts: Any, predictor: Any = answering) -> None:
        path = folder / "text-first.json"
        self.predictor = FunctionPredictor(predictor)
        TextFirst(
            predictor=self.predictor.get_name(),
            guarantee=Guarantee(max_loss=0.02, confidence=0.95),
            thresholds={TASK: 0.8},
        ).save(path)
        self.captioner, self.judges = light_captioner(), jury(*verdicts or ("yes", "yes", "yes"))
        self.pipeline: Pipeline = pipeline_with(
            store, captioners=[self.captioner], judges=self.judges, predictor=self.predictor, text_first=path
        )
        self.graph = build_graph(self.pipeline, retry=AT_ONCE, checkpointer=InMemorySaver())

    @property
    def calls(self) -> tuple[int, int, int]:
        """Calls of the captioner, the judges and the predictor."""
        return self.captioner.calls, sum(judge.calls for judge in self.judges), self.predictor.calls


@pytest.fixture
def parts(store: CaptionStore, tmp_path: Path) -> Parts:
    return Parts(store, tmp_path)


async def test_a_sure_answer_from_text_looks_at_no_picture(parts: Parts, tmp_path: Path) -> None:
    missing = tmp_path / "no-such-picture.png"  # loading it would give a warning
    response = await run_graph(parts.graph, {"task": TASK, "record": record(), "images": [str(missing)]})
    assert (response.answer, response.image_results, response.warnings) == ("no", (), ())
    assert parts.calls == (0, 0, 1)
    assert response.text_answer is not None
    assert response.text_answer.is_enough
    assert response.to_json()["text_first"] == {"enough": True, "confidence": 0.9, "threshold": 0.8}
    assert [timing.step for timing in response.timings] == [
        "validate",
        "retrieve",
        "answer_from_text",
        "predict",
        "save_captions",
    ]


async def test_an_unsure_answer_from_text_is_replaced(parts: Parts, tmp_path: Path) -> None:
    request: Any = {"task": TASK, "record": record("red jacket"), "images": [str(tmp_path / "mug-1.png")]}
    response = await run_graph(parts.graph, request)
    assert (response.answer, len(response.image_results)) == ("yes", 1)
    assert parts.calls == (1, 2, 2)
    assert response.to_json()["text_first"] == {"enough": False, "confidence": 0.6, "threshold": 0.8}


async def test_without_a_kept_caption_the_answer_from_text_is_not_asked_for_again(
    store: CaptionStore, tmp_path: Path
) -> None:
    parts = Parts(store, tmp_path, "no", "no", "no")
    request: Any = {"task": TASK, "record": record("red jacket"), "images": [str(tmp_path / "mug-1.png")]}
    response = await run_graph(parts.graph, request)
    assert (response.answer, [result.kept for result in response.image_results]) == ("no", [False])
    assert parts.calls == (1, 2, 1)


async def test_a_task_without_a_threshold_looks_at_pictures(parts: Parts, tmp_path: Path) -> None:
    request: Any = {
        "task": "multiclass_product_classification",
        "record": record(),
        "images": [str(tmp_path / "mug-1.png")],
    }
    response = await run_graph(parts.graph, request)
    assert response.text_answer is None
    assert response.to_json()["text_first"] is None
    assert parts.calls == (1, 2, 1)


async def test_without_pictures_there_is_nothing_to_decide(parts: Parts, tmp_path: Path) -> None:
    request: Any = {"task": TASK, "record": record("red jacket")}
    assert (await run_graph(parts.graph, request)).text_answer is None
    request["images"] = [str(tmp_path / "mug-1.png")]
    assert (await run_graph(parts.graph, request, context=Context(use_images=False))).text_answer is None
    assert parts.calls == (0, 0, 2)


async def test_the_next_request_of_a_thread_does_not_inherit_the_answer(parts: Parts, tmp_path: Path) -> None:
    request: Any = {"task": TASK, "record": record(), "images": [str(tmp_path / "mug-1.png")]}
    await run_graph(parts.graph, request, config=THREAD)
    response = await run_graph(parts.graph, request | {"record": record("red jacket")}, config=THREAD)
    assert (response.answer, len(response.image_results)) == ("yes", 1)
    response = await run_graph(parts.graph, request | {"task": "multiclass_product_classification"}, config=THREAD)
    assert response.text_answer is None


async def test_the_stream_says_whether_the_answer_is_enough(parts: Parts, tmp_path: Path) -> None:
    request: Any = {"task": TASK, "record": record(), "images": [str(tmp_path / "mug-1.png")]}
    events = [event async for event in parts.graph.astream(request, THREAD, stream_mode="custom")]
    assert [event["enough"] for event in events if event["step"] == "answer_from_text"] == [True]


async def test_a_failing_predictor_is_tried_again(store: CaptionStore, tmp_path: Path) -> None:
    failures = [ModelError("busy"), ModelError("busy")]

    def sometimes(instance: FusedInstance) -> Answer:
        if failures:
            raise failures.pop()
        return answering(instance)

    parts = Parts(store, tmp_path, predictor=sometimes)
    request: Any = {"task": TASK, "record": record(), "images": [str(tmp_path / "mug-1.png")]}
    assert (await run_graph(parts.graph, request)).answer == "no"
    assert parts.calls == (0, 0, 3)


async def test_a_predictor_without_probabilities_is_an_error(store: CaptionStore, tmp_path: Path) -> None:
    parts = Parts(store, tmp_path, predictor=lambda instance: "yes")
    request: Any = {"task": TASK, "record": record(), "images": [str(tmp_path / "mug-1.png")]}
    with pytest.raises(UnsupportedModelError, match="reports no probabilities"):
        await run_graph(parts.graph, request)
    assert parts.captioner.calls == 0


async def test_one_answer_from_text_serves_the_judge_that_compares_answers_too(
    store: CaptionStore, tmp_path: Path
) -> None:
    parts = Parts(store, tmp_path)
    assert parts.pipeline.text_first is not None
    pipeline = pipeline_with(
        store,
        judges=[UtilityJudge(parts.predictor)],
        predictor=parts.predictor,
        text_first=parts.pipeline.settings.text_first,
    )
    request: Any = {"task": TASK, "record": record("red jacket"), "images": [str(tmp_path / "mug-1.png")]}
    await run_graph(build_graph(pipeline), request)
    assert [bool(asked.captions) for asked in parts.predictor.requests].count(False) == 1
