"""Measures the quality of the gate by the effect of captions on the answer (:mod:`.caption_effects`)."""

from collections import Counter
from collections.abc import Sequence

from caslie_tools.domain import FrozenModel
from caslie_tools.evaluation.caption_effects import NEEDED, USEFULNESS, Usefulness
from caslie_tools.evaluation.groups import OutcomeGroup
from caslie_tools.evaluation.scored_outcomes import ScoredOutcome


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
    """Number of instances in which the gate kept some of the captions and rejected others."""
    captions: int
    """Number of captions whose effect is known."""
    kept: dict[Usefulness, int]
    """Number of captions that the gate kept, by their effect."""
    rejected: dict[Usefulness, int]
    """Number of captions that the gate rejected, by their effect."""
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
    """Upper bound: share of instances whose answer is right with one of the evaluated selections of captions. They are
    none, all, all but one, and those that the gate keeps."""
    headroom_used: float | None
    """Position of the gate between the better of none and every (0) and the oracle (1). Below 0 if the gate is worse
    than both. ``None`` if no gate can be better."""

    @property
    def headroom(self) -> float | None:
        """Accuracy that the oracle gains over the better of none and every."""
        if self.oracle_accuracy is None or self.none_accuracy is None or self.every_accuracy is None:
            return None
        return self.oracle_accuracy - max(self.none_accuracy, self.every_accuracy)


def gate_quality(groups: Sequence[OutcomeGroup]) -> list[GateQuality]:
    """Returns the gate's quality for each task and split that has an instance with all treatments needed."""
    scopes = [(group.label, group.with_treatments(*NEEDED)) for group in groups]
    return [_quality(scope, outcomes) for scope, outcomes in scopes if outcomes]


def total_gate_quality(groups: Sequence[OutcomeGroup]) -> list[GateQuality]:
    """Returns the gate's quality over all tasks, for each split. Splits are not added up: they differ on purpose.

    Args:
        groups: The outcomes of the tasks to add up.
    """
    splits = sorted({group.split for group in groups})
    scopes = {
        split: [one for group in groups if group.split == split for one in group.with_treatments(*NEEDED)]
        for split in splits
    }
    label = "all, {}" if len(splits) > 1 else "all"
    return [_quality(label.format(split), outcomes) for split, outcomes in scopes.items() if outcomes]


def _quality(scope: str, outcomes: Sequence[ScoredOutcome]) -> GateQuality:
    whole = [outcome for outcome in outcomes if not any(outcome.treatments[name].failed for name in NEEDED)]
    judged = [outcome for outcome in whole if outcome.treatments["every"].fused > 0]
    fused = [(outcome.treatments["gated"].fused, outcome.treatments["every"].fused) for outcome in judged]
    tally = Counter((caption.use, caption.kept) for outcome in judged for caption in outcome.captions)
    kept = {use: tally[use, True] for use in USEFULNESS}
    rejected = {use: tally[use, False] for use in USEFULNESS}
    total = {use: kept[use] + rejected[use] for use in USEFULNESS}
    harmless_kept, all_kept = sum(kept.values()) - kept["misleading"], sum(kept.values())
    none, every, gated = (sum(outcome.treatments[name].right for outcome in judged) for name in NEEDED)
    oracle = sum(outcome.right_in_any for outcome in judged)
    return GateQuality(
        scope=scope,
        count=len(judged),
        without_caption=len(whole) - len(judged),
        failed=len(outcomes) - len(whole),
        several=sum(most > 1 for _, most in fused),
        partly=sum(0 < some < most for some, most in fused),
        captions=tally.total(),
        kept=kept,
        rejected=rejected,
        precision_helpful=_share(kept["helpful"], all_kept),
        recall_helpful=_share(kept["helpful"], total["helpful"]),
        precision_harmless=_share(harmless_kept, all_kept),
        recall_harmless=_share(harmless_kept, tally.total() - total["misleading"]),
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
