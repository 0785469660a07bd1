"""Which captions are fused under each treatment, which answers are right, and what each treatment costs."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from caslie_tools.caslie import Caslie
from caslie_tools.domain import Answer, ImageRef, Verdict
from caslie_tools.evaluation.caption_effects import judged_captions
from caslie_tools.evaluation.outcomes import DEFAULT_TREATMENTS, Cost, Outcome
from caslie_tools.evaluation.treatments import TreatmentRunner
from caslie_tools.exceptions import EndpointUnavailableError, InputError, MissingExtraError, ModelError
from caslie_tools.pipeline.text_first import Guarantee, TextFirst
from caslie_tools.profiles.profile import Profile
from caslie_tools.roles.interfaces import JudgeRequest, Models
from caslie_tools.roles.judge import ModelJudge
from caslie_tools.roles.utility import UtilityJudge
from caslie_tools.roles.vision_predictor import ModelVisionPredictor
from caslie_tools.settings import Settings
from caslie_tools.store import CaptionStore
from caslie_tools.tasks import FusedInstance
from tests.doubles import (
    FixedCaptioner,
    FunctionCaptioner,
    FunctionJudge,
    FunctionPredictor,
    HashEmbeddings,
    RecordingChatModel,
    jury,
    light_captioner,
    light_models,
    raising,
)
from tests.evaluation.cases import RED_MUG, opened, predicting, question, raw, record_of, relevance

KEY = "product information extracted from image"
EVERY = f"{RED_MUG} (for: mug red)"
MUG = relevance("red mug", "Stoneware mug", "A", caption_info=json.dumps(["A mug, as given."]))


async def run(folder: Path, record: dict[str, Any], treatments: Any = DEFAULT_TREATMENTS, **models: Any) -> Outcome:
    read = record_of(folder, record)
    with opened(folder, **models) as caslie:
        return await TreatmentRunner(caslie.pipeline, treatments).run(read)


def texts(predictor: FunctionPredictor) -> list[JsonValue]:
    """The captions in each instance that the predictor received."""
    return [instance.input.get(KEY) for instance in predictor.requests if isinstance(instance.input, dict)]


async def test_every_treatment_fuses_its_captions(tmp_path: Path) -> None:
    fused = {
        "none": None,
        "every": EVERY,
        "plain": RED_MUG,
        "given": "A mug, as given.",
    }
    for treatment, text in fused.items():
        predictor = predicting(lambda instance: "A")
        outcome = await run(tmp_path, MUG, [treatment], predictor=predictor)
        assert texts(predictor) == [text]
        (treated,) = outcome.treatments.values()
        assert (treated.fused, treated.answer, treated.right) == (int(text is not None), "A", True)
        assert [caption.text for caption in treated.captions] == [text or ""]


@pytest.mark.parametrize(("verdicts", "kept"), [(("yes", "yes", "no"), True), (("no", "yes", "no"), False)])
async def test_gated_fuses_the_captions_of_every_if_the_jury_keeps_them(
    tmp_path: Path, verdicts: Any, kept: bool
) -> None:
    predictor = predicting(lambda instance: "A")
    outcome = await run(tmp_path, MUG, ["gated"], predictor=predictor, judges=jury(*verdicts))
    assert texts(predictor) == [EVERY if kept else None]
    gated = outcome.treatments["gated"]
    assert gated.fused == int(kept)
    (caption,) = gated.captions
    assert (caption.text, caption.kept) == (EVERY, kept)
    assert [vote.verdict for vote in caption.votes] == [*verdicts]


async def test_gated_fuses_what_the_claim_checker_leaves_of_a_caption(tmp_path: Path) -> None:
    checker = FunctionJudge(lambda request: "no" if request.caption.startswith("Label") else "yes", name="checker")
    predictor = predicting(lambda instance: "A")
    outcome = await run(
        tmp_path, MUG, ["none", "every", "gated"], predictor=predictor, judges=jury("yes", "yes"), claim_judge=checker
    )
    assert texts(predictor) == [None, EVERY, "Colour: red. (for: mug red)"]
    (caption,) = outcome.treatments["gated"].captions
    assert (caption.text, caption.kept) == ("Colour: red. (for: mug red)", True)
    assert caption.removed == ("Label: 350 ML.",)
    assert outcome.treatments["gated"].cost.judge_calls == 2 + checker.calls
    # What is left of the caption was not evaluated alone, so it has no effect that a gate could be learned from.
    assert list(judged_captions(outcome)) == []


async def test_a_claim_checker_that_cannot_be_reached_gives_no_outcome(tmp_path: Path) -> None:
    checker = FunctionJudge(raising(EndpointUnavailableError("down")), name="checker")
    with pytest.raises(EndpointUnavailableError, match="the judge checker cannot be reached"):
        await run(tmp_path, MUG, ["gated"], claim_judge=checker)


async def test_the_numbers_about_a_judged_caption_are_recorded(tmp_path: Path) -> None:
    outcome = await run(tmp_path, MUG, ["every", "gated"], judges=jury("yes"))
    assert outcome.treatments["every"].captions[0].signals == {}
    signals = outcome.treatments["gated"].captions[0].signals
    assert set(signals) == {"known_words", "text", "tag", "resembles", "colour"}


async def test_judges_receive_the_task_the_query_and_the_image(tmp_path: Path) -> None:
    judge = FunctionJudge(lambda request: "yes")
    await run(tmp_path, MUG, ["gated"], judges=[judge])
    (asked,) = judge.requests
    assert isinstance(asked, JudgeRequest)
    assert (asked.context.task, asked.context.focus) == ("multiclass_product_classification", "red mug")
    assert asked.image is not None
    assert asked.image.ref == ImageRef(path=tmp_path / "mug-1.png")


@pytest.mark.parametrize(("treatment", "known"), [("plain", ""), ("general", "Stoneware mug")])
async def test_plain_captions_are_made_without_context_and_general_ones_for_the_product(
    tmp_path: Path, treatment: str, known: str
) -> None:
    captioner = light_captioner()
    await run(tmp_path, MUG, [treatment], captioner=captioner)
    (asked,) = captioner.requests
    assert (asked.context.task, asked.context.focus, asked.context.known) == ("index", "", known)
    assert "query" not in asked.context.aim


class TestGivenCaptions:
    """The reference's way: captions in the data, the jury, the predictor."""

    RECORD = relevance("red mug", "Stoneware mug", "A", "https://dead.invalid/mug.png",
                       caption_info=json.dumps(["A mug, as given."]))  # fmt: skip

    @pytest.mark.parametrize(("verdicts", "kept"), [(("yes", "yes", "no"), True), (("no", "no", "yes"), False)])
    async def test_the_jury_judges_them_though_the_picture_is_dead(
        self, tmp_path: Path, verdicts: Any, kept: bool
    ) -> None:
        predictor, judges, captioner = predicting(lambda instance: "A"), jury(*verdicts), light_captioner()
        models: dict[str, Any] = {"predictor": predictor, "judges": judges, "captioner": captioner}
        outcome = await run(tmp_path, self.RECORD, ["given_gated"], wire_format="paper", **models)
        assert texts(predictor) == ["A mug, as given." if kept else None]
        (caption,) = outcome.treatments["given_gated"].captions
        assert (caption.text, caption.kept) == ("A mug, as given.", kept)
        assert [vote.verdict for vote in caption.votes] == [*verdicts]
        assert judges[0].requests[0].context.focus == "red mug"
        assert captioner.calls == 0
        assert outcome.treatments["given_gated"].cost.judge_calls == 2

    async def test_a_judge_that_sees_the_image_abstains_if_the_picture_is_dead(self, tmp_path: Path) -> None:
        model = RecordingChatModel(replies=["yes"])
        judges = [*jury("yes", "yes"), ModelJudge(model, name="sighted", sees_image=True)]
        outcome = await run(tmp_path, self.RECORD, ["given_gated"], judges=judges)
        (caption,) = outcome.treatments["given_gated"].captions
        assert caption.kept
        assert (caption.votes[2].verdict, caption.votes[2].failure) == ("abstain", None)
        assert "cannot be read" in caption.votes[2].reason
        assert model.seen == []

    @pytest.mark.parametrize(("vote", "kept"), [(True, True), (False, False), (None, False)])
    async def test_votes_in_the_data_can_decide(self, tmp_path: Path, vote: bool | None, kept: bool) -> None:
        predictor, judges = predicting(lambda instance: "A"), jury("yes", "yes", "yes")
        record = self.RECORD | {"votes": json.dumps([vote])}
        models: dict[str, Any] = {"predictor": predictor, "judges": judges}
        outcome = await run(tmp_path, record, ["given_voted"], **models)
        assert texts(predictor) == ["A mug, as given." if kept else None]
        caption = outcome.treatments["given_voted"].captions[0]
        assert (caption.kept, caption.votes, bool(caption.error)) == (kept, (), vote is None)
        assert [judge.calls for judge in judges] == [0, 0, 0]

    async def test_treatments_without_captions_or_votes_are_left_out(self, tmp_path: Path) -> None:
        given: Any = ["none", "given", "given_gated", "given_voted"]
        assert list((await run(tmp_path, self.RECORD, given)).treatments) == ["none", "given", "given_gated"]
        bare = relevance("red mug", "Stoneware mug", "A")
        assert list((await run(tmp_path, bare, given)).treatments) == ["none"]


