"""Asking a person where the vote is thin."""

from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from caslie_tools.graphs import Context, build_graph
from caslie_tools.graphs.run import CaslieGraph
from caslie_tools.roles.interfaces import JudgeRequest
from caslie_tools.store import CaptionStore
from tests.doubles import FunctionJudge, FunctionPredictor, jury, light_captioner
from tests.graphs.pipelines import THREAD, pipeline_with

QUESTION: Any = {"question": "What does it show?", "products": ["mug", "jacket"]}
ASK = Context(ask_person=True)


@pytest.fixture
def graph(store: CaptionStore) -> CaslieGraph:
    """Three pictures: of the mug 2 of 3 say yes, of the waterproof one 1 of 3, of the hood all."""

    def divided(request: JudgeRequest) -> Any:
        return "yes" if "HOOD" in request.caption or "350" in request.caption else "no"

    judges = [*jury("yes"), FunctionJudge(divided, name="judge-2")]
    judges.append(FunctionJudge(lambda request: "yes" if "HOOD" in request.caption else "no", name="judge-3"))
    predictor = FunctionPredictor(lambda instance: f"{len(instance.captions)} kept")
    pipeline = pipeline_with(
        store, captioners=[light_captioner()], judges=judges, predictor=predictor, early_stop=False
    )
    return build_graph(pipeline, checkpointer=InMemorySaver())


async def test_all_thin_votes_are_asked_at_once_and_the_person_decides(graph: CaslieGraph) -> None:
    stopped = await graph.ainvoke(QUESTION, THREAD, context=ASK)
    (interrupt,) = stopped["__interrupt__"]
    asked = interrupt.value["captions"]
    assert [(item["index"], item["product"]) for item in asked] == [(0, "mug"), (1, "jacket")]
    assert "350 ML" in asked[0]["text"]
    assert asked[0]["asked"] == QUESTION["question"]
    assert [vote["verdict"] for vote in asked[0]["votes"]] == ["yes", "yes", "no"]
    assert "prediction" not in stopped
    state = await graph.ainvoke(Command(resume={"0": False, "1": True}), THREAD, context=ASK)
    assert [result.kept for result in state["image_results"]] == [False, True, True]
    assert [result.decision.decided_by for result in state["image_results"]] == ["person", "person", "jury"]
    assert state["image_results"][1].decision.reason == "a person decided; the jury: 1 yes, 2 no"
    assert [vote.verdict for vote in state["image_results"][1].decision.votes] == ["yes", "no", "no"]
    assert state["prediction"].text == "2 kept"
    assert "350 ML" not in state["prediction"].fused


async def test_an_answer_under_the_interrupt_s_id_may_have_numbers(graph: CaslieGraph) -> None:
    stopped = await graph.ainvoke(QUESTION, THREAD, context=ASK)
    answer = {stopped["__interrupt__"][0].id: {0: False, 1: True}}
    state = await graph.ainvoke(Command(resume=answer), THREAD, context=ASK)
    assert [result.kept for result in state["image_results"]] == [False, True, True]


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (True, [True, True, True]),
        ("yes", [True, True, True]),
        (" No ", [False, False, True]),
        ({"0": "no", "1": "yes"}, [False, True, True]),
        ({" 1 ": "Keep"}, [True, True, True]),
        ({}, [True, False, True]),
    ],
)
async def test_people_answer_in_several_forms(graph: CaslieGraph, answer: Any, kept: list[bool]) -> None:
    await graph.ainvoke(QUESTION, THREAD, context=ASK)
    state = await graph.ainvoke(Command(resume=answer), THREAD)
    assert [result.kept for result in state["image_results"]] == kept


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("perhaps", "neither yes nor no"),
        ([False, True], "neither yes nor no"),
        ({"0": 7}, "neither yes nor no"),
        ({"mug": False}, "there is no caption mug to decide about; the captions are 0, 1"),
        ({"0": True, "2": True, "7": True}, "there is no caption 2, 7 to decide about; the captions are 0, 1"),
    ],
)
async def test_an_answer_that_is_not_understood_is_asked_again(graph: CaslieGraph, answer: Any, problem: str) -> None:
    first = await graph.ainvoke(QUESTION, THREAD, context=ASK)
    again = await graph.ainvoke(Command(resume=answer), THREAD)
    (interrupt,) = again["__interrupt__"]
    assert problem in interrupt.value["problem"]
    assert interrupt.value["captions"] == first["__interrupt__"][0].value["captions"]
    assert "prediction" not in again
    state = await graph.ainvoke(Command(resume={"0": "no", "1": "yes"}), THREAD)
    assert [result.kept for result in state["image_results"]] == [False, True, True]


