"""CQE, Caption Quality Evaluation: a jury votes on whether a caption helps (paper, section CQE).

The majority of the valid votes decides. A tie, or fewer valid votes than the quorum, rejects the caption. Judges are
asked in waves. A wave is the smallest number of judges that settles the decision if they agree, so that no more judges
are asked than if they were asked one by one. The decision of a counted vote is the one that the full jury would make.

For a task with a tuned gate, all judges are asked and their votes are weighted instead of counted. A learned gate asks
only the judges that it needs. No judge is asked if the gate keeps every caption, or none.

One judge may decide alone wherever it does not abstain, such as the judge that measures what a caption does to the
answer. The rest of the jury is asked only where it abstains.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.runnables import RunnableConfig

from caslie_tools._concurrency import AsyncRunnable, ConcurrencyLimit
from caslie_tools.domain import GateDecision, Vote
from caslie_tools.exceptions import InputError
from caslie_tools.pipeline.failed_votes import describe_failures, failed_vote
from caslie_tools.pipeline.learned_gate import LearnedGate, caption_signals
from caslie_tools.pipeline.tuned_gate import TaskGate, TunedGate
from caslie_tools.roles.interfaces import Judge, JudgeRequest

_UNDECIDED: Final = 0.05
"""A judge that decides alone is undecided if its probability is this close to 0.5."""


class CQE(AsyncRunnable[JudgeRequest, GateDecision]):
    """Decides whether a caption is kept.

    A judge that fails, exceeds its time limit or answers neither yes nor no abstains. Its vote says why. The decision
    itself does not fail because of a judge.

    Args:
        judges: The jury, in the order in which the judges are asked.
        quorum: Number of valid votes that is needed to keep a caption. By default half of the jury, rounded up.
        early_stop: Whether judges are skipped when the decision does not depend on their votes any more.
        gate: A gate that was tuned for this jury. It decides the tasks it was tuned for, if there is a quorum.
        decider: The name of the first judge, if it decides alone wherever it does not abstain. A tuned gate goes first.
        max_concurrency: Number of votes that are requested at the same time, over all captions.
        timeout_seconds: Time limit of one judge for one vote.

    Raises:
        InputError: If there is no judge, two judges have the same name, the quorum is not between 1 and the size of
            the jury, or the judge that decides alone is not the first one.
        SettingsError: If the gate was tuned for another jury, or needs numbers that these judges do not report.
    """

    def __init__(
        self,
        judges: Sequence[Judge],
        *,
        quorum: int | None = None,
        early_stop: bool = True,
        gate: TunedGate | None = None,
        decider: str | None = None,
        max_concurrency: int = 16,
        timeout_seconds: float = 30.0,
    ) -> None:
        if not judges:
            raise InputError("CQE needs at least one judge")
        self.judges = tuple(judges)
        names = [judge.get_name() for judge in judges]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise InputError(
                f"{len(repeated)} judges of the jury are named {repeated[0]!r}: a judge votes once, so give different "
                "judges different names"
            )
        self.quorum = (len(judges) + 1) // 2 if quorum is None else quorum
        if not 1 <= self.quorum <= len(judges):
            raise InputError(f"the quorum must be between 1 and {len(judges)}, the size of the jury; it is {quorum}")
        if gate is not None:
            gate.require_judges(judges)
        if decider is not None and decider != names[0]:
            raise InputError(
                f"the judge that decides alone must be the first of the jury, {names[0]!r}; it is {decider!r}"
            )
        self.decider = decider
        self.early_stop = early_stop
        self.gate = gate
        self.timeout_seconds = timeout_seconds
        self._limit = ConcurrencyLimit(max_concurrency)

    async def ainvoke(
        self,
        input: JudgeRequest,
        config: RunnableConfig | None = None,
        *,
        ask_all: bool = False,
        previous_votes: Sequence[Vote] = (),
        **kwargs: Any,
    ) -> GateDecision:
        """Lets the jury vote on one caption.

        Args:
            input: The caption and its context.
            config: Passed on to the judges.
            ask_all: Ask all judges, even if the decision is settled. Without all votes, nobody can tell whether the
                decision is close.
            previous_votes: Votes of some judges on the same caption and context. These judges are not asked again.
            **kwargs: Ignored.
        """
        votes = list(previous_votes)
        task_gate = None if self.gate is None else self.gate.tasks.get(input.context.task)
        signals = caption_signals(input)
        if task_gate is not None and task_gate.keeps_all is not None and not ask_all:
            return self._decide(votes, signals, task_gate)
        alone = None
        if self.decider is not None and task_gate is None:
            votes = votes or [await self._vote(self.judges[0], input, config)]
            alone = votes[0] if votes[0].verdict != "abstain" else None
            if alone is not None and not ask_all:
                return self._decide(votes, signals, task_gate, alone)
        early_stop = self.early_stop and not ask_all and task_gate is None
        voted = {vote.judge for vote in votes}
        waiting = [judge for judge in self._asked(task_gate, ask_all=ask_all) if judge.get_name() not in voted]
        while wave := self._next_wave(votes, len(waiting), early_stop=early_stop):
            votes += await asyncio.gather(*(self._vote(judge, input, config) for judge in waiting[:wave]))
            waiting = waiting[wave:]
        order = [judge.get_name() for judge in self.judges]
        return self._decide(sorted(votes, key=lambda vote: order.index(vote.judge)), signals, task_gate, alone)

    def _asked(self, gate: TaskGate | None, *, ask_all: bool) -> Sequence[Judge]:
        """Returns the judges that may be asked. A learned gate needs only some of them."""
        if ask_all or gate is None or gate.learned is None:
            return self.judges
        needed = gate.learned.judges
        return [judge for judge in self.judges if judge.get_name() in needed]

    def _next_wave(self, votes: Sequence[Vote], left: int, *, early_stop: bool) -> int:
        """Returns how many judges to ask next: the fewest that can settle the decision, or 0 if it is settled.

        Args:
            votes: The votes so far.
            left: Number of judges that can still be asked.
            early_stop: Whether to ask only as many as can settle the decision.
        """
        if not early_stop:
            return left
        yes, no = _count(votes)
        for more in range(left):
            # The next votes settle the decision soonest if they are all yes, all no or all abstentions.
            outcomes = (yes + more, no), (yes, no + more), (yes, no)
            if any(self._is_settled(*counts, left - more) for counts in outcomes):
                return more
        return left

    def _is_settled(self, yes: int, no: int, left: int) -> bool:
        certainly_kept = yes > no + left and yes + no >= self.quorum
        certainly_rejected = no >= yes + left or yes + no + left < self.quorum
        return certainly_kept or certainly_rejected

    async def _vote(self, judge: Judge, request: JudgeRequest, config: RunnableConfig | None) -> Vote:
        try:
            async with self._limit(), asyncio.timeout(self.timeout_seconds):
                vote = await judge.ainvoke(request, config)
            return vote.model_copy(update={"judge": judge.get_name()})
        except Exception as error:  # noqa: BLE001 (a failing judge must neither decide nor stop the others)
            return failed_vote(judge.get_name(), error)

    def _decide(
        self,
        votes: Sequence[Vote],
        signals: Mapping[str, float],
        gate: TaskGate | None,
        alone: Vote | None = None,
    ) -> GateDecision:
        yes, no = _count(votes)
        valid = yes + no
        undecided = GateDecision(
            kept=False,
            votes=tuple(votes),
            margin=(yes - no) / valid if valid else 0.0,
            abstentions=len(votes) - valid,
            skipped_judges=len(self.judges) - len(votes),
            quorum=self.quorum,
            signals=dict(signals),
        )
        if alone is not None:
            decided = _decide_alone(alone)
        elif gate is None or gate.is_weighted:
            decided = self._count_or_weigh(undecided, gate)
        elif gate.learned is not None:
            decided = _decide_by_model(undecided, gate, gate.learned)
        else:
            kept = bool(gate.keeps_all)
            reason = f"tuned gate: {'every caption is' if kept else 'no caption is'} kept for this task"
            decided = {"kept": kept, "one_vote_decides": False, "reason": reason}
        return undecided.model_copy(update=decided)

    def _count_or_weigh(self, undecided: GateDecision, gate: TaskGate | None) -> dict[str, Any]:
        votes = undecided.votes
        yes, no = _count(votes)
        valid = yes + no
        if votes and all(vote.failure is not None for vote in votes):
            reason = f"no judge could run: {describe_failures(votes)}"
        elif valid + undecided.skipped_judges < self.quorum:
            reason = f"{valid} valid votes of {len(votes)}, {self.quorum} needed"
        else:
            reason = f"{yes} yes, {no} no"
            if gate is not None:
                reason += f"; tuned gate: {gate.probability(votes):.3f}, {gate.threshold:.3f} needed"
        return {
            "kept": valid >= self.quorum and (yes > no if gate is None else gate.keeps(votes)),
            "one_vote_decides": None if gate is None else self._one_vote_decides(votes, valid, gate),
            "reason": reason,
        }

    def _one_vote_decides(self, votes: Sequence[Vote], valid: int, gate: TaskGate) -> bool:
        """Returns whether one vote decided a tuned gate, or whether it met or missed the quorum."""
        if valid < self.quorum:
            return valid == self.quorum - 1 and gate.keeps(votes)
        return gate.is_close(votes) or (valid == self.quorum and gate.keeps(votes))


def _decide_alone(vote: Vote) -> dict[str, Any]:
    return {
        "kept": vote.verdict == "yes",
        "margin": 1.0 if vote.verdict == "yes" else -1.0,
        "one_vote_decides": vote.probability is not None and abs(vote.probability - 0.5) < _UNDECIDED,
        "reason": f"decided by {vote.judge}: {vote.reason or vote.verdict}",
        "decided_by": "judge",
    }


def _decide_by_model(undecided: GateDecision, gate: TaskGate, model: LearnedGate) -> dict[str, Any]:
    votes, signals = undecided.votes, undecided.signals
    estimate = model.estimate(votes, signals)
    reason = "learned gate: " + ", ".join(f"{effect} {share:.2f}" for effect, share in estimate)
    if failures := describe_failures(votes):
        reason += f"; could not run: {failures}"
    return {
        "kept": gate.keeps(votes, signals),
        "one_vote_decides": gate.is_close(votes, signals),
        "quorum": max(1, model.answers_needed),
        "reason": reason,
        "estimate": estimate,
    }


def _count(votes: Sequence[Vote]) -> tuple[int, int]:
    """Returns the numbers of yes and of no votes."""
    return sum(vote.verdict == "yes" for vote in votes), sum(vote.verdict == "no" for vote in votes)