class TestOneModelAlone:
    async def test_each_judge_alone_is_a_gate(self, tmp_path: Path) -> None:
        predictor, judges = predicting(lambda instance: "A"), jury("yes", "no", "abstain")
        models: dict[str, Any] = {"predictor": predictor, "judges": judges}
        outcome = await run(tmp_path, MUG, ["judges", "gated"], **models)
        assert list(outcome.treatments) == ["gated", "judge:judge-1", "judge:judge-2", "judge:judge-3"]
        assert [treated.fused for treated in outcome.treatments.values()] == [0, 1, 0, 0]
        assert [judge.calls for judge in judges] == [1, 1, 1]  # the votes are shared
        alone = outcome.treatments["judge:judge-1"]
        assert [vote.judge for vote in alone.captions[0].votes] == ["judge-1"]
        assert (alone.cost.captioner_calls, alone.cost.judge_calls, alone.cost.predictor_calls) == (1, 1, 1)
        assert predictor.calls == 2

    async def test_each_captioner_alone_captions_everything(self, tmp_path: Path) -> None:
        first, second = (FixedCaptioner(f"Seen by {name}.", name=name) for name in ("llava", "blip2"))

        def models(store: CaptionStore) -> Models:
            light = light_models(store)
            return Models(captioners=[first, second], judges=light.judges, predictor=light.predictor)

        profile = Profile(name="two", embeddings=HashEmbeddings(), models=models)
        read = record_of(tmp_path, MUG)
        with Caslie.open(tmp_path / "store", profile=profile, settings=Settings()) as caslie:
            outcome = await TreatmentRunner(caslie.pipeline, ["captioners", "every"]).run(read)
        captions = {name: treated.captions[0].text for name, treated in outcome.treatments.items()}
        assert captions == {
            "every": "Seen by llava.",
            "captioner:llava": "Seen by llava.",
            "captioner:blip2": "Seen by blip2.",
        }

    async def test_a_vision_predictor_answers_from_the_pixels(self, tmp_path: Path) -> None:
        vision = RecordingChatModel(replies=["C"])
        titles = {"product 1": "Stoneware mug", "product 2": "Desk lamp"}
        relation = raw("product_relation_prediction", titles, "C", "mug-1.png", "lamp-1.png")
        with opened(tmp_path, vision_predictor=ModelVisionPredictor(vision)) as caslie:
            runner = TreatmentRunner(caslie.pipeline, ["pixels", "none"])
            outcome = await runner.run(record_of(tmp_path, relation))
            alone = await runner.run(record_of(tmp_path, relation | {"images": json.dumps([None, "lamp-1.png"])}))
            gone = await runner.run(record_of(tmp_path, relation | {"images": json.dumps(["gone.png", "lamp-1.png"])}))
        treated = outcome.treatments["pixels"]
        assert (treated.answer, treated.right, treated.fused) == ("C", True, 0)
        assert (treated.cost.predictor_calls, treated.cost.captioner_calls) == (1, 0)
        content = vision.seen[0][0].content
        assert isinstance(content, list)
        first, second, text = content
        assert isinstance(first, dict)
        assert isinstance(second, dict)
        assert (first["type"], second["type"]) == ("image_url", "image_url")
        assert first != second
        assert isinstance(text, dict)
        assert 'The images show, in this order: <data>["product 1", "product 2"]</data>' in text["text"]
        assert "Stoneware mug" in text["text"]
        assert 'in this order: <data>["product 2"]</data>' in vision.texts[1]
        assert [bool(caption.error) for caption in alone.treatments["pixels"].captions] == [True, False]
        assert "does not exist" in gone.treatments["pixels"].captions[0].error

    async def test_an_instance_with_more_images_than_the_vision_predictor_accepts_is_left_out(
        self, tmp_path: Path
    ) -> None:
        vision = RecordingChatModel(replies=["A"])
        history = raw("sequential_recommendation", ["1st: Mug"], "B", "mug-1.png", "jacket-1.png", "lamp-1.png",
                      options=json.dumps(["A: Jacket", "B: Lamp"]))  # fmt: skip
        with opened(tmp_path, vision_predictor=ModelVisionPredictor(vision, max_images=2)) as caslie:
            runner = TreatmentRunner(caslie.pipeline, ["pixels", "none"])
            record = record_of(tmp_path, history)
            assert runner.lacking(record) == ["pixels"]
            assert list((await runner.run(record)).treatments) == ["none"]
        assert vision.seen == []

    async def test_without_a_vision_predictor_pixels_are_refused(self, tmp_path: Path) -> None:
        with opened(tmp_path) as caslie, pytest.raises(InputError, match=r"give the profile a \[vision_predictor\]"):
            TreatmentRunner(caslie.pipeline, ["pixels"])

    async def test_an_unknown_treatment_is_refused(self, tmp_path: Path) -> None:
        for unknown in (["gatd"], ["judge:nobody"], []):
            with (
                opened(tmp_path) as caslie,
                pytest.raises(InputError, match=r"the treatments are none, every, .*judges"),
            ):
                TreatmentRunner(caslie.pipeline, unknown)


