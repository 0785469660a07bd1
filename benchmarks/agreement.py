"""Compares the verdicts of two strategies, and determines why they differ."""

from collections.abc import Sequence
from dataclasses import dataclass

from caslie_tools.domain import GateDecision, Vote


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The agreement of two juries about the same captions."""

    captions: int
    same: int
    """Captions with the same verdict."""
    by_abstentions: int
    """Captions whose verdicts differ only because of abstentions: all pairs of votes on them are equal."""
    votes: int
    """Pairs of votes (yes or no) of the same judge on the same caption."""
    same_votes: int
    """Pairs of equal votes."""

    @property
    def by_votes(self) -> int:
        """Captions whose verdicts differ and on which a judge voted yes in one jury and no in the other."""
        return self.captions - self.same - self.by_abstentions


def compare(reference: Sequence[GateDecision], ours: Sequence[GateDecision]) -> Agreement:
    """Compares the decisions of two juries about the same captions, in the same order."""
    same = by_abstentions = votes = same_votes = 0
    for first, second in zip(reference, ours, strict=True):
        before = _valid(first.votes)
        pairs = [(before[judge], verdict) for judge, verdict in _valid(second.votes).items() if judge in before]
        equal = sum(before_vote == after_vote for before_vote, after_vote in pairs)
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
