"""Do two strategies come to the same verdicts, and if not, why?"""

from collections.abc import Sequence
from dataclasses import dataclass

from caslie_tools.domain import GateDecision, Vote


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Two juries' decisions on the same captions, compared."""

    captions: int
    same: int
    """Captions with the same verdict."""
    by_abstentions: int
    """Captions whose verdict differs though no judge contradicts itself: only by abstentions."""
    votes: int
    """Votes, yes or no, that a judge cast on a caption in both."""
    same_votes: int

    @property
    def by_votes(self) -> int:
        """Captions whose verdict differs and on which a judge said yes to the one and no to the other."""
        return self.captions - self.same - self.by_abstentions


def compare(reference: Sequence[GateDecision], ours: Sequence[GateDecision]) -> Agreement:
    """Compares the decisions on the same captions, in the same order."""
    same = by_abstentions = votes = same_votes = 0
    for first, second in zip(reference, ours, strict=True):
        before = _valid(first.votes)
        pairs = [(before[judge], verdict) for judge, verdict in _valid(second.votes).items() if judge in before]
        equal = sum(one == other for one, other in pairs)
        votes += len(pairs)
        same_votes += equal
        if first.kept == second.kept:
            same += 1
        elif equal == len(pairs):
            by_abstentions += 1
    return Agreement(
        captions=len(reference), same=same, by_abstentions=by_abstentions, votes=votes, same_votes=same_votes
    )


def _valid(votes: Sequence[Vote]) -> dict[str, str]:
    return {vote.judge: vote.verdict for vote in votes if vote.verdict != "abstain"}