@pytest.mark.parametrize(
    ("verdicts", "needed"),
    [
        (["yes", "yes", "yes", "no", "no"], 3),
        (["no", "no", "no", "yes", "yes"], 3),
        (["yes", "yes", "no", "yes", "no"], 4),
        (["yes", "no", "yes", "no", "yes"], 5),
    ],
)
async def test_the_whole_jury_votes_but_only_votes_until_the_early_stop_are_costs(
    tmp_path: Path, verdicts: list[Verdict], needed: int
) -> None:
    judges = jury(*verdicts)
    outcome = await run(tmp_path, MUG, ["gated"], judges=judges)
    gated = outcome.treatments["gated"]
    assert [vote.verdict for vote in gated.captions[0].votes] == verdicts
    assert [judge.calls for judge in judges] == [1, 1, 1, 1, 1]
    assert gated.cost.judge_calls == needed


async def test_equal_inputs_are_answered_once_and_cost_each_treatment_the_same(tmp_path: Path) -> None:
    captioner, predictor = light_captioner(), predicting(lambda instance: "A")
    models = {"captioner": captioner, "predictor": predictor}
    outcome = await run(tmp_path, MUG, ["none", "every", "gated"], judges=jury("yes", "yes", "yes"), **models)
    assert sorted(texts(predictor), key=str) == [EVERY, None]
    assert captioner.calls == 1
    counts = {
        name: (treated.cost.captioner_calls, treated.cost.judge_calls, treated.cost.predictor_calls)
        for name, treated in outcome.treatments.items()
    }
    assert counts == {"none": (0, 0, 1), "every": (1, 0, 1), "gated": (1, 2, 1)}
    seconds = {name: treated.cost.seconds for name, treated in outcome.treatments.items()}
    assert 0 < seconds["none"] < seconds["every"] <= seconds["gated"]


