"""CQE, Caption Quality Evaluation: a jury votes whether a caption helps (paper, section CQE).

A hard majority of the valid votes decides; a tie, or too few valid votes, is no. Judges are asked in waves just large
enough to settle the vote if all of a wave agree, so no more judges are asked than one after the other would need, and
the verdict is always the full jury's. Where a gate was tuned for the task, the whole jury is asked and its votes are
weighed instead of counted; or nobody is, where the gate keeps every caption or none.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig

from caslie_tools._concurrency import AsyncRunnable, ConcurrencyLimit
from caslie_tools.domain import GateDecision, Vote
from caslie_tools.exceptions import InputError
from caslie_tools.pipeline.failed_votes import describe_failures, failed_vote
from caslie_tools.pipeline.tuned_gate import TaskGate, TunedGate
from caslie_tools.roles.interfaces import Judge, JudgeRequest


class CQE(AsyncRunnable[JudgeRequest, GateDecision]):
    """Decides whether a caption is used.

    Never fails because of a judge: one that fails, times out or answers neither yes nor no abstains, and its vote
    says why.

    Args:
        judges: The jury, in the order it is asked.
        quorum: Valid votes it takes to keep a caption; by default half of the jury, rounded up.
        early_stop: Stop asking when the verdict cannot change any more.
        gate: A gate tuned for this jury: it decides the tasks it was tuned for, if there is a quorum.
        max_concurrency: Votes under way at once, over all captions.
        timeout_seconds: Time one judge has for one vote.

    Raises:
        InputError: If there is no judge, or the quorum is none for this jury.
        SettingsError: If the gate was tuned for another jury.
    """

    def __init__(
        self,
        judges: Sequence[Judge],
        *,
        quorum: int | None = None,
        early_stop: bool = True,
        gate: TunedGate | None = None,
        max_concurrency: int = 16,
        timeout_seconds: float = 30.0,
    ) -> None:
        if not judges:
            raise InputError("CQE needs at least one judge")
        self.judges = tuple(judges)
        self.quorum = (len(judges) + 1) // 2 if quorum is None else quorum
        if not 1 <= self.quorum <= len(judges):
            raise InputError(f"the quorum is 1 to {len(judges)}, the size of the jury, not {quorum}")
        if gate is not None:
            gate.require_jury([judge.get_name() for judge in self.judges])
        self.early_stop = early_stop
        self.gate = gate
        self.timeout_seconds = timeout_seconds
        self._bound = ConcurrencyLimit(max_concurrency)

    async def ainvoke(
        self,
        input: JudgeRequest,
        config: RunnableConfig | None = None,
        *,
        whole_jury: bool = False,
        earlier: Sequence[Vote] = (),
        **kwargs: Any,
    ) -> GateDecision:
        """Lets the jury vote on one caption.

        Args:
            input: The caption and its context.
            config: Passed on to the judges.
            whole_jury: Ask every judge even if the verdict is settled, to see how thin it is.
            earlier: Votes on this very caption that the first judges have cast already; they are not asked again.
            **kwargs: Not used.
        """
        votes = list(earlier)
        tuned = None if self.gate is None else self.gate.tasks.get(input.context.task)
        early_stop = self.early_stop and not whole_jury and tuned is None
        if tuned is not None and tuned.keeps_all is not None and not whole_jury:
            return self._decide(votes, tuned)
        while wave := self._next_wave(votes, early_stop=early_stop):
            judges = self.judges[len(votes) : len(votes) + wave]
            votes += await asyncio.gather(*(self._vote(judge, input, config) for judge in judges))
        return self._decide(votes, tuned)

    def _next_wave(self, votes: Sequence[Vote], *, early_stop: bool) -> int:
        """Returns how many judges to ask next: the fewest that could settle it, 0 once it is settled."""
        left = len(self.judges) - len(votes)
        if not early_stop:
            return left
        yes, no = _count(votes)
        for more in range(left):
            # All yes, all no or all abstaining: nothing in between settles it sooner.
            agreed = (yes + more, no), (yes, no + more), (yes, no)
            if any(self._settled(*counts, left - more) for counts in agreed):
                return more
        return left

    def _settled(self, yes: int, no: int, left: int) -> bool:
        kept_for_sure = yes > no + left and yes + no >= self.quorum
        rejected_for_sure = no >= yes + left or yes + no + left < self.quorum
        return kept_for_sure or rejected_for_sure

    async def _vote(self, judge: Judge, request: JudgeRequest, config: RunnableConfig | None) -> Vote:
        try:
            async with self._bound(), asyncio.timeout(self.timeout_seconds):
                vote = await judge.ainvoke(request, config)
            return vote.model_copy(update={"judge": judge.get_name()})
        except Exception as error:  # noqa: BLE001 (a failing judge must neither decide nor stop the others)
            return failed_vote(judge.get_name(), error)

    def _decide(self, votes: Sequence[Vote], tuned: TaskGate | None) -> GateDecision:
        yes, no = _count(votes)
        valid = yes + no
        unasked = len(self.judges) - len(votes)
        kept = valid >= self.quorum and (yes > no if tuned is None else tuned.keeps(votes))
        thin = None
        if tuned is not None and tuned.keeps_all is not None:
            kept, thin = tuned.keeps_all, False
            reason = f"tuned gate: {'every caption is' if kept else 'no caption is'} kept for this task"
        elif votes and all(vote.failure is not None for vote in votes):
            reason = f"no judge could run: {describe_failures(votes)}"
        elif valid + unasked < self.quorum:
            reason = f"{valid} valid votes of {len(votes)}, {self.quorum} needed"
        else:
            reason = f"{yes} yes, {no} no"
            if tuned is not None:
                thin = tuned.is_thin(votes)
                reason += f"; tuned gate: {tuned.probability(votes):.3f}, {tuned.threshold:.3f} needed"
        return GateDecision(
            kept=kept,
            votes=tuple(votes),
            margin=(yes - no) / valid if valid else 0.0,
            abstentions=len(votes) - valid,
            unasked=unasked,
            reason=reason,
            turned_by_one=thin,
        )


def _count(votes: Sequence[Vote]) -> tuple[int, int]:
    return sum(vote.verdict == "yes" for vote in votes), sum(vote.verdict == "no" for vote in votes)
