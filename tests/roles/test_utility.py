import dataclasses
import math

import pytest

from caslie_tools.domain import Answer, ImageRef, Prediction, Vote
from caslie_tools.exceptions import UnsupportedModelError
from caslie_tools.pipeline.cqe import CQE
from caslie_tools.pipeline.unim3 import UniM3
from caslie_tools.roles.interfaces import JudgeRequest, KnownAnswer
from caslie_tools.roles.predictor import ModelPredictor
from caslie_tools.roles.utility import SIGNALS, Utility, UtilityJudge
from caslie_tools.tasks import FusedInstance, get_task
from caslie_tools.tasks.fusion import fuse
from tests.doubles import FunctionPredictor, RecordingChatModel, RecordingLLM, draw_picture

TASK = get_task("category_classification")


def request(title: str = "Mug", caption: str = "A red cup.") -> JudgeRequest:
    record = {"input": {"title": title}, "options": ["A: Cups", "B: Plates", "C: Bowls", "D: Forks"]}
    instance = TASK.read(record, [ImageRef(data=draw_picture("MUG"))])
    context = TASK.places(instance)[0].context
    return JudgeRequest(context=context, caption=caption, instance=instance)


def predictor(without: dict[str, float], with_caption: dict[str, float]) -> FunctionPredictor:
    def answer(instance: FusedInstance) -> Answer:
        probabilities = with_caption if instance.captions else without
        return Answer(text=max(probabilities, key=probabilities.__getitem__), probabilities=probabilities)

    return FunctionPredictor(answer, name="predictor")


def spread(label: str, probability: float) -> dict[str, float]:
    """Returns probabilities of four labels, one of which is given."""
    return {other: probability if other == label else (1 - probability) / 3 for other in "ABCD"}


@pytest.mark.parametrize(
    ("without", "with_caption", "verdict"),
    [
        pytest.param(spread("A", 0.7), spread("A", 0.9), "yes", id="more certain of the same answer"),
        pytest.param(spread("B", 0.6), spread("A", 0.9), "yes", id="more certain of another answer"),
        pytest.param(spread("A", 0.9), spread("B", 0.6), "no", id="less certain of another answer"),
        pytest.param(spread("A", 0.7), spread("A", 0.7), "no", id="the same answer with the same probability"),
        pytest.param(spread("A", 0.3), spread("B", 0.29), "yes", id="the answer was a guess"),
        pytest.param(spread("A", 0.25), spread("A", 0.25), "yes", id="nothing was known, so nothing can be lost"),
    ],
)
async def test_a_caption_helps_if_the_answer_gets_more_certain(
    without: dict[str, float], with_caption: dict[str, float], verdict: str
) -> None:
    vote = await UtilityJudge(predictor(without, with_caption)).ainvoke(request())
    assert vote.verdict == verdict
    assert vote.probability is not None
    assert (vote.probability > 0.5) is (verdict == "yes")


async def test_one_answer_without_captions_serves_all_captions_of_an_instance() -> None:
    model = predictor(spread("A", 0.5), spread("A", 0.9))
    judge = UtilityJudge(model)
    for caption in ("A red cup.", "A cup with a handle.", 'It reads "MUG".'):
        await judge.ainvoke(request(caption=caption))
    assert [bool(asked.captions) for asked in model.requests].count(False) == 1
    assert model.calls == 4


async def test_an_answer_that_is_known_already_is_not_asked_for_again() -> None:
    model = predictor(spread("A", 0.5), spread("A", 0.9))
    asked = request()
    assert asked.instance is not None
    text = await UniM3(model).ainvoke(fuse(TASK, asked.instance, [None]))
    known = dataclasses.replace(asked, known_answer=KnownAnswer(predictor=model, prediction=text))
    vote = await UtilityJudge(model).ainvoke(known)
    assert model.calls == 2
    assert vote == await UtilityJudge(model).ainvoke(asked)


async def test_the_known_answer_of_another_predictor_or_to_another_text_is_not_used() -> None:
    model = predictor(spread("A", 0.5), spread("A", 0.9))
    asked = request()
    other = Prediction(task=TASK.name, label="A", probabilities=spread("A", 0.99), fused='{"title": "Mug"}')
    for known in (
        KnownAnswer(predictor=predictor(spread("A", 0.99), spread("A", 0.99)), prediction=other),
        KnownAnswer(predictor=model, prediction=other.model_copy(update={"fused": '{"title": "Cup"}'})),
    ):
        vote = await UtilityJudge(model).ainvoke(dataclasses.replace(asked, known_answer=known))
        assert vote.verdict == "yes"  # 0.9 instead of 0.5, and not instead of 0.99