async def test_each_image_gets_its_own_caption(tmp_path: Path) -> None:
    predictor = predicting(lambda instance: "C")
    titles = {"product 1": "Stoneware mug", "product 2": "Desk lamp"}
    relation = raw("product_relation_prediction", titles, "C", "mug-1.png", "lamp-1.png")
    outcome = await run(tmp_path, relation, ["every"], predictor=predictor)
    (instance,) = predictor.requests
    assert isinstance(instance.input, dict)
    assert "Colour: red" in str(instance.input["product 1 information extracted from image"])
    assert "Colour: white" in str(instance.input["product 2 information extracted from image"])
    assert outcome.treatments["every"].cost.captioner_calls == 2


async def test_equal_pictures_in_equal_contexts_are_captioned_once(tmp_path: Path) -> None:
    captioner = light_captioner()
    record = question("Which colour is it?", "red", images=json.dumps(["mug-1.png", "mug-1.png"]))
    outcome = await run(tmp_path, record, ["every"], captioner=captioner)
    assert captioner.calls == 1
    assert outcome.treatments["every"].fused == 2


async def test_a_caption_is_reused_only_in_its_exact_context(tmp_path: Path) -> None:
    captioner = light_captioner()
    other = relevance("red mug", "Red mug, 350 ml", "A")  # the same query, another title: the contexts' texts are equal
    costs = []
    with opened(tmp_path, captioner=captioner, reuse_threshold=0.5) as caslie:
        for index, record in enumerate((MUG, other, MUG)):
            read = record_of(tmp_path, record, index)
            costs.append((await TreatmentRunner(caslie.pipeline, ["every"]).run(read)).treatments["every"].cost)
    assert [(cost.captioner_calls, cost.cached_captions) for cost in costs] == [(1, 0), (1, 0), (0, 1)]
    assert [request.context.known for request in captioner.requests] == ["Stoneware mug", "Red mug, 350 ml"]


