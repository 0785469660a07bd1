"""A learned gate: its estimate, which judges it asks, and what it needs from a profile."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from caslie_tools.caslie import Caslie
from caslie_tools.domain import Answer, Evidence, Verdict, Vote
from caslie_tools.exceptions import SettingsError
from caslie_tools.pipeline.cqe import CQE
from caslie_tools.pipeline.learned_gate import EffectWeights, Feature, LearnedGate, caption_signals
from caslie_tools.pipeline.tuned_gate import TaskGate, TunedGate
from caslie_tools.roles.utility import SIGNALS, UtilityJudge
from caslie_tools.settings import Settings
from tests.doubles import (
    FixedJudge,
    FunctionJudge,
    FunctionPredictor,
    judge_request,
    jury,
    light_profile,
    raising,
)

HELPS = EffectWeights(helpful=1.0, misleading=-1.0)
FIRST = Feature(judge="judge-1", weights=HELPS)
THIRD = Feature(judge="judge-3", mean=0.5, weights=EffectWeights(helpful=0.2, redundant=0.4))
KNOWN = Feature(signal="known_words", mean=0.5, weights=EffectWeights(redundant=2.0, misleading=1.0))
MODEL = LearnedGate(features=(FIRST, THIRD, KNOWN), bias=EffectWeights(helpful=0.1), answers_needed=1)


def gate_of(model: LearnedGate, *judges: str) -> TunedGate:
    return TunedGate(judges=judges or ("judge-1", "judge-2", "judge-3"), tasks={"product_qa": TaskGate(learned=model)})


def shares(**scores: float) -> dict[str, float]:
    total = sum(map(math.exp, scores.values()))
    return {name: math.exp(score) / total for name, score in scores.items()}


class TestSignals:
    def test_known_words_are_the_share_of_the_captions_words_in_the_known_text(self) -> None:
        request = judge_request("A red MUG.")
        known = dataclasses.replace(request, context=request.context.model_copy(update={"known": "Mug, red and round"}))
        assert caption_signals(known)["known_words"] == pytest.approx(2 / 3)
        assert caption_signals(dataclasses.replace(known, caption="..."))["known_words"] == 0

    def test_each_kind_of_evidence_has_the_score_of_the_strongest(self) -> None:
        evidence = (
            Evidence(kind="text", text="MUG", score=0.4),
            Evidence(kind="text", text="CUP", score=0.9),
            Evidence(kind="colour", text="red", score=0.3),
        )
        signals = caption_signals(dataclasses.replace(judge_request(), evidence=evidence))
        assert {name: signals[name] for name in ("text", "tag", "resembles", "colour")} == {
            "text": 0.9,
            "tag": 0.0,
            "resembles": 0.0,
            "colour": 0.3,
        }


class TestEstimate:
    def test_the_estimate_by_hand(self) -> None:
        votes = [Vote(judge="judge-1", verdict="yes", probability=0.8), Vote(judge="judge-3", verdict="no")]
        found = MODEL.estimate(votes, {"known_words": 1.0})
        logit, third, known = math.log(4), -1 - 0.5, 1.0 - 0.5
        expected = shares(
            helpful=0.1 + logit + 0.2 * third,
            redundant=0.4 * third + 2.0 * known,
            misleading=-logit + 1.0 * known,
            ineffective=0.0,
        )
        assert found.model_dump() == pytest.approx(expected)
        assert MODEL.keeps(votes, {"known_words": 1.0}) is (expected["helpful"] > expected["misleading"])

    def test_a_missing_value_is_the_mean(self) -> None:
        expected = shares(helpful=0.1, redundant=0.0, misleading=0.0, ineffective=0.0)
        abstained = Vote(judge="judge-1", verdict="abstain")
        failed = Vote(judge="judge-3", verdict="abstain", failure="timeout")
        assert MODEL.estimate([abstained, failed], {}).model_dump() == pytest.approx(expected)

    def test_weights_as_large_as_may_be_overflow_nothing(self) -> None:
        feature = Feature(judge="judge-1", weights=EffectWeights(helpful=1e6, misleading=-1e6))
        model = LearnedGate(features=(feature,), bias=EffectWeights())
        assert model.estimate([Vote(judge="judge-1", verdict="yes")], {}).helpful == 1


class TestDeciding:
    @pytest.mark.parametrize(("verdict", "kept"), [("yes", True), ("no", False)])
    async def test_only_the_judges_of_the_model_are_asked(self, verdict: Verdict, kept: bool) -> None:
        judges = jury(verdict, "yes", "no")
        cqe = CQE(judges, gate=gate_of(MODEL))
        decision = await cqe.ainvoke(judge_request())
        assert [judge.calls for judge in judges] == [1, 0, 1]
        assert (decision.kept, decision.skipped_judges) == (kept, 1)
        assert [vote.judge for vote in decision.votes] == ["judge-1", "judge-3"]
        assert decision.estimate == MODEL.estimate(decision.votes, decision.signals)
        assert decision.reason.startswith(f"learned gate: helpful {decision.estimate.helpful:.2f}, redundant ")

    async def test_the_others_can_be_asked_too_and_change_nothing(self) -> None:
        judges = jury("yes", "no", "no")
        cqe = CQE(judges, gate=gate_of(MODEL))
        first = await cqe.ainvoke(judge_request())
        whole = await cqe.ainvoke(judge_request(), ask_all=True, previous_votes=first.votes)
        assert [vote.judge for vote in whole.votes] == ["judge-1", "judge-2", "judge-3"]
        assert [judge.calls for judge in judges] == [1, 1, 1]
        assert (whole.kept, whole.estimate, whole.skipped_judges) == (first.kept, first.estimate, 0)

    async def test_a_model_without_judges_asks_none(self) -> None:
        model = LearnedGate(features=(KNOWN,), bias=EffectWeights(helpful=0.1))
        judges = jury("no", "no", "no")
        decision = await CQE(judges, gate=gate_of(model)).ainvoke(judge_request())
        assert (decision.kept, decision.votes, decision.is_close) == (True, (), False)
        assert [judge.calls for judge in judges] == [0, 0, 0]

    async def test_judges_that_fail_do_not_answer_and_judges_that_abstain_do(self) -> None:
        model = MODEL.model_copy(update={"answers_needed": 2})
        abstaining = await CQE(jury("yes", "yes", "abstain"), gate=gate_of(model)).ainvoke(judge_request())
        assert abstaining.kept
        judges = [*jury("yes", "yes"), FunctionJudge(raising(RuntimeError()), name="judge-3")]
        failing = await CQE(judges, gate=gate_of(model)).ainvoke(judge_request())
        assert (failing.kept, failing.quorum, failing.is_close) == (False, 2, False)
        assert failing.reason.endswith("; could not run: judge-3 (error)")

    async def test_it_is_close_if_one_vote_less_would_have_changed_the_decision(self) -> None:
        assert (await CQE(jury("no", "yes", "yes"), gate=gate_of(MODEL)).ainvoke(judge_request())).is_close
        alone = MODEL.model_copy(update={"features": (FIRST,), "answers_needed": 0})
        kept = await CQE(jury("yes", "no", "no"), gate=gate_of(alone)).ainvoke(judge_request())
        assert (kept.kept, kept.is_close) == (True, False)  # without the vote, the bias would keep it too


class TestNeeds:
    def model(self, judge: str, signal: str) -> LearnedGate:
        return LearnedGate(features=(Feature(judge=judge, signal=signal, weights=HELPS),), bias=EffectWeights())

    def test_a_judge_must_report_the_signals(self) -> None:
        gate = gate_of(self.model("judge-1", "margin_change"), "judge-1")
        with pytest.raises(
            SettingsError, match="needs margin_change of judge-1, which the models of this profile do not"
        ):
            CQE(jury("yes"), gate=gate)

    def test_a_utility_judge_reports_them(self) -> None:
        gate = gate_of(self.model("utility", "margin_change"), "utility")
        assert set(SIGNALS) >= {"margin_change"}
        CQE([UtilityJudge(FunctionPredictor(lambda instance: Answer(text="A")))], gate=gate)
        with pytest.raises(SettingsError, match="needs margin_change of utility"):
            CQE([FixedJudge("yes", name="utility")], gate=gate)

    def test_a_captioner_must_report_the_kinds_of_evidence(self, tmp_path: Path) -> None:
        with Caslie.open(tmp_path / "names", profile=light_profile(), settings=Settings()) as caslie:
            judges = tuple(judge.get_name() for judge in caslie.pipeline.cqe.judges)
        path = tmp_path / "gate.json"
        gate_of(self.model("", "text"), *judges).save(path)
        with pytest.raises(SettingsError, match="the learned gate needs text, which the models of this profile"):
            Caslie.open(tmp_path / "store", profile=light_profile(), settings=Settings(gate=path))
        gate_of(self.model("", "known_words"), *judges).save(path)
        with Caslie.open(tmp_path / "store", profile=light_profile(), settings=Settings(gate=path)) as caslie:
            assert caslie.pipeline.cqe.gate is not None

    def test_a_model_that_asks_another_jury_is_no_gate(self) -> None:
        with pytest.raises(ValidationError, match="product_qa asks judges that are not in the jury"):
            gate_of(MODEL, "judge-1")


class TestFile:
    def test_it_comes_back_as_it_was_written(self, tmp_path: Path) -> None:
        path = tmp_path / "gate.json"
        gate_of(MODEL).save(path)
        written = json.loads(path.read_text())
        assert written["version"] == 2
        assert [(each["judge"], each["signal"]) for each in written["tasks"]["product_qa"]["learned"]["features"]] == [
            ("judge-1", ""),
            ("judge-3", ""),
            ("", "known_words"),
        ]
        assert TunedGate.load(path) == gate_of(MODEL)

    def test_a_file_of_version_1_still_works(self, tmp_path: Path) -> None:
        path = tmp_path / "gate.json"
        old = {"keeps_all": None, "weights": {"judge-1": 1.0}, "bias": 0.0, "threshold": 0.5}
        path.write_text(json.dumps({"version": 1, "judges": ["judge-1"], "tasks": {"product_qa": old}}))
        assert CQE(jury("yes"), gate=TunedGate.load(path)).invoke(judge_request()).kept

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"weights": {"judge-1": 1.0}}, "not several of them"),
            ({"keeps_all": True}, "not several of them"),
            ({"learned": {"features": [{"weights": {}}], "bias": {}}}, "a feature names a judge or a signal"),
            ({"learned": {"features": [], "bias": {"helpful": math.inf}}}, "helpful"),
        ],
    )
    def test_what_is_no_model_is_refused(self, tmp_path: Path, change: dict[str, Any], message: str) -> None:
        content = gate_of(MODEL).model_dump(mode="json")
        content["tasks"]["product_qa"] |= change
        path = tmp_path / "gate.json"
        path.write_text(json.dumps(content))
        with pytest.raises(SettingsError, match="cannot be used") as refused:
            TunedGate.load(path)
        assert message in str(refused.value)
