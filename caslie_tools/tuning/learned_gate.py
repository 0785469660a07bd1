"""Fits a learned gate: a multinomial logistic regression (L2) on the effects of captions.

The inputs are all numbers that at least half of the captions have. The strength of the regularisation is the one that
gives unseen captions the highest likelihood. A judge that does not raise that likelihood by more than its standard
error is dropped, so that the gate need not ask it. In every cross-validation, the captions of one product are either
learned from or decided, never both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from caslie_tools.evaluation.caption_effects import USEFULNESS, JudgedCaption
from caslie_tools.evaluation.clusters import Names, cluster_folds, main_clusters
from caslie_tools.pipeline.learned_gate import EffectWeights, Feature, FeatureName, LearnedGate, feature_values
from caslie_tools.tuning.vote_weights import FOLDS

STRENGTHS: Final = (0.001, 0.01, 0.1, 1.0)
"""Candidates for the inverse strength of the regularisation (``C``)."""
_BIAS_PENALTY: Final = 1e-3
"""Keeps the bias of an effect finite that no caption has."""
_MAX_STEPS: Final = 50
_PRECISION: Final = 1e-5
_MIN_DEVIATION: Final = 1e-9
"""A number that varies less is a constant."""
_GAIN: Final = {"helpful": 1, "misleading": -1}

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class UnseenDecisions:
    """What gates decide that were learned from captions of other products. One entry per caption."""

    kept: Array
    log_likelihood: Array
    """Logarithm of the probability that the gate gives to the caption's effect."""
    log_share: Array
    """The same for an estimate that is the share of each effect among the captions learned from."""


def decide_unseen(captions: Sequence[JudgedCaption], names: Sequence[Names], *, quorum: int) -> UnseenDecisions:
    """Decides each caption with a gate that was learned from captions of other products (cross-validation).

    Args:
        captions: All judged captions.
        names: The products and users of each caption's instance.
        quorum: Number of valid votes that the whole jury needs.
    """
    gains = [_GAIN.get(caption.use, 0) for caption in captions]
    kept = np.array([caption.kept for caption in captions])
    likelihood, share = np.full((2, len(captions)), math.log(1 / len(USEFULNESS)))
    for seen, unseen in cluster_folds(names, gains, FOLDS):
        if not len(seen):  # all others share a product with these
            continue
        learned = learn([captions[row] for row in seen], [names[row] for row in seen], quorum=quorum)
        uses = [captions[row].use for row in seen]
        for row in unseen:
            caption = captions[row]
            kept[row] = learned.keeps(caption.votes, caption.signals)
            likelihood[row] = math.log(getattr(learned.estimate(caption.votes, caption.signals), caption.use) + 1e-12)
            share[row] = math.log((uses.count(caption.use) + 1) / (len(uses) + len(USEFULNESS)))
    return UnseenDecisions(kept=kept, log_likelihood=likelihood, log_share=share)


def learn(captions: Sequence[JudgedCaption], names: Sequence[Names], *, quorum: int) -> LearnedGate:
    """Learns a gate from captions, each judged by the whole jury.

    Args:
        captions: At least one.
        names: The products and users of each caption's instance.
        quorum: Number of valid votes that the whole jury needs. The gate needs the same share of the judges it asks.
    """
    table = _Table.of(captions, names)
    strength = max(STRENGTHS, key=lambda one: float(table.log_likelihoods(one).sum()))  # for a tie, the strongest
    table = _without_useless_judges(table, strength)
    weights = fit(table.values, table.uses, strength)
    features = tuple(
        Feature(judge=judge, signal=signal, mean=float(mean), weights=_effect_weights(column / deviation))
        for (judge, signal), mean, deviation, column in zip(
            table.columns, table.means, table.deviations, weights[:, :-1].T, strict=True
        )
    )
    asked = {feature.judge for feature in features if feature.judge}
    needed = math.ceil(len(asked) * quorum / len(captions[0].votes))
    return LearnedGate(features=features, bias=_effect_weights(weights[:, -1]), answers_needed=needed)


