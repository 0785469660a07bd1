import asyncio
import itertools
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caslie_tools.domain import GateDecision, Verdict, Vote
from caslie_tools.exceptions import (
    EndpointRefusedError,
    EndpointTimeoutError,
    EndpointUnavailableError,
    InputError,
    MissingExtraError,
    ModelError,
)
from caslie_tools.pipeline.cqe import CQE
from caslie_tools.roles.interfaces import JudgeRequest
from tests.doubles import FixedJudge, FunctionJudge, judge_request, jury, jury_of, raising
from tests.event_loop import settle

VERDICTS: tuple[Verdict, ...] = ("yes", "no", "abstain")
juries = st.lists(st.sampled_from(VERDICTS), min_size=1, max_size=7)


@st.composite
def juries_and_quorums(draw: st.DrawFn) -> tuple[list[Verdict], int | None]:
    verdicts = draw(juries)
    return verdicts, draw(st.one_of(st.none(), st.integers(1, len(verdicts))))


def decide(verdicts: Sequence[Verdict], *, quorum: int | None = None, early_stop: bool = True) -> GateDecision:
    return CQE(jury(*verdicts), quorum=quorum, early_stop=early_stop).invoke(judge_request())


def kept(verdicts: Sequence[Verdict], quorum: int) -> bool:
    """The rule, as the specification words it: a majority of the valid votes, of which there must be a quorum."""
    yes, no = verdicts.count("yes"), verdicts.count("no")
    return yes + no >= quorum and yes > no


def needed(verdicts: Sequence[Verdict], quorum: int) -> int:
    """How many judges it takes, one after the other: brute force over all that the rest could still say."""
    for asked in range(len(verdicts) + 1):
        rests = itertools.product(VERDICTS, repeat=len(verdicts) - asked)
        if len({kept([*verdicts[:asked], *rest], quorum) for rest in rests}) == 1:
            return asked
    raise AssertionError("a full jury has always decided")