async def test_missing_images_have_no_caption_and_a_reason(tmp_path: Path) -> None:
    for image, reason in ((None, "no image"), ("missing.png", "does not exist")):
        predictor = predicting(lambda instance: "A")
        outcome = await run(tmp_path, relevance("q", "t", "A", image), ["every", "gated", "plain"], predictor=predictor)
        assert texts(predictor) == [None]
        for treated in outcome.treatments.values():
            assert reason in treated.captions[0].error
            assert (treated.fused, treated.right, treated.cost.captioner_calls) == (0, True, 0)


async def test_fetched_images_are_used(tmp_path: Path) -> None:
    read = record_of(tmp_path, relevance("red mug", "Mug", "A", "https://shop.test/mug.png"))
    missing = record_of(tmp_path, relevance("red mug", "Mug", "A", "https://shop.test/missing.png"))
    fetched = {"https://shop.test/mug.png": ImageRef(path=tmp_path / "mug-1.png")}
    with opened(tmp_path) as caslie:
        runner = TreatmentRunner(caslie.pipeline, ["every", "gated"], lambda ref: fetched.get(ref.url or ""))
        assert (await runner.run(read)).treatments["every"].captions[0].text.startswith(RED_MUG)
        assert (await runner.run(missing)).treatments["gated"].captions[0].error == "there is no image"


async def test_with_a_failing_captioner_the_text_is_answered_without_captions(tmp_path: Path) -> None:
    down = FunctionCaptioner(raising(ModelError("out of memory")))
    outcome = await run(tmp_path, MUG, ["every"], captioner=down, predictor=predicting(lambda instance: "A"))
    treated = outcome.treatments["every"]
    assert "every captioner failed" in treated.captions[0].error
    assert (treated.right, treated.error, treated.cost.captioner_calls) == (True, "", 1)
    silent = await run(tmp_path, MUG, ["every"], captioner=FunctionCaptioner(lambda request: ""))
    assert "found nothing to describe" in silent.treatments["every"].captions[0].error