def fit(values: Array, uses: Array, strength: float) -> Array:
    """Fits the multinomial logistic regression, by Newton's method. The biases are hardly regularised.

    Args:
        values: The inputs (captions x features), with mean 0 and deviation 1.
        uses: The position of each caption's effect in ``USEFULNESS``.
        strength: The inverse strength of the regularisation.

    Returns:
        The weights (effects x features), with the bias of each effect as the last column.
    """
    inputs = np.column_stack([values, np.ones(len(values))])
    kinds, width = len(USEFULNESS), inputs.shape[1]
    targets = np.eye(kinds)[uses]
    penalty = np.append(np.full(width - 1, 1 / strength), _BIAS_PENALTY)

    def loss(weights: Array) -> float:
        return float(-np.sum(targets * _log_softmax(inputs @ weights.T)) + np.sum(penalty * weights**2) / 2)

    weights = np.zeros((kinds, width))
    for _ in range(_MAX_STEPS):
        shares = np.exp(_log_softmax(inputs @ weights.T))
        gradient = (shares - targets).T @ inputs + penalty * weights
        curvature = np.zeros((kinds, width, kinds, width))
        for one in range(kinds):
            for other in range(one + 1):
                weight = shares[:, one] * ((one == other) - shares[:, other])
                block = (inputs.T * weight) @ inputs
                curvature[one, :, other] = curvature[other, :, one] = block
            curvature[one, :, one] += np.diag(penalty)
        flat = curvature.reshape(kinds * width, kinds * width)
        step = np.linalg.solve(flat, gradient.ravel()).reshape(kinds, width)
        while loss(weights - step) > loss(weights) and np.abs(step).max() > _PRECISION:
            step = step / 2
        weights = weights - step
        if np.abs(step).max() <= _PRECISION:
            break
    return weights


@dataclass(frozen=True)
class _Table:
    """The inputs of the model, standardised. A missing value is 0, which is the mean."""

    columns: tuple[FeatureName, ...]
    values: Array
    means: Array
    deviations: Array
    uses: Array
    names: Sequence[Names]

    @classmethod
    def of(cls, captions: Sequence[JudgedCaption], names: Sequence[Names]) -> "_Table":
        rows = [feature_values(caption.votes, caption.signals) for caption in captions]
        found = list(dict.fromkeys(name for row in rows for name in row))
        columns = [name for name in found if 2 * sum(name in row for row in rows) >= len(rows)]
        known = np.array([[row.get(name, np.nan) for name in columns] for row in rows]).reshape(len(rows), len(columns))
        means, deviations = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
        varies = np.flatnonzero(deviations > _MIN_DEVIATION)
        known, means, deviations = known[:, varies], means[varies], deviations[varies]
        return cls(
            columns=tuple(columns[number] for number in varies),
            values=np.nan_to_num((known - means) / deviations),
            means=means,
            deviations=deviations,
            uses=np.array([USEFULNESS.index(caption.use) for caption in captions]),
            names=names,
        )

    @property
    def judges(self) -> list[str]:
        """The judges that have a column."""
        return list(dict.fromkeys(judge for judge, _ in self.columns if judge))

    def without(self, judge: str) -> "_Table":
        """Returns the table without the columns of a judge."""
        left = [number for number, (name, _) in enumerate(self.columns) if name != judge]
        return replace(
            self,
            columns=tuple(self.columns[number] for number in left),
            values=self.values[:, left],
            means=self.means[left],
            deviations=self.deviations[left],
        )

    def log_likelihoods(self, strength: float) -> Array:
        """Returns the log-likelihood of each caption's effect, from a model of captions of other products."""
        likelihoods = np.zeros(len(self.uses))
        gains = [_GAIN.get(USEFULNESS[use], 0) for use in self.uses]
        for seen, unseen in cluster_folds(self.names, gains, FOLDS):
            weights = fit(self.values[seen], self.uses[seen], strength)
            scores = _log_softmax(self.values[unseen] @ weights[:, :-1].T + weights[:, -1])
            likelihoods[unseen] = scores[np.arange(len(unseen)), self.uses[unseen]]
        return likelihoods


def _without_useless_judges(table: _Table, strength: float) -> _Table:
    """Drops each judge that does not raise the likelihood of unseen captions by more than one standard error."""
    weights = fit(table.values, table.uses, strength)

    influence = dict.fromkeys(table.judges, 0.0)
    for (judge, _), column in zip(table.columns, weights.T, strict=False):
        if judge:
            influence[judge] += float(np.abs(column).sum())
    clusters, likelihoods = main_clusters(table.names), table.log_likelihoods(strength)
    for judge in sorted(influence, key=influence.__getitem__):
        without = table.without(judge)
        likelihoods_without = without.log_likelihoods(strength)
        gains = np.bincount(clusters, weights=likelihoods - likelihoods_without)
        if gains.sum() <= math.sqrt(float((gains**2).sum())):
            table, likelihoods = without, likelihoods_without
    return table


def _log_softmax(scores: Array) -> Array:
    shifted = scores - scores.max(axis=1, keepdims=True)
    normalised: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalised


def _effect_weights(values: Array) -> EffectWeights:
    return EffectWeights(**dict(zip(USEFULNESS, map(float, values), strict=True)))