class TestVerdict:
    @given(juries_and_quorums())
    def test_it_is_a_majority_of_the_valid_votes_with_a_quorum(self, case: tuple[list[Verdict], int | None]) -> None:
        verdicts, quorum = case
        decision = decide(verdicts, quorum=quorum, early_stop=False)
        assert decision.kept is kept(verdicts, quorum or (len(verdicts) + 1) // 2)
        assert [vote.verdict for vote in decision.votes] == verdicts
        assert decision.abstentions == verdicts.count("abstain")
        assert decision.skipped_judges == 0
        yes, no = verdicts.count("yes"), verdicts.count("no")
        assert decision.margin == (pytest.approx((yes - no) / (yes + no)) if yes + no else 0)

    @pytest.mark.parametrize("verdicts", [["yes", "no"], ["yes", "yes", "no", "no", "abstain"], ["no", "yes"] * 3])
    def test_a_tie_is_no_whoever_votes_first(self, verdicts: list[Verdict]) -> None:
        for early_stop in (True, False):
            assert not decide(verdicts, early_stop=early_stop).kept
            assert not decide(verdicts[::-1], early_stop=early_stop).kept

    @pytest.mark.parametrize(
        ("verdicts", "quorum", "expected"),
        [
            (["yes", "yes", "abstain", "abstain", "abstain"], None, False),  # 2 of 5 do not decide
            (["yes", "yes", "abstain", "abstain", "abstain"], 1, True),  # unless asked for, as in paper mode
            (["yes", "yes", "yes", "abstain", "abstain"], None, True),
            (["abstain", "yes", "abstain", "yes", "no"], None, True),
            (["yes", "yes", "yes", "yes", "abstain"], 5, False),
            (["abstain"] * 5, 1, False),
        ],
    )
    def test_too_few_valid_votes_keep_nothing(
        self, verdicts: list[Verdict], quorum: int | None, expected: bool
    ) -> None:
        assert decide(verdicts, quorum=quorum).kept is expected

    def test_the_reason_says_what_decided(self) -> None:
        assert decide(["yes", "no", "yes"]).reason == "2 yes, 1 no"
        missed = decide(["yes", "abstain", "abstain", "abstain", "yes"])
        assert (missed.reason, missed.abstentions, missed.skipped_judges) == ("1 valid votes of 4, 3 needed", 3, 1)

    @pytest.mark.parametrize("quorum", [0, 4, -1])
    def test_a_quorum_that_no_jury_can_meet_is_refused(self, quorum: int) -> None:
        with pytest.raises(InputError, match="between 1 and 3, the size of the jury"):
            CQE(jury("yes", "yes", "yes"), quorum=quorum)

    @pytest.mark.parametrize(
        ("verdicts", "quorum", "close"),
        [
            # A margin of at most one vote.
            (["yes", "yes", "no"], 2, True),
            (["yes", "no", "no"], 2, True),
            (["yes", "no"], 1, True),
            (["no"], 1, True),
            (["yes", "yes", "yes", "no", "abstain"], 3, False),
            (["no", "no", "no"], 2, False),
            # The quorum is met by one vote: without it, the caption would have been rejected.
            (["yes", "yes", "yes", "abstain", "abstain"], 3, True),
            (["yes", "yes", "abstain"], 1, False),
            (["no", "no", "no", "abstain", "abstain"], 3, False),
            # The quorum is missed by one vote, or by more.
            (["yes", "yes", "abstain", "abstain", "abstain"], 3, True),
            (["no", "no", "abstain", "abstain", "abstain"], 3, False),
            (["yes", "abstain", "abstain", "abstain", "abstain"], 3, False),
            (["yes", "no", "abstain", "abstain", "abstain"], 4, False),
            (["abstain", "abstain"], 1, True),
        ],
    )
    def test_a_decision_is_close_if_one_vote_decided(self, verdicts: list[Verdict], quorum: int, close: bool) -> None:
        assert decide(verdicts, quorum=quorum, early_stop=False).is_close is close

    def test_a_judge_cannot_sit_in_a_jury_several_times(self) -> None:
        judge = FixedJudge("yes", name="llama")
        with pytest.raises(InputError, match="3 judges of the jury are named 'llama': a judge votes once"):
            CQE([judge, *jury("no", "no"), judge, judge])
        with pytest.raises(InputError, match="2 judges of the jury are named 'llama'"):
            CQE([judge, FixedJudge("no", name="llama")])

    def test_an_empty_jury_is_refused(self) -> None:
        with pytest.raises(InputError, match="at least one judge"):
            CQE([])


class TestEarlyStop:
    @given(juries_and_quorums())
    def test_it_never_changes_the_verdict_and_asks_no_more_than_one_after_the_other(
        self, case: tuple[list[Verdict], int | None]
    ) -> None:
        verdicts, quorum = case
        decision = decide(verdicts, quorum=quorum)
        quorum = quorum or (len(verdicts) + 1) // 2
        assert decision.kept is kept(verdicts, quorum)
        assert len(decision.votes) == needed(verdicts, quorum)
        assert decision.skipped_judges == len(verdicts) - len(decision.votes)
        assert [vote.verdict for vote in decision.votes] == verdicts[: len(decision.votes)]

    def test_a_unanimous_jury_of_five_takes_three_calls(self) -> None:
        judges = jury("yes", "yes", "yes", "yes", "yes")
        CQE(judges).invoke(judge_request())
        assert [judge.calls for judge in judges] == [1, 1, 1, 0, 0]

    def test_five_judges_that_say_yes_with_probability_four_fifths_take_3_63_calls(self) -> None:
        chance, expected = Fraction(4, 5), Fraction(0)
        for verdicts in itertools.product(VERDICTS[:2], repeat=5):
            yes = verdicts.count("yes")
            calls = len(decide(verdicts).votes)
            expected += chance**yes * (1 - chance) ** (5 - yes) * calls
        assert expected == Fraction(2271, 625)  # 3.6336, by enumeration of all 32 juries
        assert round(float(expected), 2) == 3.63


class TestAbstaining:
    async def test_a_judge_that_fails_abstains_and_its_vote_leaves_out_the_message(self) -> None:
        broken = FunctionJudge(raising(ConnectionError("https://api.example/?key=hunter2")), name="broken")
        decision = await CQE([broken, *jury("yes", "yes")]).ainvoke(judge_request())
        assert decision.kept
        assert not decision.jury_failed
        assert decision.votes[0] == Vote(
            judge="broken", verdict="abstain", reason="failed: ConnectionError", failure="unavailable"
        )
        assert "hunter2" not in decision.model_dump_json()

    @pytest.mark.virtual_time
    async def test_a_judge_that_hangs_abstains(self) -> None:
        async def hang(request: JudgeRequest) -> Verdict:
            await asyncio.Event().wait()
            return "no"

        hanging = FunctionJudge(hang, name="hanging")
        decision = await CQE([hanging, *jury("yes", "yes")], timeout_seconds=0.01).ainvoke(judge_request())
        assert decision.kept
        assert decision.votes[0] == Vote(
            judge="hanging", verdict="abstain", reason="failed: TimeoutError", failure="timeout"
        )
        assert hanging.running == 0

    @pytest.mark.parametrize(
        ("error", "failure"),
        [
            (EndpointUnavailableError("down"), "unavailable"),
            (EndpointTimeoutError("slow"), "timeout"),
            (EndpointRefusedError("no such model"), "refused"),
            (MissingExtraError("local", "Judging"), "missing_dependency"),
            (ModelError("out of memory"), "error"),
            (ValueError("?"), "error"),
        ],
    )
    async def test_a_vote_has_the_kind_of_its_judge_s_failure(self, error: Exception, failure: str) -> None:
        decision = await CQE([FunctionJudge(raising(error))]).ainvoke(judge_request())
        assert decision.votes[0].failure == failure

    async def test_the_kind_of_a_failure_may_come_from_its_cause(self) -> None:
        def fail(request: JudgeRequest) -> Verdict:
            try:
                raise ConnectionRefusedError("10.0.0.1")
            except ConnectionRefusedError as error:
                raise RuntimeError("the client gave up") from error

        decision = await CQE([FunctionJudge(fail)]).ainvoke(judge_request())
        assert (decision.votes[0].failure, decision.votes[0].reason) == ("unavailable", "failed: RuntimeError")

    async def test_a_missing_dependency_is_reported_with_what_to_install(self) -> None:
        missing = FunctionJudge(raising(MissingExtraError("local", "Judging")))
        decision = await CQE([missing]).ainvoke(judge_request())
        assert decision.votes[0].reason == str(MissingExtraError("local", "Judging"))

    async def test_a_judge_that_abstains_has_not_failed(self) -> None:
        decision = await CQE(jury("abstain")).ainvoke(judge_request())
        assert decision.votes[0].failure is None
        assert not decision.jury_failed

    async def test_a_judge_that_answers_nonsense_abstains(self) -> None:
        class Odd(FunctionJudge):
            def _answer(self, value: object) -> Vote:
                return None  # type: ignore[return-value]

        decision = await CQE([Odd(lambda request: "yes", name="odd"), *jury("no", "no")]).ainvoke(judge_request())
        assert not decision.kept
        assert (decision.votes[0].judge, decision.votes[0].verdict) == ("odd", "abstain")

    async def test_when_every_judge_fails_nothing_is_kept_and_the_reason_names_the_judges(self) -> None:
        errors = [OSError(), ConnectionError(), TimeoutError(), OSError(), OSError()]
        judges = [FunctionJudge(raising(error), name=f"judge-{number}") for number, error in enumerate(errors, start=1)]
        decision = await CQE(judges).ainvoke(judge_request())
        assert (decision.kept, decision.margin, decision.abstentions, decision.skipped_judges) == (False, 0, 3, 2)
        assert decision.jury_failed
        assert decision.reason == "no judge could run: judge-1 (error), judge-2 (unavailable), judge-3 (timeout)"

    async def test_a_cancelled_request_is_cancelled_and_not_a_vote(self) -> None:
        async def hang(request: JudgeRequest) -> Verdict:
            await asyncio.Event().wait()
            return "yes"

        judges = jury_of(3, hang)
        call = asyncio.create_task(CQE(judges).ainvoke(judge_request()))
        await settle()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await settle()
        assert [judge.running for judge in judges] == [0, 0, 0]


class TestVotes:
    async def test_they_carry_the_judges_names_probabilities_and_reasons(self) -> None:
        vote = Vote(judge="whatever it calls itself", verdict="yes", probability=0.7, reason="shows the size")
        decision = await CQE([FunctionJudge(lambda request: vote, name="judge-7b")]).ainvoke(judge_request())
        assert decision.votes == (vote.model_copy(update={"judge": "judge-7b"}),)

    async def test_every_judge_gets_the_very_caption_and_context(self) -> None:
        judges, request = jury("yes", "no", "yes"), judge_request("A red mug, 350 ml.", focus="How large is it?")
        await CQE(judges).ainvoke(request)
        assert [judge.requests for judge in judges] == [[request]] * 3

    async def test_they_stand_in_the_jurys_order_whoever_answers_first(self) -> None:
        done = asyncio.Event()

        async def last(request: JudgeRequest) -> Verdict:
            await done.wait()
            return "no"

        def first(request: JudgeRequest) -> Verdict:
            done.set()
            return "yes"

        judges = [FunctionJudge(last, name="slow"), FunctionJudge(first, name="quick"), FixedJudge("yes", name="third")]
        decision = await CQE(judges).ainvoke(judge_request())
        assert [vote.judge for vote in decision.votes] == ["slow", "quick", "third"]

    async def test_the_same_request_is_always_decided_alike(self) -> None:
        cqe = CQE(jury("yes", "no", "abstain", "yes", "no"))
        decisions = await cqe.abatch([judge_request()] * 20)
        assert decisions == [decisions[0]] * 20


class TestParallelism:
    @pytest.mark.virtual_time
    async def test_a_wave_is_asked_at_once_and_the_next_one_after_it(self) -> None:
        meeting = asyncio.Barrier(3)

        def meet(verdict: Verdict, name: str) -> FunctionJudge:
            async def vote(request: JudgeRequest) -> Verdict:
                await meeting.wait()  # passes only if all three are under way together
                return verdict

            return FunctionJudge(vote, name=name)

        first = [meet("yes", "first"), meet("no", "second"), meet("yes", "third")]
        spare = jury("yes", "yes")
        decision = await CQE([*first, *spare], timeout_seconds=5).ainvoke(judge_request())
        assert decision.kept
        assert [judge.calls for judge in spare] == [1, 0]

    @pytest.mark.parametrize("limit", [1, 2, 5])
    async def test_no_more_votes_than_the_bound_are_under_way_over_all_captions(self, limit: int) -> None:
        inside = peak = 0

        async def vote(request: JudgeRequest) -> Verdict:
            nonlocal inside, peak
            inside += 1
            peak = max(peak, inside)
            await settle()
            inside -= 1
            return "yes"

        cqe = CQE(jury_of(5, vote), max_concurrency=limit)
        await cqe.abatch([judge_request(f"caption {number}") for number in range(4)])
        assert peak == limit

    def test_a_batch_judges_every_caption_by_itself(self) -> None:
        def names_red(request: JudgeRequest) -> Verdict:
            return "yes" if "red" in request.caption else "no"

        captions = ["A red mug.", "A mug.", "Something red."]
        judges = jury_of(3, names_red)
        decisions = CQE(judges).batch([judge_request(caption) for caption in captions])
        assert [decision.kept for decision in decisions] == [True, False, True]

    async def test_it_works_within_a_running_loop_too(self) -> None:
        assert CQE(jury("yes")).invoke(judge_request()).kept


class TestDecider:
    """One judge, the first, decides alone wherever it does not abstain."""

    @pytest.mark.parametrize("verdict", ["yes", "no"])
    async def test_it_decides_against_all_others_and_nobody_else_is_asked(self, verdict: Verdict) -> None:
        other: Verdict = "no" if verdict == "yes" else "yes"
        judges = [FixedJudge(verdict, name="first"), *jury(other, other, other)]
        decision = await CQE(judges, decider="first").ainvoke(judge_request())
        assert decision.kept is (verdict == "yes")
        assert (decision.decided_by, decision.margin) == ("judge", 1.0 if verdict == "yes" else -1.0)
        assert decision.skipped_judges == 3
        assert [judge.calls for judge in judges] == [1, 0, 0, 0]

    async def test_if_all_are_asked_it_still_decides(self) -> None:
        judges = [FixedJudge("yes", name="first"), *jury("no", "no", "no")]
        decision = await CQE(judges, decider="first").ainvoke(judge_request(), ask_all=True)
        assert decision.kept
        assert [vote.verdict for vote in decision.votes] == ["yes", "no", "no", "no"]

    async def test_votes_that_it_gave_before_are_not_asked_for_again(self) -> None:
        judges = [FixedJudge("yes", name="first"), *jury("no", "no", "no")]
        cqe = CQE(judges, decider="first")
        votes = (await cqe.ainvoke(judge_request())).votes
        decision = await cqe.ainvoke(judge_request(), ask_all=True, previous_votes=votes)
        assert decision.kept
        assert [judge.calls for judge in judges] == [1, 1, 1, 1]

    async def test_the_jury_decides_where_it_abstains(self) -> None:
        decision = await CQE([FixedJudge("abstain", name="first"), *jury("yes", "yes", "no")], decider="first").ainvoke(
            judge_request()
        )
        assert (decision.kept, decision.decided_by, decision.reason) == (True, "jury", "2 yes, 0 no")

    async def test_a_probability_near_one_half_is_close(self) -> None:
        def vote(probability: float) -> FunctionJudge:
            return FunctionJudge(
                lambda request: Vote(judge="first", verdict="yes", probability=probability), name="first"
            )

        close, clear = [
            await CQE([vote(probability)], decider="first").ainvoke(judge_request()) for probability in (0.52, 0.9)
        ]
        assert (close.is_close, clear.is_close) == (True, False)

    def test_it_must_be_the_first_judge(self) -> None:
        with pytest.raises(InputError, match="must be the first of the jury"):
            CQE(jury("yes", "no", "yes"), decider="somebody")