async def test_a_failing_predictor_counts_as_wrong_only_under_that_treatment(tmp_path: Path) -> None:
    def answer(instance: FusedInstance) -> str:
        if instance.captions:
            raise ValueError("the prompt is too long, key sk-4711")
        return "A"

    outcome = await run(tmp_path, MUG, ["none", "every"], predictor=predicting(answer))
    assert outcome.treatments["none"].right
    failed = outcome.treatments["every"]
    assert (failed.right, failed.answer) == (False, None)
    assert "the predictor predictor failed (ValueError)" in failed.error
    assert "sk-4711" not in outcome.model_dump_json()
    assert failed.fused == 1


@pytest.mark.parametrize("failure", [EndpointUnavailableError("model 'x' is left alone"), ConnectionError("sk-4711")])
@pytest.mark.parametrize("role", ["captioner", "predictor"])
async def test_a_model_that_cannot_be_reached_gives_no_outcome(tmp_path: Path, role: str, failure: Exception) -> None:
    doubles = {
        "captioner": FunctionCaptioner(raising(failure)),
        "predictor": FunctionPredictor(raising(failure), name="p"),
    }
    with pytest.raises(EndpointUnavailableError) as raised:
        await run(tmp_path, MUG, ["every"], **{role: doubles[role]})
    assert "sk-4711" not in str(raised.value)


async def test_a_judge_that_cannot_be_reached_gives_no_outcome(tmp_path: Path) -> None:
    missing = FunctionJudge(raising(EndpointUnavailableError("missing")), name="sleepy")
    with pytest.raises(EndpointUnavailableError, match="the judge sleepy cannot be reached"):
        await run(tmp_path, MUG, ["gated"], judges=[*jury("yes", "yes"), missing])


async def test_a_utility_judge_whose_predictor_reports_no_probabilities_makes_no_outcome(tmp_path: Path) -> None:
    predictor = predicting(lambda instance: "A")
    with pytest.raises(
        ModelError, match="the judge utility cannot run: the predictor predictor reports no probabilities"
    ):
        await run(tmp_path, MUG, ["gated"], predictor=predictor, judges=[UtilityJudge(predictor), *jury("yes")])


async def test_a_judge_with_a_missing_dependency_makes_no_outcome(tmp_path: Path) -> None:
    missing = FunctionJudge(raising(MissingExtraError("local", "Judging")), name="local")
    with pytest.raises(ModelError, match=r"the judge local cannot run: Judging needs .*caslie-tools\[local\]"):
        await run(tmp_path, MUG, ["gated"], judges=[*jury("yes", "yes"), missing])


async def test_a_judge_with_another_failure_abstains(tmp_path: Path) -> None:
    failing = FunctionJudge(raising(ValueError("?")), name="failing")
    outcome = await run(tmp_path, MUG, ["gated"], judges=[*jury("yes", "yes"), failing])
    assert [vote.verdict for vote in outcome.treatments["gated"].captions[0].votes] == ["yes", "yes", "abstain"]


async def test_a_missing_optional_dependency_stops_the_run(tmp_path: Path) -> None:
    missing = FunctionCaptioner(raising(MissingExtraError("local", "Captioning")))
    with pytest.raises(MissingExtraError, match=r"caslie-tools\[local\]"):
        await run(tmp_path, MUG, ["every"], captioner=missing)


async def test_given_is_left_out_without_captions_and_a_missing_caption_is_reported(tmp_path: Path) -> None:
    bare = relevance("red mug", "Stoneware mug", "A")
    assert list((await run(tmp_path, bare)).treatments) == ["none", "every", "gated", "plain"]
    empty = await run(tmp_path, bare | {"caption_info": json.dumps(["NA"])}, ["given"])
    (caption,) = empty.treatments["given"].captions
    assert (caption.text, caption.error) == ("", "the data has no caption for this image")


