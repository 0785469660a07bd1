"""Learns how much each judge's vote counts: a logistic regression on captions that change whether the answer is right.

In every cross-validation, the captions of one product are either learned from or decided, never both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from caslie_tools.domain import Vote
from caslie_tools.evaluation.caption_effects import JudgedCaption
from caslie_tools.evaluation.clusters import Names, cluster_folds, main_clusters
from caslie_tools.pipeline.log_odds import log_odds

FOLDS: Final = 5
"""Number of folds of a cross-validation."""
STRENGTHS: Final = (0.001, 0.01, 0.1, 1.0, 10.0)
"""Candidates for the inverse strength of the regularisation (``C``)."""
_BIAS_PENALTY: Final = 1e-3
"""Keeps the bias finite if all captions have the same label."""
_MAX_STEPS: Final = 50
_PRECISION: Final = 1e-8

KEEP: Final = 1
REJECT: Final = -1

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class DecisiveCaptions:
    """The captions that change whether the answer is right. The arrays have one row per caption."""

    rows: Array
    """The positions of the captions among all judged captions."""
    votes: Array
    """The judges' votes as log-odds (captions x judges)."""
    better: Array
    """``KEEP`` or ``REJECT``: the decision that makes the answer right."""
    kept_untuned: Array
    """Whether the gate of the run, which is not tuned, keeps the caption."""
    has_quorum: Array
    """Whether there are enough valid votes. Without a quorum, a caption is never kept."""
    names: tuple[Names, ...]
    """The products and users of each caption's instance, and the instance itself."""

    @classmethod
    def select(cls, captions: Sequence[JudgedCaption], names: Sequence[Names], *, quorum: int) -> "DecisiveCaptions":
        """Selects the helpful and the misleading captions.

        Args:
            captions: All judged captions.
            names: The names of each caption.
            quorum: Number of valid votes that is needed to keep a caption.
        """
        labels = {"helpful": KEEP, "misleading": REJECT}
        better = [labels.get(caption.use, 0) for caption in captions]
        votes = [caption.votes for caption, label in zip(captions, better, strict=True) if label]
        yes, no = np.array([count_votes(cast) for cast in votes]).reshape(-1, 2).T
        return cls(
            rows=np.flatnonzero(better),
            votes=np.array([[log_odds(vote) for vote in cast] for cast in votes]),
            better=np.array([label for label in better if label]),
            kept_untuned=np.array([caption.kept for caption, label in zip(captions, better, strict=True) if label]),
            has_quorum=yes + no >= quorum,
            names=tuple(name for name, label in zip(names, better, strict=True) if label),
        )

    def __getitem__(self, rows: Array) -> "DecisiveCaptions":
        return DecisiveCaptions(
            rows=self.rows[rows],
            votes=self.votes[rows],
            better=self.better[rows],
            kept_untuned=self.kept_untuned[rows],
            has_quorum=self.has_quorum[rows],
            names=tuple(self.names[row] for row in rows),
        )

    def count_clusters(self, label: int) -> int:
        """Returns the number of products (or users) with captions of one label, ``KEEP`` or ``REJECT``."""
        return len(set(main_clusters(self.names)[self.better == label].tolist()))

    def gains(self, kept: Array) -> Array:
        """Returns what decisions gain over rejecting the caption.

        The gain is 1 for an answer that becomes right, -1 for one that becomes wrong, and 0 for no change.
        """
        gains: Array = np.where(kept, self.better, 0)
        return gains


def count_votes(votes: Sequence[Vote]) -> tuple[int, int]:
    """Returns the number of yes and no votes."""
    return sum(vote.verdict == "yes" for vote in votes), sum(vote.verdict == "no" for vote in votes)


def decide_unseen(captions: DecisiveCaptions) -> Array:
    """Decides each caption with a gate that was learned from captions of other products (cross-validation).

    Returns:
        Whether each caption is kept.
    """
    kept = np.zeros(len(captions.better), dtype=bool)
    for seen, unseen in cluster_folds(captions.names, captions.better.tolist(), FOLDS):
        if not len(seen):  # all others share a product with these
            kept[unseen] = captions.kept_untuned[unseen]
            continue
        strength, threshold = choose_parameters(captions[seen])
        weighed = _probabilities(captions[unseen].votes, *fit(captions[seen], strength)) >= threshold
        kept[unseen] = weighed & captions.has_quorum[unseen]
    return kept


def choose_parameters(captions: DecisiveCaptions) -> tuple[float, float]:
    """Chooses the regularisation and the threshold by cross-validation.

    Returns:
        The inverse strength with the highest likelihood, and the threshold with the most right answers.
    """
    unseen = {strength: np.zeros(len(captions.better)) for strength in STRENGTHS}
    for train, test in cluster_folds(captions.names, captions.better.tolist(), FOLDS):
        for strength, probabilities in unseen.items():
            probabilities[test] = _probabilities(captions[test].votes, *fit(captions[train], strength))

    def likelihood(strength: float) -> float:
        probabilities = unseen[strength]
        return float(np.log(np.where(captions.better == KEEP, probabilities, 1 - probabilities) + 1e-12).sum())

    strength = max(STRENGTHS, key=likelihood)  # for a tie, the strongest regularisation
    return strength, _best_threshold(captions, unseen[strength])


def fit(captions: DecisiveCaptions, strength: float) -> tuple[Array, float]:
    """Fits the logistic regression, by Newton's method. The bias is hardly regularised.

    Returns:
        One weight per judge, and the bias.
    """
    inputs = np.column_stack([captions.votes, np.ones(len(captions.better))])
    keep = (captions.better == KEEP).astype(np.float64)
    penalty = np.append(np.full(captions.votes.shape[1], 1 / strength), _BIAS_PENALTY)

    def loss(parameters: Array) -> float:
        scores = inputs @ parameters
        return float(np.logaddexp(0, scores).sum() - keep @ scores + penalty @ parameters**2 / 2)

    parameters = np.zeros(len(penalty))
    for _ in range(_MAX_STEPS):
        probabilities = _probabilities(inputs, parameters, 0.0)
        gradient = inputs.T @ (probabilities - keep) + penalty * parameters
        curvature = (inputs.T * (probabilities * (1 - probabilities))) @ inputs + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        while loss(parameters - step) > loss(parameters) and np.abs(step).max() > _PRECISION:
            step = step / 2
        parameters = parameters - step
        if np.abs(step).max() <= _PRECISION:
            break
    return parameters[:-1], float(parameters[-1])


def _best_threshold(captions: DecisiveCaptions, probabilities: Array) -> float:
    """Returns the threshold with the most right answers. For a tie, the one closest to 0.5."""
    steps = np.unique(probabilities)
    candidates = np.concatenate([[0.0], (steps[1:] + steps[:-1]) / 2, [(steps[-1] + 1) / 2]])
    gains = [captions.gains((probabilities >= candidate) & captions.has_quorum).sum() for candidate in candidates]
    best = candidates[np.array(gains) == max(gains)]
    return float(best[np.abs(best - 0.5).argmin()])


def _probabilities(votes: Array, weights: Array, bias: float) -> Array:
    probabilities: Array = (1 + np.tanh((votes @ weights + bias) / 2)) / 2
    return probabilities
