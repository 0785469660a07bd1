"""A tuned gate: what it says of votes, what a file of it may hold, and that it is put to use."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from caslie_tools.caslie import Caslie
from caslie_tools.domain import Verdict, Vote
from caslie_tools.exceptions import SettingsError
from caslie_tools.pipeline.cqe import CQE
from caslie_tools.pipeline.log_odds import log_odds
from caslie_tools.pipeline.tuned_gate import TaskGate, TunedGate
from caslie_tools.profiles.toml import load_profile_settings
from caslie_tools.settings import Settings
from tests.doubles import FunctionJudge, judge_request, jury, light_profile

WEIGHTS = {"judge-1": 2.0, "judge-2": 0.5, "judge-3": -0.5}
TUNED = TunedGate(
    judges=tuple(WEIGHTS), tasks={"product_qa": TaskGate(weights=WEIGHTS, bias=-1.0, threshold=0.6)}, provenance={}
)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


class TestWeighing:
    @pytest.mark.parametrize(
        ("verdict", "probability", "expected"),
        [
            ("yes", None, 1),
            ("no", None, -1),
            ("abstain", None, 0),
            ("abstain", 0.9, 0),
            ("yes", 0.8, math.log(4)),
            ("no", 0.2, -math.log(4)),
            ("yes", 1.0, math.log(99)),
            ("no", 0.0, -math.log(99)),
        ],
    )
    def test_a_vote_is_its_log_odds(self, verdict: Verdict, probability: float | None, expected: float) -> None:
        assert log_odds(Vote(judge="j", verdict=verdict, probability=probability)) == pytest.approx(expected)

    def test_the_probability_by_hand(self) -> None:
        votes = [
            Vote(judge="judge-1", verdict="yes", probability=0.8),
            Vote(judge="judge-2", verdict="no"),
            Vote(judge="judge-3", verdict="abstain"),
        ]
        gate = TUNED.tasks["product_qa"]
        assert gate.probability(votes) == pytest.approx(sigmoid(2 * math.log(4) - 0.5 - 1))
        assert gate.keeps(votes)

    def test_weights_as_large_as_may_be_overflow_nothing(self) -> None:
        gate = TaskGate(weights={"judge-1": 1e6}, bias=-1e6, threshold=0.5)
        for verdict, expected in (("yes", 1), ("no", 0)):
            vote = Vote(judge="judge-1", verdict=verdict, probability=float(expected))
            assert gate.probability([vote]) == expected


class TestDeciding:
    @pytest.mark.parametrize(
        ("verdicts", "total"),
        [
            (("yes", "no", "no"), 2 - 0.5 + 0.5 - 1),  # 0.73: one good judge outvotes two
            (("no", "yes", "yes"), -2 + 0.5 - 0.5 - 1),  # 0.05: and rejects what a majority keeps
            (("yes", "no", "yes"), 2 - 0.5 - 0.5 - 1),  # 0.5, under the threshold
            (("yes", "yes", "abstain"), 2 + 0.5 - 1),
        ],
    )
    async def test_the_jurys_votes_are_weighed(self, verdicts: tuple[Verdict, ...], total: float) -> None:
        judges = jury(*verdicts)
        decision = await CQE(judges, gate=TUNED).ainvoke(judge_request())
        assert decision.kept is (sigmoid(total) >= 0.6)
        assert [judge.calls for judge in judges] == [1, 1, 1]  # none is spared: every vote has its weight
        assert decision.skipped_judges == 0
        assert decision.reason.endswith(f"; tuned gate: {sigmoid(total):.3f}, 0.600 needed")

    async def test_a_quorum_is_needed_all_the_same(self) -> None:
        decision = await CQE(jury("yes", "abstain", "abstain"), gate=TUNED).ainvoke(judge_request())
        assert not decision.kept
        assert decision.reason == "1 valid votes of 3, 2 needed"
        assert (await CQE(jury("yes", "abstain", "abstain"), quorum=1, gate=TUNED).ainvoke(judge_request())).kept

    async def test_a_task_it_was_not_tuned_for_is_decided_by_the_majority(self) -> None:
        request = judge_request()
        other = dataclasses.replace(request, context=request.context.model_copy(update={"task": "cc"}))
        judges = jury("yes", "yes", "no")
        decision = await CQE(judges, gate=TUNED).ainvoke(other)
        assert (decision.kept, decision.reason, decision.skipped_judges) == (True, "2 yes, 0 no", 1)

    async def test_it_is_thin_if_one_vote_less_would_have_turned_it(self) -> None:
        # 0.73 without the first judge's 2 is 0.27; with yes from all, none of them alone matters enough.
        assert (await CQE(jury("yes", "no", "no"), gate=TUNED).ainvoke(judge_request())).is_close
        sure = [
            FunctionJudge(lambda request: Vote(judge="", verdict="no", probability=0.01), name=name) for name in WEIGHTS
        ]
        assert not (await CQE(sure, gate=TUNED).ainvoke(judge_request())).is_close

    @pytest.mark.parametrize(("quorum", "close"), [(1, False), (2, True), (3, True)])
    async def test_it_is_close_if_one_vote_met_or_missed_the_quorum(self, quorum: int, close: bool) -> None:
        gate = TunedGate(judges=tuple(WEIGHTS), tasks={"product_qa": TaskGate(weights=dict.fromkeys(WEIGHTS, 4.0))})
        decision = await CQE(jury("yes", "yes", "abstain"), quorum=quorum, gate=gate).ainvoke(judge_request())
        assert (decision.kept, decision.is_close) == (quorum < 3, close)

    @pytest.mark.parametrize("keeps_all", [True, False])
    async def test_where_all_or_none_are_kept_nobody_is_asked(self, keeps_all: bool) -> None:
        gate = TunedGate(judges=tuple(WEIGHTS), tasks={"product_qa": TaskGate(keeps_all=keeps_all)})
        judges = jury("yes", "no", "no")
        decision = await CQE(judges, gate=gate).ainvoke(judge_request())
        assert (decision.kept, decision.votes, decision.skipped_judges, decision.is_close) == (keeps_all, (), 3, False)
        assert [judge.calls for judge in judges] == [0, 0, 0]
        whole = await CQE(judges, gate=gate).ainvoke(judge_request(), ask_all=True)
        assert (whole.kept, len(whole.votes)) == (keeps_all, 3)

    def test_another_jury_is_refused_and_another_order_is_not(self) -> None:
        with pytest.raises(
            SettingsError, match="tuned for the judges judge-1, judge-2, judge-3, but the jury is judge-1"
        ):
            CQE(jury("yes"), gate=TUNED)
        reversed_jury = jury("yes", "no", "no")[::-1]
        assert CQE(reversed_jury, gate=TUNED).invoke(judge_request()).kept


class TestFile:
    def test_it_comes_back_as_it_was_written(self, tmp_path: Path) -> None:
        path = tmp_path / "gate.json"
        TUNED.save(path)
        assert json.loads(path.read_text())["tasks"]["product_qa"]["weights"] == WEIGHTS
        assert TunedGate.load(path) == TUNED

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                {"version": 3},
                "its version is one that this version of caslie-tools does not read; update caslie-tools, or",
            ),
            ({"version": 3, "rule": "all"}, "write the file again with `caslie tune gate`"),
            ({"version": None}, "its version"),
            ({"judges": ["judge-1"]}, "product_qa needs one weight per judge"),
            ({"tasks": {}}, "tasks"),
            ({"tasks": {"cc": {"weights": {}, "bias": 0, "threshold": 0.5}}}, "cc needs one weight per judge"),
            ({"tasks": {"cc": {"weights": WEIGHTS, "bias": math.nan, "threshold": 0.5}}}, "tasks.cc.bias"),
            ({"tasks": {"cc": {"weights": WEIGHTS, "bias": math.inf, "threshold": 0.5}}}, "tasks.cc.bias"),
            ({"tasks": {"cc": {"weights": WEIGHTS | {"judge-1": 1e9}, "bias": 0, "threshold": 0.5}}}, "judge-1"),
            ({"tasks": {"cc": {"weights": WEIGHTS, "bias": 0, "threshold": 1.5}}}, "tasks.cc.threshold"),
            ({"rule": "all"}, "rule"),
        ],
    )
    def test_what_is_no_gate_is_refused(self, tmp_path: Path, change: dict[str, Any], message: str) -> None:
        path = tmp_path / "gate.json"
        path.write_text(json.dumps(TUNED.model_dump(mode="json") | change))
        with pytest.raises(SettingsError, match=r"the tuned gate .*gate\.json cannot be used") as refused:
            TunedGate.load(path)
        assert message in str(refused.value)

    def test_what_is_no_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="cannot be read: No such file"):
            TunedGate.load(tmp_path / "gone.json")
        (tmp_path / "torn.json").write_text('{"version": 1, "jud')
        with pytest.raises(SettingsError, match="the file: Invalid JSON"):
            TunedGate.load(tmp_path / "torn.json")
        with pytest.raises(SettingsError, match="cannot be written"):
            TUNED.save(tmp_path / "gone" / "gate.json")


class TestUse:
    @pytest.fixture
    def gates(self, tmp_path: Path) -> dict[str, Path]:
        """Two gates of the light jury: the profile's own and another."""
        paths = {}
        with Caslie.open(tmp_path / "names", profile=light_profile(), settings=Settings()) as caslie:
            judges = tuple(judge.get_name() for judge in caslie.pipeline.cqe.judges)
        for name, threshold in (("own", 0.25), ("other", 0.75)):
            gate = TaskGate(weights=dict.fromkeys(judges, 1.0), bias=0, threshold=threshold)
            paths[name] = tmp_path / f"{name}.json"
            TunedGate(judges=judges, tasks={"product_qa": gate}).save(paths[name])
        return paths

    def threshold(self, folder: Path, *, profile: Path | None = None, **settings: Any) -> float | None:
        chosen = dataclasses.replace(light_profile(), gate=profile)
        with Caslie.open(folder / "store", profile=chosen, settings=Settings(**settings)) as caslie:
            gate = caslie.pipeline.cqe.gate
            return None if gate is None else gate.tasks["product_qa"].threshold

    def test_the_setting_comes_before_the_profiles_own(self, tmp_path: Path, gates: dict[str, Path]) -> None:
        assert self.threshold(tmp_path) is None
        assert self.threshold(tmp_path, profile=gates["own"]) == 0.25
        assert self.threshold(tmp_path, gate=gates["other"]) == 0.75
        assert self.threshold(tmp_path, profile=gates["own"], gate=gates["other"]) == 0.75
        assert self.threshold(tmp_path, profile=gates["own"], gate=None) is None

    def test_it_can_be_set_in_the_environment(
        self, tmp_path: Path, gates: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CASLIE_GATE", str(gates["other"]))
        assert self.threshold(tmp_path, profile=gates["own"]) == 0.75

    def test_a_gate_of_another_jury_keeps_it_from_starting(self, tmp_path: Path) -> None:
        TUNED.save(tmp_path / "gate.json")
        with pytest.raises(SettingsError, match="tuned for the judges judge-1"):
            self.threshold(tmp_path, gate=tmp_path / "gate.json")

    def test_in_a_profiles_file_it_is_relative_to_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CASLIE_GATE", "elsewhere.json")  # the setting, which is no part of the profile
        path = tmp_path / "mine.toml"
        roles = (
            '[defaults]\nurls = ["http://127.0.0.1:8000/v1"]\nmodel = "tiny"\n[captioner]\n[[judges]]\n[predictor]\n'
        )
        path.write_text(f'gate = "gates/mine.json"\n{roles}')
        assert load_profile_settings(path).gate == tmp_path / "gates" / "mine.json"
        path.write_text(f'gate = "/shared/mine.json"\n{roles}')
        assert load_profile_settings(path).gate == Path("/shared/mine.json")
        path.write_text(roles)
        assert load_profile_settings(path).gate is None