@pytest.mark.parametrize(
    ("gold", "answer", "recorded", "right"),
    [
        ("350 ml", Answer(text='It reads "350 ML".', answerable=True), 'It reads "350 ML".', True),
        ("50 ml", Answer(text="350 ml", answerable=True), "350 ml", False),
        ("", Answer(text="Nothing says so.", answerable=False), "", True),
        ("", Answer(text="350 ml", answerable=True), "350 ml", False),
        ("red", Answer(text="red cannot be told", answerable=False), "", False),
    ],
)
async def test_an_open_question_is_right_if_it_contains_the_right_words(
    tmp_path: Path, gold: str, answer: Answer, recorded: str, right: bool
) -> None:
    outcome = await run(tmp_path, question("How much?", gold), ["none"], predictor=predicting(lambda instance: answer))
    treated = outcome.treatments["none"]
    assert (outcome.gold, treated.answer, treated.right) == (gold, recorded, right)


async def test_each_of_several_captions_is_left_out_once_without_a_cost(tmp_path: Path) -> None:
    """The answer is right only with the caption of the mug. The one of the lamp misleads."""

    def answer(instance: FusedInstance) -> str:
        seen = json.dumps(instance.input)
        return "B" if "white" in seen else "A" if "red" in seen else "C"

    record = raw(
        "product_relation_prediction", {"product 1": "One", "product 2": "Two"}, "A", "mug-1.png", "lamp-1.png"
    )
    predictor = predicting(answer)
    outcome = await run(tmp_path, record, ["none", "every", "gated"], predictor=predictor, judges=jury("no"))
    every = outcome.treatments["every"]
    assert [caption.right_without for caption in every.captions] == [False, True]
    assert every.cost.predictor_calls == 1
    assert predictor.calls == 4  # none and gated are equal
    read = record_of(tmp_path, record)
    with opened(tmp_path, predictor=predictor, judges=jury("no")) as caslie:
        for runner in (
            TreatmentRunner(caslie.pipeline, ["none", "every", "gated"], leave_one_out=False),
            TreatmentRunner(caslie.pipeline, ["none", "every"]),  # without a gate, effects are not needed
        ):
            captions = (await runner.run(read)).treatments["every"].captions
            assert [caption.right_without for caption in captions] == [None, None]


async def test_a_caption_has_no_effect_of_its_own_if_the_predictor_fails_without_it(tmp_path: Path) -> None:
    def answer(instance: FusedInstance) -> str:
        if "red" in json.dumps(instance.input):
            return "A"
        raise ModelError("no answer")

    record = raw(
        "product_relation_prediction", {"product 1": "One", "product 2": "Two"}, "A", "mug-1.png", "lamp-1.png"
    )
    outcome = await run(tmp_path, record, ["every", "gated"], predictor=predicting(answer), judges=jury("yes"))
    assert [caption.right_without for caption in outcome.treatments["every"].captions] == [None, True]


async def test_an_outcome_has_the_values_that_scores_need(tmp_path: Path) -> None:
    predictor = predicting(lambda instance: Answer(text="B: maybe", probabilities={"A": 0.5, "B": 0.25}))
    outcome = await run(tmp_path, MUG | {"output": "B"}, ["none"], predictor=predictor)
    record = record_of(tmp_path, MUG | {"output": "B"})
    assert (outcome.index, outcome.key, outcome.split) == (0, record.key, "test")
    treated = outcome.treatments["none"]
    assert (treated.answer, treated.text, treated.right) == ("B", "B: maybe", True)
    assert treated.probabilities == {"A": 0.5, "B": 0.25, "C": 0.0, "D": 0.0}
    assert treated.cost == Cost(predictor_calls=1, seconds=treated.cost.seconds)
    assert Outcome.model_validate_json(outcome.model_dump_json()) == outcome


async def test_an_outcome_names_the_products_and_users_of_its_record(tmp_path: Path) -> None:
    outcome = await run(tmp_path, MUG | {"products": ["mug"], "users": ["ann"]}, ["none"])
    assert (outcome.products, outcome.users) == (("mug",), ("ann",))
    (name,) = (await run(tmp_path, MUG, ["none"])).products
    assert name.startswith("picture:")


