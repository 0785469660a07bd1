"""A learned gate: estimates what a caption does to the answer, and keeps it if it is likelier to help than to mislead.

The estimate is a multinomial logistic regression over the four effects that a caption can have. Its inputs are the
judges' votes, the numbers behind them (such as the change of the predictor's probabilities), and numbers about the
caption itself. :mod:`caslie_tools.tuning.learned_gate` fits it.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, Self, get_args

from pydantic import Field, model_validator

from caslie_tools.domain import EffectEstimate, EvidenceKind, FrozenModel, Vote
from caslie_tools.exceptions import SettingsError
from caslie_tools.pipeline.log_odds import Weight, log_odds
from caslie_tools.roles.interfaces import Captioner, Judge, JudgeRequest, reported_signals

KNOWN_WORDS: Final = "known_words"
"""The signal of a caption that says which share of its words is in the text that is known without it."""

_WORD: Final = re.compile(r"\w+")


def caption_signals(request: JudgeRequest) -> dict[str, float]:
    """Returns numbers about a caption that need no model.

    They are :data:`KNOWN_WORDS`, and for each kind of evidence the score of the strongest evidence of that kind, or 0.
    """
    words = _WORD.findall(request.caption.casefold())
    known = set(_WORD.findall(request.context.known.casefold()))
    signals = dict.fromkeys((KNOWN_WORDS, *get_args(EvidenceKind)), 0.0)
    if words:
        signals[KNOWN_WORDS] = sum(word in known for word in words) / len(words)
    for evidence in request.evidence:
        signals[evidence.kind] = max(evidence.score, signals[evidence.kind])
    return signals


class EffectWeights(FrozenModel):
    """One number for each effect that a caption can have."""

    helpful: Weight = 0.0
    redundant: Weight = 0.0
    misleading: Weight = 0.0
    ineffective: Weight = 0.0


class Feature(FrozenModel):
    """One input of the model."""

    judge: str = ""
    """The judge whose vote, or whose signal, it is. Empty for a signal of the caption itself."""
    signal: str = ""
    """The name of the signal. Empty for the vote itself, as log-odds."""
    mean: Weight = 0.0
    """The mean, which stands for a missing value."""
    weights: EffectWeights

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not (self.judge or self.signal):
            raise ValueError("a feature names a judge or a signal")
        return self

    def __str__(self) -> str:
        return f"{self.signal} of {self.judge}" if self.judge and self.signal else self.judge or self.signal


FeatureName = tuple[str, str]
"""The judge and the signal of a feature."""


def feature_values(votes: Sequence[Vote], signals: Mapping[str, float]) -> dict[FeatureName, float]:
    """Returns the value of each feature that a caption has. A judge that failed has none.

    Args:
        votes: The votes on the caption.
        signals: The signals of the caption itself.
    """
    values = {("", name): value for name, value in signals.items()}
    for vote in votes:
        if vote.failure is None:
            values[vote.judge, ""] = log_odds(vote)
            values |= {(vote.judge, name): value for name, value in vote.signals.items()}
    return values


class LearnedGate(FrozenModel):
    """The model of one task. It asks only the judges that its features name."""

    features: tuple[Feature, ...]
    bias: EffectWeights
    answers_needed: int = Field(default=0, ge=0)
    """Number of the asked judges that must answer to keep a caption. A judge that abstains by itself has answered, as
    the model knows what that means; a judge that failed has not."""

    @property
    def judges(self) -> tuple[str, ...]:
        """The names of the judges to ask."""
        return tuple(dict.fromkeys(feature.judge for feature in self.features if feature.judge))

    def estimate(self, votes: Sequence[Vote], signals: Mapping[str, float]) -> EffectEstimate:
        """Returns the probability of each effect of a caption.

        Args:
            votes: The votes on the caption. Votes of judges that the model does not use are ignored.
            signals: See :func:`caption_signals`.
        """
        values, scores = feature_values(votes, signals), self.bias.model_dump()
        for feature in self.features:
            change = values.get((feature.judge, feature.signal), feature.mean) - feature.mean
            for effect, weight in feature.weights:
                scores[effect] += weight * change
        highest = max(scores.values())
        shares = {effect: math.exp(score - highest) for effect, score in scores.items()}
        total = sum(shares.values())
        return EffectEstimate(**{effect: share / total for effect, share in shares.items()})

    def keeps(self, votes: Sequence[Vote], signals: Mapping[str, float]) -> bool:
        """Returns whether a caption is kept: it is likelier to help than to mislead, and enough judges answered."""
        asked = self.judges
        answers = sum(vote.failure is None for vote in votes if vote.judge in asked)
        estimate = self.estimate(votes, signals)
        return answers >= self.answers_needed and estimate.helpful > estimate.misleading

    def require_judge_signals(self, judges: Sequence[Judge]) -> None:
        """Raises an error if a judge does not report a signal that the model needs.

        Raises:
            SettingsError: If a signal is missing.
        """
        reported = {(judge.get_name(), name) for judge in judges for name in reported_signals(judge)}
        self._require((feature for feature in self.features if feature.judge and feature.signal), reported)

    def require_caption_signals(self, captioners: Sequence[Captioner]) -> None:
        """Raises an error if no captioner reports the kinds of evidence that the model needs.

        Raises:
            SettingsError: If a kind of evidence is missing.
        """
        reported = {("", name) for captioner in captioners for name in reported_signals(captioner)}
        self._require((feature for feature in self.features if not feature.judge), reported | {("", KNOWN_WORDS)})

    def _require(self, needed: Iterator[Feature], reported: Collection[FeatureName]) -> None:
        if missing := [feature for feature in needed if (feature.judge, feature.signal) not in reported]:
            raise SettingsError(
                f"the learned gate needs {', '.join(map(str, missing))}, which the models of this profile do not "
                "report: tune a gate on a run of this profile, or use no gate"
            )
