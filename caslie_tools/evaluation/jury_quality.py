"""Measures how many independent judges a jury is worth, by the errors of its judges.

An error is a vote against the effect of a caption: no to a helpful caption, or yes to a misleading one. Other captions
do not change whether the answer is right, so no vote on them is an error.

If the errors of ``n`` votes correlate by ``r`` on average, the mean of the votes varies like the mean of
``n / (1 + (n - 1) * r)`` independent votes (Kish 1965). Abstentions are no votes.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from caslie_tools.domain import FrozenModel
from caslie_tools.evaluation.caption_effects import NEEDED
from caslie_tools.evaluation.clusters import Names, cluster_folds
from caslie_tools.evaluation.formatting import format_number
from caslie_tools.evaluation.groups import OutcomeGroup
from caslie_tools.evaluation.scored_outcomes import ScoredCaption

MIN_CAPTIONS: Final = 20
"""With fewer decisive captions, there are no figures about the jury."""
_FOLDS: Final = 5

BoolArray: TypeAlias = npt.NDArray[np.bool_]


class JudgeQuality(FrozenModel):
    """The votes of one judge on decisive captions."""

    judge: str
    right: float
    """Share of captions on which the judge alone would decide rightly. An abstention rejects the caption."""
    abstained: float
    """Share of captions on which the judge abstains."""
    correlations: dict[str, float | None]
    """Correlation of this judge's errors with those of each other judge, on captions that both voted on. ``None`` if
    one of the two made no error there, or only errors."""


class JuryQuality(FrozenModel):
    """The jury of one split, over the tasks that take part in the conclusions."""

    split: str
    captions: int
    """Number of decisive captions: helpful or misleading ones."""
    judges: tuple[JudgeQuality, ...] = ()
    """Empty if there are fewer than :data:`MIN_CAPTIONS` decisive captions, like all figures below."""
    correlation: float | None = None
    """Mean correlation of the errors over all pairs of judges. ``None`` if there is no pair."""
    votes: float | None = None
    """Mean number of votes on a caption, without abstentions."""
    effective_votes: float | None = None
    """Number of independent votes that these votes are worth. ``None`` without a correlation."""
    right: float | None = None
    """Share of decisive captions that the gate decides rightly."""
    best_judge: str = ""
    """The judge with the most right decisions."""
    best_right: float | None = None
    """Share of right decisions of the best single judge, chosen by the captions of other products. Chosen by the same
    captions, the best of several judges would look better than it is."""

    @property
    def sentence(self) -> str:
        """The figures as a sentence."""
        if self.right is None or self.best_right is None:
            return (
                f"The jury: only {self.captions} captions change whether the answer is right, too few for figures "
                f"(fewer than {MIN_CAPTIONS})."
            )
        worth = (
            f"{len(self.judges)} judges cast {self.votes:.1f} votes on a caption, which are worth "
            f"{self.effective_votes:.1f} independent votes (their errors correlate by "
            f"{format_number(self.correlation or 0)} on average). "
            if self.effective_votes is not None
            else ""
        )
        return (
            f"The jury: {worth}Of the {self.captions} captions that change whether the answer is right, the gate "
            f"decides {format_number(self.right)} rightly, and the best single judge {format_number(self.best_right)} "
            f"({self.best_judge} over all; chosen by the captions of other products)."
        )


def jury_quality(groups: Sequence[OutcomeGroup]) -> list[JuryQuality]:
    """Returns the quality of the jury for each split that was run with a gate."""
    splits = sorted({group.split for group in groups})
    return [
        _quality(split, [group for group in groups if group.split == split])
        for split in splits
        if any(group.with_treatments(*NEEDED) for group in groups if group.split == split)
    ]


def _quality(split: str, groups: Sequence[OutcomeGroup]) -> JuryQuality:
    captions: list[ScoredCaption] = []
    names: list[Names] = []
    for outcome in (outcome for group in groups for outcome in group.outcomes):
        decisive = [caption for caption in outcome.captions if caption.use in ("helpful", "misleading")]
        captions += decisive
        names += [outcome.names | {f"record:{outcome.key}"}] * len(decisive)
    judges = list(dict.fromkeys(judge for caption in captions for judge, _ in caption.votes))
    if len(captions) < MIN_CAPTIONS or not judges:
        return JuryQuality(split=split, captions=len(captions))
    helpful = np.array([caption.use == "helpful" for caption in captions])
    votes = [dict(caption.votes) for caption in captions]
    voted = {judge: np.array([one.get(judge) in ("yes", "no") for one in votes]) for judge in judges}
    right = {judge: np.array([one.get(judge) == "yes" for one in votes]) == helpful for judge in judges}
    correlations = {
        pair: _correlation(~right[pair[0]], ~right[pair[1]], voted[pair[0]] & voted[pair[1]])
        for pair in combinations(judges, 2)
    }
    cast = sum(float(one.mean()) for one in voted.values())
    known = [value for value in correlations.values() if value is not None]
    correlation = float(np.mean(known)) if known else None
    return JuryQuality(
        split=split,
        captions=len(captions),
        judges=tuple(
            JudgeQuality(
                judge=judge,
                right=float(right[judge].mean()),
                abstained=float(1 - voted[judge].mean()),
                correlations={
                    other: correlations.get((judge, other), correlations.get((other, judge)))
                    for other in judges
                    if other != judge
                },
            )
            for judge in judges
        ),
        correlation=correlation,
        votes=cast,
        effective_votes=_effective_votes(cast, correlation),
        right=float((np.array([caption.kept for caption in captions]) == helpful).mean()),
        best_judge=_best(right, np.arange(len(captions))),
        best_right=_best_right(right, names),
    )


def _correlation(first: BoolArray, second: BoolArray, both: BoolArray) -> float | None:
    one, other = first[both].astype(float), second[both].astype(float)
    if len(one) < 2 or one.std() == 0 or other.std() == 0:
        return None
    return float(np.corrcoef(one, other)[0, 1])


def _effective_votes(votes: float, correlation: float | None) -> float | None:
    if votes <= 1:
        return votes
    if correlation is None or (denominator := 1 + (votes - 1) * correlation) <= 0:
        return None
    return votes / denominator


def _best(right: Mapping[str, BoolArray], rows: npt.NDArray[np.int64]) -> str:
    return max(right, key=lambda judge: float(right[judge][rows].mean()))


def _best_right(right: Mapping[str, BoolArray], names: Sequence[Names]) -> float:
    """Returns how often the best judge is right, chosen by captions of other products than the one it decides."""
    decided = np.zeros(len(names), dtype=bool)
    for seen, rest in cluster_folds(names, [0] * len(names), _FOLDS):
        judge = _best(right, seen if len(seen) else np.arange(len(names)))
        decided[rest] = right[judge][rest]
    return float(decided.mean())