async def test_an_evaluation_uses_all_images_whatever_the_limit_for_requests(tmp_path: Path) -> None:
    record = raw("sequential_recommendation", ["1st: Mug"], "B", "mug-1.png", "jacket-1.png", "lamp-1.png",
                 options=json.dumps(["A: Jacket", "B: Lamp"]))  # fmt: skip
    outcome = await run(tmp_path, record, ["every"], max_images=1)
    assert [bool(caption.text) for caption in outcome.treatments["every"].captions] == [True, True, True]


async def test_in_the_paper_format_only_the_first_image_of_a_text_counts(tmp_path: Path) -> None:
    record = relevance("red mug", "Stoneware mug", "A", images=json.dumps(["mug-1.png", "lamp-1.png"]),
                       caption_info=json.dumps([" A mug. ", "A lamp."]))  # fmt: skip
    predictor = predicting(lambda instance: "A")
    outcome = await run(tmp_path, record, ["every", "given"], predictor=predictor, wire_format="paper")
    assert sorted(map(str, texts(predictor))) == [" A mug. ", EVERY]
    for treated in outcome.treatments.values():
        assert treated.fused == 1
        assert "only the first image of a text" in treated.captions[1].error


async def test_the_paper_s_wire_format_is_used(tmp_path: Path) -> None:
    predictor = predicting(lambda instance: "A")
    await run(tmp_path, MUG, ["none"], predictor=predictor, wire_format="paper")
    (instance,) = predictor.requests
    assert instance.input == {"query": "red mug", "product title": "Stoneware mug", KEY: None}


class TestTextFirst:
    """The answer from text where it is sure enough, otherwise that with the captions that the jury keeps."""

    def answer(self, instance: FusedInstance) -> Answer:
        assert isinstance(instance.input, dict)
        sure = 0.9 if "mug" in str(instance.input["query"]) else 0.6
        return Answer(text="A" if KEY in instance.input else "B", probabilities={"A": 1 - sure, "B": sure})

    async def run(self, folder: Path, query: str, *verdicts: Verdict, **models: Any) -> Outcome:
        path = folder / "text-first.json"
        thresholds = {"multiclass_product_classification": 0.8}
        guarantee = Guarantee(max_loss=0.02, confidence=0.95)
        TextFirst(predictor="predictor", guarantee=guarantee, thresholds=thresholds).save(path)
        return await run(
            folder,
            relevance(query, "Stoneware mug", "A"),
            ["gated", "text_first"],
            **{"judges": jury(*verdicts), "predictor": predicting(self.answer), "text_first": path} | models,
        )

    async def test_a_sure_answer_takes_no_caption_and_no_vote(self, tmp_path: Path) -> None:
        outcome = await self.run(tmp_path, "a red mug", "yes", "yes", "yes")
        assert list(outcome.treatments) == ["gated", "text_first"]
        treated = outcome.treatments["text_first"]
        assert (treated.answer, treated.right, treated.fused) == ("B", False, 0)
        assert treated.cost.model_copy(update={"seconds": 0.0}) == Cost(predictor_calls=1)
        assert outcome.treatments["gated"].right

    @pytest.mark.parametrize(("verdict", "answer", "predictor_calls"), [("yes", "A", 2), ("no", "B", 1)])
    async def test_an_unsure_answer_is_as_gated_and_pays_for_the_text(
        self, tmp_path: Path, verdict: Verdict, answer: str, predictor_calls: int
    ) -> None:
        outcome = await self.run(tmp_path, "something red", *[verdict] * 3)
        treated, gated = outcome.treatments["text_first"], outcome.treatments["gated"]
        assert (treated.answer, treated.captions) == (answer, gated.captions)
        assert (treated.cost.captioner_calls, treated.cost.judge_calls) == (1, 2)
        assert treated.cost.predictor_calls == predictor_calls

    async def test_without_probabilities_there_is_no_answer(self, tmp_path: Path) -> None:
        outcome = await self.run(tmp_path, "a red mug", "yes", predictor=predicting(lambda instance: "A"))
        treated = outcome.treatments["text_first"]
        assert treated.failed
        assert not treated.right
        assert "reports no probabilities" in treated.error

    async def test_it_needs_thresholds(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="needs text-first thresholds; set CASLIE_TEXT_FIRST"):
            await run(tmp_path, MUG, ["none", "text_first"])
