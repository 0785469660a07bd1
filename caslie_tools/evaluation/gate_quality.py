"""Measures the quality of the gate by the effect of captions on the answer (as EcomMMMU does for images).

Captions are *helpful* if the answer is right only with them, and *misleading* if it is right only without them. They
are *redundant* if it is right both ways, and *ineffective* if it is wrong both ways. "With" is the treatment ``every``,
"without" is ``none``. For an instance with several images, this is the effect of all captions together, and the gate
counts as keeping them if it keeps at least one.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias, get_args

from caslie_tools.domain import FrozenModel
from caslie_tools.evaluation.groups import OutcomeGroup
from caslie_tools.evaluation.outcomes import Outcome, Treatment
from caslie_tools.evaluation.scored_outcomes import ScoredOutcome

Usefulness: TypeAlias = Literal["helpful", "redundant", "misleading", "ineffective"]
USEFULNESS: Final[tuple[Usefulness, ...]] = get_args(Usefulness)
_NEEDED: Final[tuple[Treatment, ...]] = ("none", "every", "gated")


class GateQuality(FrozenModel):
    """The gate's decisions, compared with the effect of the captions. A share with denominator 0 is ``None``."""

    scope: str
    """The instances: a task (and split), or all tasks (of a split) that take part in the conclusions."""
    count: int
    """Number of instances with a caption and an answer under each of ``none``, ``every`` and ``gated``."""
    without_caption: int
    """Number of instances left out because they have no caption."""
    failed: int
    """Number of instances left out because a model failed under one of the three treatments."""
    several: int
    """Number of instances with several captions, out of ``count``."""
    partly: int
    """Number of kept instances in which the gate rejected some of the captions."""
    kept: dict[Usefulness, int]
    """Number of instances whose captions the gate kept."""
    rejected: dict[Usefulness, int]
    """Number of instances whose captions the gate rejected."""
    precision_helpful: float | None
    """Share of helpful captions among the kept ones."""
    recall_helpful: float | None
    """Share of kept captions among the helpful ones."""
    precision_harmless: float | None
    """Share of captions that are not misleading among the kept ones."""
    recall_harmless: float | None
    """Share of kept captions among those that are not misleading."""
    harm_avoided: float | None
    """Share of rejected captions among the misleading ones."""
    help_lost: float | None
    """Share of rejected captions among the helpful ones."""
    none_accuracy: float | None
    """Share of right answers without captions."""
    every_accuracy: float | None
    """Share of right answers with all captions."""
    gated_accuracy: float | None
    """Share of right answers with the captions that the gate keeps."""
    oracle_accuracy: float | None
    """Upper bound for a gate that keeps all captions of an instance or none: the answer is right one way or the
    other."""
    headroom_used: float | None
    """Position of the gate between the better of none and every (0) and the oracle (1). Below 0 if the gate is worse
    than both. ``None`` if no gate can be better."""

    @property
    def headroom(self) -> float | None:
        """Accuracy that the oracle gains over the better of none and every."""
        if self.oracle_accuracy is None or self.none_accuracy is None or self.every_accuracy is None:
            return None
        return self.oracle_accuracy - max(self.none_accuracy, self.every_accuracy)


def usefulness(outcome: Outcome | ScoredOutcome) -> Usefulness:
    """Returns the effect of an instance's captions on its answer."""
    with_captions, without = outcome.treatments["every"].right, outcome.treatments["none"].right
    if with_captions:
        return "redundant" if without else "helpful"
    return "misleading" if without else "ineffective"


def is_judged(outcome: Outcome | ScoredOutcome) -> bool:
    """Whether the instance has a caption to decide on, and an answer under every treatment needed."""
    return (
        all(name in outcome.treatments for name in _NEEDED)
        and outcome.treatments["every"].fused > 0
        and not _is_failed(outcome)
    )


def gate_quality(groups: Sequence[OutcomeGroup]) -> list[GateQuality]:
    """Returns the gate's quality for each task and split that has an instance with all treatments needed."""
    scopes = [(group.label, group.with_treatments(*_NEEDED)) for group in groups]
    return [_quality(scope, outcomes) for scope, outcomes in scopes if outcomes]


def total_gate_quality(groups: Sequence[OutcomeGroup]) -> list[GateQuality]:
    """Returns the gate's quality over all tasks, for each split. Splits are not added up: they differ on purpose.

    Args:
        groups: The outcomes of the tasks to add up.
    """
    splits = sorted({group.split for group in groups})
    scopes = {
        split: [one for group in groups if group.split == split for one in group.with_treatments(*_NEEDED)]
        for split in splits
    }
    label = "all, {}" if len(splits) > 1 else "all"
    return [_quality(label.format(split), outcomes) for split, outcomes in scopes.items() if outcomes]


def _is_failed(outcome: Outcome | ScoredOutcome) -> bool:
    return any(outcome.treatments[name].failed for name in _NEEDED)


def _quality(scope: str, outcomes: Sequence[ScoredOutcome]) -> GateQuality:
    whole = [outcome for outcome in outcomes if not _is_failed(outcome)]
    judged = [outcome for outcome in whole if outcome.treatments["every"].fused > 0]
    fused = [(outcome.treatments["gated"].fused, outcome.treatments["every"].fused) for outcome in judged]
    tally = Counter((usefulness(outcome), outcome.treatments["gated"].fused > 0) for outcome in judged)
    kept = {use: tally[use, True] for use in USEFULNESS}
    rejected = {use: tally[use, False] for use in USEFULNESS}
    total = {use: kept[use] + rejected[use] for use in USEFULNESS}
    harmless_kept, all_kept = sum(kept.values()) - kept["misleading"], sum(kept.values())
    none, every, gated = (sum(outcome.treatments[name].right for outcome in judged) for name in _NEEDED)
    oracle = len(judged) - total["ineffective"]
    return GateQuality(
        scope=scope,
        count=len(judged),
        without_caption=len(whole) - len(judged),
        failed=len(outcomes) - len(whole),
        several=sum(most > 1 for _, most in fused),
        partly=sum(0 < some < most for some, most in fused),
        kept=kept,
        rejected=rejected,
        precision_helpful=_share(kept["helpful"], all_kept),
        recall_helpful=_share(kept["helpful"], total["helpful"]),
        precision_harmless=_share(harmless_kept, all_kept),
        recall_harmless=_share(harmless_kept, len(judged) - total["misleading"]),
        harm_avoided=_share(rejected["misleading"], total["misleading"]),
        help_lost=_share(rejected["helpful"], total["helpful"]),
        none_accuracy=_share(none, len(judged)),
        every_accuracy=_share(every, len(judged)),
        gated_accuracy=_share(gated, len(judged)),
        oracle_accuracy=_share(oracle, len(judged)),
        headroom_used=_share(gated - max(none, every), oracle - max(none, every)),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