async def test_a_resumed_run_keeps_the_options_of_its_request(graph: CaslieGraph) -> None:
    await graph.ainvoke(QUESTION, THREAD, context=ASK)
    state = await graph.ainvoke(Command(resume={"0": False}), THREAD)
    assert [result.kept for result in state["image_results"]] == [False, False, True]
    # The thread's next request has options of its own.
    state = await graph.ainvoke(QUESTION, THREAD)
    assert "__interrupt__" not in state


async def test_what_the_person_leaves_out_the_jury_has_decided(graph: CaslieGraph) -> None:
    await graph.ainvoke(QUESTION, THREAD, context=ASK)
    state = await graph.ainvoke(Command(resume={"1": True}), THREAD, context=ASK)
    assert [result.decision.decided_by for result in state["image_results"]] == ["jury", "person", "jury"]
    assert [result.kept for result in state["image_results"]] == [True, True, True]


@pytest.mark.parametrize("context", [None, Context(), {"ask_person": False}])
async def test_nobody_is_asked_unless_the_run_wants_it(graph: CaslieGraph, context: Any) -> None:
    state = await graph.ainvoke(QUESTION, THREAD, context=context)
    assert state["prediction"].text == "2 kept"


async def test_a_server_s_context_asks_too(graph: CaslieGraph) -> None:
    stopped = await graph.ainvoke(QUESTION, THREAD, context={"ask_person": True})  # type: ignore[call-overload]
    assert len(stopped["__interrupt__"]) == 1


async def test_a_clear_vote_asks_nobody(store: CaptionStore) -> None:
    pipeline = pipeline_with(store, judges=jury("no", "no", "no"))
    state = await build_graph(pipeline, checkpointer=InMemorySaver()).ainvoke(QUESTION, THREAD, context=ASK)
    assert [result.kept for result in state["image_results"]] == [False] * 3


async def test_two_runs_that_wait_are_answered_each_on_its_own(graph: CaslieGraph) -> None:
    other: Any = {"configurable": {"thread_id": "other"}}
    await graph.ainvoke(QUESTION, THREAD, context=ASK)
    await graph.ainvoke(QUESTION, other, context=ASK)
    second = await graph.ainvoke(Command(resume={"0": False, "1": False}), other, context=ASK)
    first = await graph.ainvoke(Command(resume={"0": True, "1": True}), THREAD, context=ASK)
    assert [result.kept for result in first["image_results"]] == [True, True, True]
    assert [result.kept for result in second["image_results"]] == [False, False, True]


def test_synchronously(graph: CaslieGraph) -> None:
    assert "__interrupt__" in graph.invoke(QUESTION, THREAD, context=ASK)
    state = graph.invoke(Command(resume={"0": False, "1": False}), THREAD, context=ASK)
    assert state["prediction"].text == "1 kept"


async def test_a_vote_that_would_be_stopped_early_is_asked_to_its_end(store: CaptionStore) -> None:
    judges = jury("yes", "yes", "yes", "no", "no")
    graph = build_graph(pipeline_with(store, judges=judges), checkpointer=InMemorySaver())
    state = await graph.ainvoke(QUESTION, THREAD)
    assert judges[3].calls == judges[4].calls == 0
    assert not any(result.decision.is_close for result in state["image_results"])
    stopped = await graph.ainvoke(QUESTION, THREAD, context=ASK)
    assert len(stopped["__interrupt__"][0].value["captions"]) == 3
    assert [vote["verdict"] for vote in stopped["__interrupt__"][0].value["captions"][0]["votes"]].count("no") == 2
