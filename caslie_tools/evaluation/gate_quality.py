"""How good the gate is, by what a caption did to the answer (spec of EcomMMMU: the utility of an image).

Right only with the captions: they were *helpful*. Right only without: *misleading*. Right both ways: *redundant*;
wrong both ways: *ineffective*. With is the treatment ``every``, without is ``none``. Where an instance has several
images that is the outcome of all their captions together, and the gate counts as keeping if it keeps any of them.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias, get_args

from caslie_tools.domain import FrozenModel
from caslie_tools.evaluation.outcomes import Outcome, Treatment
from caslie_tools.evaluation.reading import Group

Usefulness: TypeAlias = Literal["helpful", "redundant", "misleading", "ineffective"]
USEFULNESS: Final[tuple[Usefulness, ...]] = get_args(Usefulness)
_NEEDED: Final[tuple[Treatment, ...]] = ("none", "every", "gated")


class GateQuality(FrozenModel):
    """A gate's decisions against what the captions did. A share is ``None`` where there is nothing to divide by."""

    scope: str
    """Which instances: a task (and split), or all."""
    count: int
    """Instances that had a caption and an answer under each of ``none``, ``every`` and ``gated``."""
    without_caption: int
    """Instances left out because there was no caption to decide on."""
    failed: int
    """Instances left out because a model failed under one of the three."""
    several: int
    """Of ``count``, those with several captions."""
    partly: int
    """Of the kept ones, those of whose captions some were rejected."""
    kept: dict[Usefulness, int]
    rejected: dict[Usefulness, int]
    precision_helpful: float | None
    """Of the kept ones, those that were helpful."""
    recall_helpful: float | None
    """Of the helpful ones, those that were kept."""
    precision_harmless: float | None
    """Of the kept ones, those that were not misleading."""
    recall_harmless: float | None
    """Of those that were not misleading, those that were kept."""
    harm_avoided: float | None
    """Of the misleading ones, those that were rejected."""
    help_lost: float | None
    """Of the helpful ones, those that were rejected."""
    none_accuracy: float | None
    """Share of right answers without any caption."""
    every_accuracy: float | None
    """With every caption."""
    gated_accuracy: float | None
    """With what the gate kept."""
    oracle_accuracy: float | None
    """The best that a gate can do which keeps all captions of an instance or none: right one way or the other."""
    headroom_used: float | None
    """Where the gate stands between the better of none and every (0) and the oracle (1); below 0 it does worse than
    either. ``None`` where no gate can do better."""

    @property
    def headroom(self) -> float | None:
        """What the oracle gains over the better of none and every."""
        if self.oracle_accuracy is None or self.none_accuracy is None or self.every_accuracy is None:
            return None
        return self.oracle_accuracy - max(self.none_accuracy, self.every_accuracy)


def usefulness(outcome: Outcome) -> Usefulness:
    """Returns what the captions did to the answer."""
    with_captions, without = outcome.treatments["every"].right, outcome.treatments["none"].right
    if with_captions:
        return "redundant" if without else "helpful"
    return "misleading" if without else "ineffective"


def is_judged(outcome: Outcome) -> bool:
    """Whether the gate had something to decide on, and what came of it is known."""
    return (
        all(name in outcome.treatments for name in _NEEDED)
        and outcome.treatments["every"].fused > 0
        and not _is_failed(outcome)
    )


def gate_quality(groups: Iterable[Group]) -> list[GateQuality]:
    """Judges the gate on each task, and last on all together; empty if it was never asked."""
    scopes = [(group.label, group.treated(*_NEEDED)) for group in groups]
    every = tuple(outcome for _, outcomes in scopes for outcome in outcomes)
    judged = [_quality(scope, outcomes) for scope, outcomes in scopes if outcomes]
    return [*judged, _quality("all", every)] if judged else []


def _is_failed(outcome: Outcome) -> bool:
    return any(outcome.treatments[name].error for name in _NEEDED)


def _quality(scope: str, outcomes: Sequence[Outcome]) -> GateQuality:
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