async def test_it_abstains_on_open_questions_with_one_option_and_without_an_instance() -> None:
    judge = UtilityJudge(predictor(spread("A", 0.5), spread("A", 0.9)))
    question = get_task("product_qa").read(
        {"input": {"question": "What is it?", "products": [{"id": "mug"}]}}, [ImageRef(data=draw_picture("MUG"))]
    )
    single = TASK.read({"input": {"title": "Mug"}, "options": ["A: Cups"]}, [ImageRef(data=draw_picture("MUG"))])
    for instance in (question, single, None):
        asked = JudgeRequest(context=request().context, caption="A cup.", instance=instance)
        assert (await judge.ainvoke(asked)).verdict == "abstain"


async def test_a_predictor_without_probabilities_is_an_error_that_says_what_to_do() -> None:
    judge = UtilityJudge(FunctionPredictor(lambda instance: Answer(text="A"), name="plain"))
    with pytest.raises(UnsupportedModelError, match="plain reports no probabilities"):
        await judge.ainvoke(request())
    decision = await CQE([judge], decider="utility").ainvoke(request())
    (vote,) = decision.votes
    assert (vote.verdict, vote.failure) == ("abstain", "unsupported")
    assert "use a predictor that reports them" in vote.reason
    assert decision.jury_failed
    assert not decision.kept


@pytest.mark.parametrize(
    "predictor",
    [
        pytest.param(ModelPredictor(RecordingChatModel(replies=["A"]), name="chatty"), id="a chat model of LangChain"),
        pytest.param(ModelPredictor(RecordingLLM(reply="A"), name="chatty"), id="an LLM of LangChain"),
    ],
)
def test_a_predictor_that_is_known_to_report_no_probabilities_is_refused_at_once(predictor: ModelPredictor) -> None:
    with pytest.raises(UnsupportedModelError, match="the predictor chatty reports no probabilities, which the judge "):
        UtilityJudge(predictor)


async def test_the_answers_are_to_the_predictors_own_wire_format() -> None:
    model = predictor(spread("A", 0.5), spread("A", 0.9))
    asked = request()
    assert asked.instance is not None
    complete = asked.instance.model_copy(update={"filled_in": ()})  # as if the record had brought its instruction
    await UtilityJudge(model).ainvoke(dataclasses.replace(asked, instance=complete, wire_format="paper"))
    key = "product information extracted from image"
    assert {seen.wire_format for seen in model.requests} == {"paper"}
    fused = [seen.input[key] for seen in model.requests if isinstance(seen.input, dict)]
    assert sorted(fused, key=str) == ["A red cup.", None]


def test_an_instance_with_two_labels_has_a_utility_too() -> None:
    utility = Utility(labels=2, answer_without="no", answer_with="yes", probability_without=0.9, probability_with=0.8)
    assert utility.probability_of_help < 0.5


async def test_the_vote_names_both_answers() -> None:
    vote: Vote = await UtilityJudge(predictor(spread("B", 0.4), spread("A", 0.9))).ainvoke(request())
    assert vote.reason == "best answer B (0.40) without the caption, A (0.90) with it"


async def test_the_vote_has_the_change_of_the_probabilities_in_numbers() -> None:
    vote: Vote = await UtilityJudge(predictor(spread("B", 0.4), spread("A", 0.97))).ainvoke(request())
    entropy, after = (
        -sum(p * math.log(p) for p in ps) / math.log(4) for ps in ([0.4, 0.2, 0.2, 0.2], [0.97, *[0.01] * 3])
    )
    assert vote.signals == pytest.approx(
        {
            "margin": 0.2,
            "margin_change": 0.96 - 0.2,
            "entropy": entropy,
            "entropy_change": after - entropy,
            "answer_changes": 1.0,
        }
    )
    assert tuple(vote.signals) == SIGNALS


def test_certain_answers_have_no_uncertainty_and_equal_ones_have_the_most() -> None:
    utility = Utility.compare({"A": 1.0, "B": 0.0}, {"A": 0.5, "B": 0.5}, labels=2)
    assert (utility.signals["entropy"], utility.signals["entropy_change"]) == (0.0, 1.0)
    assert (utility.signals["margin"], utility.signals["margin_change"]) == (1.0, -1.0)
    assert utility.signals["answer_changes"] == 0.0
