"""The kinds of gates that can be learned for a task, each tested against the untuned gate of the run.

The gain over the untuned gate is measured by cross-validation, on instances that the gate was not learned from. A gate
is better only if its gain is significant by both its interval and the paired test. Folds, interval and test keep the
instances of one product or user together, because they are not independent.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np

from caslie_tools.domain import FrozenModel
from caslie_tools.evaluation.caption_effects import NEEDED, JudgedCaption, Usefulness, joint_use, judged_captions
from caslie_tools.evaluation.clustered_test import clustered_test
from caslie_tools.evaluation.clusters import Names, cluster_folds, count_clusters, main_clusters, names_of
from caslie_tools.evaluation.outcomes import Outcome, Treatment
from caslie_tools.evaluation.significance import Interval
from caslie_tools.pipeline.tuned_gate import TaskGate
from caslie_tools.tuning import learned_gate
from caslie_tools.tuning.vote_weights import FOLDS, Array, DecisiveCaptions, choose_parameters, decide_unseen, fit

GateKind = Literal["uniform", "weights", "learned"]
"""All captions of the task or none; weighted votes; or a learned model."""

_UNIFORM_DECISIONS: Final[Mapping[Treatment, bool | None]] = {"gated": None, "none": False, "every": True}
"""Treatments that a whole task can have, with :attr:`~caslie_tools.pipeline.tuned_gate.TaskGate.keeps_all` for each."""
_NOT_BETTER: Final = "not shown to be better, so nothing changes"


class TaskTuning(FrozenModel):
    """The result of learning one kind of gate for one task. Accuracies are shares of right final answers."""

    task: str
    kind: GateKind
    count: int
    """Number of instances with captions, votes, and answers with and without captions."""
    clusters: int
    """Number of clusters of these instances: instances of one product (or user) are one cluster."""
    helpful: int
    misleading: int
    none: float
    """Accuracy if no caption is kept."""
    every: float
    """Accuracy if all captions are kept."""
    untuned: float
    """Accuracy of the run's own gate: the majority, or the judge that decides alone."""
    tuned: float | None = None
    """Accuracy of the tuned gate on unseen instances. ``None`` if there is not enough data to tune. Also ``None`` if
    instances have several captions, because not every selection of them was evaluated."""
    gain: float | None = None
    """Gain in accuracy of the tuned gate over the untuned gate. If instances have several captions: the mean change of
    right answers over the captions, if the decision on only one of them changes."""
    interval: Interval | None = None
    """Interval of the gain, at 95% over all tasks and kinds of gates together (Bonferroni)."""
    p_value: float | None = None
    """Of the paired test, two-sided, without a correction."""
    untuned_kept: float
    """Share of captions that the untuned gate keeps."""
    tuned_kept: float | None = None
    """Share of captions that the tuned gate keeps. It was tuned on these captions."""
    strength: float | None = None
    """The chosen inverse strength of the regularisation of weights."""
    asked: tuple[str, ...] | None = None
    """The judges that a learned gate asks. It needs no other judge."""
    log_loss: float | None = None
    """Mean negative log-likelihood of the effects of unseen captions by a learned gate. Lower is better."""
    log_loss_of_shares: float | None = None
    """The same for an estimate that is always the share of each effect."""
    better: bool = False
    """Whether the tuned gate is better: its interval is above 0, and the paired test agrees at the same level."""
    reason: str
    """Why the tuned gate is better or not."""


TunedTask = tuple[TaskTuning, TaskGate | None]
"""The result for one kind of gate, and the gate if it is better."""


def tune_uniform(task: str, outcomes: Sequence[Outcome], *, level: float) -> TunedTask:
    """Tests whether keeping all captions of a task, or none, is better than the untuned gate.

    Args:
        task: The task's name.
        outcomes: The judged outcomes of the task.
        level: Level of the interval and the test.
    """
    count, names = len(outcomes), [names_of(outcome) for outcome in outcomes]
    kept = sum(any(caption.kept for caption in outcome.treatments["gated"].captions) for outcome in outcomes)
    uses = [joint_use(outcome) for outcome in outcomes]
    result = _untested(task, "uniform", outcomes, uses, kept / count)
    if result.clusters < 2 * FOLDS:
        short = f"not enough data to tune: instances of {result.clusters} different products, {2 * FOLDS} are needed"
        return result.model_copy(update={"reason": short}), None
    right: dict[Treatment, Array] = {
        treatment: np.array([float(outcome.treatments[treatment].right) for outcome in outcomes])
        for treatment in _UNIFORM_DECISIONS
    }
    unseen = right["gated"].copy()
    for seen, rest in cluster_folds(names, [0] * count, FOLDS):
        if len(seen):
            unseen[rest] = right[_best_treatment(right, seen)][rest]
    keeps_all = _UNIFORM_DECISIONS[_best_treatment(right, np.arange(count))]
    result = _tested(result, unseen - right["gated"], names, level)
    result = result.model_copy(
        update={
            "better": result.better and keeps_all is not None,
            "tuned_kept": result.untuned_kept if keeps_all is None else float(keeps_all),
        }
    )
    if not result.better:
        return result.model_copy(update={"reason": _NOT_BETTER}), None
    decision = "all captions are kept" if keeps_all else "no caption is kept"
    return result.model_copy(update={"reason": f"{result.reason}: {decision}"}), TaskGate(keeps_all=keeps_all)


def _best_treatment(right: Mapping[Treatment, Array], rows: Array) -> Treatment:
    return max(right, key=lambda treatment: float(right[treatment][rows].mean()))  # for a tie, the untuned gate


def tune_by_votes(
    task: str, outcomes: Sequence[Outcome], judges: Sequence[str], *, quorum: int, level: float
) -> list[TunedTask]:
    """Learns a weight for each judge, and a model of the effects. Tests whether they are better than the untuned gate.

    Args:
        task: The task's name.
        outcomes: The judged outcomes of the task.
        judges: The names of the jury.
        quorum: Number of valid votes that a caption needs.
        level: Level of the intervals and the tests.
    """
    judged = [caption for outcome in outcomes for caption in voted_captions(outcome)]
    # The captions of one instance are not independent, also if it names no product.
    names = [names_of(one) | {f"record:{one.key}"} for one in outcomes for _ in voted_captions(one)]
    uses = [caption.use for caption in judged]
    kept = sum(caption.kept for caption in judged) / len(judged)
    clusters = main_clusters(names)
    of_helpful, of_misleading = (
        len({cluster for cluster, use in zip(clusters.tolist(), uses, strict=True) if use == wanted})
        for wanted in ("helpful", "misleading")
    )
    weights, learned = (_untested(task, kind, outcomes, uses, kept) for kind in ("weights", "learned"))
    if min(of_helpful, of_misleading) < FOLDS:
        reason = (
            f"not enough data to tune: helpful captions of {of_helpful} different products and misleading captions of "
            f"{of_misleading}, {FOLDS} of each are needed"
        )
        return [(one.model_copy(update={"reason": reason}), None) for one in (weights, learned)]
    return [
        _tune_weights(weights, judged, names, judges, quorum=quorum, level=level),
        _tune_learned(learned, judged, names, quorum=quorum, level=level),
    ]


def _tune_weights(
    result: TaskTuning,
    judged: Sequence[JudgedCaption],
    names: Sequence[Names],
    judges: Sequence[str],
    *,
    quorum: int,
    level: float,
) -> TunedTask:
    captions = DecisiveCaptions.select(judged, names, quorum=quorum)
    # No decision on another caption changes whether an answer is right, so their difference is 0.
    differences = np.zeros(len(judged))
    differences[captions.rows] = captions.gains(decide_unseen(captions)) - captions.gains(captions.kept_untuned)
    strength, threshold = choose_parameters(captions)
    weights, bias = fit(captions, strength)
    gate = TaskGate(weights=dict(zip(judges, weights.tolist(), strict=True)), bias=bias, threshold=threshold)
    kept = [
        sum(vote.verdict != "abstain" for vote in caption.votes) >= quorum and gate.keeps(caption.votes)
        for caption in judged
    ]
    result = _tested(result, differences, names, level)
    result = result.model_copy(update={"tuned_kept": sum(kept) / len(kept), "strength": strength})
    return result, gate if result.better else None


def _tune_learned(
    result: TaskTuning, judged: Sequence[JudgedCaption], names: Sequence[Names], *, quorum: int, level: float
) -> TunedTask:
    unseen = learned_gate.decide_unseen(judged, names, quorum=quorum)
    effect = np.array([{"helpful": 1, "misleading": -1}.get(caption.use, 0) for caption in judged])
    untuned = np.array([caption.kept for caption in judged])
    gate = TaskGate(learned=learned_gate.learn(judged, names, quorum=quorum))
    kept = [gate.keeps(caption.votes, caption.signals) for caption in judged]
    result = _tested(result, effect * unseen.kept.astype(float) - effect * untuned, names, level)
    result = result.model_copy(
        update={
            "tuned_kept": sum(kept) / len(kept),
            "asked": gate.learned.judges if gate.learned else (),
            "log_loss": -float(unseen.log_likelihood.mean()),
            "log_loss_of_shares": -float(unseen.log_share.mean()),
        }
    )
    return result, gate if result.better else None


def _untested(
    task: str, kind: GateKind, outcomes: Sequence[Outcome], uses: Sequence[Usefulness], kept: float
) -> TaskTuning:
    right = {name: sum(one.treatments[name].right for one in outcomes) / len(outcomes) for name in NEEDED}
    return TaskTuning(
        task=task,
        kind=kind,
        count=len(outcomes),
        clusters=count_clusters([names_of(outcome) for outcome in outcomes]),
        helpful=uses.count("helpful"),
        misleading=uses.count("misleading"),
        none=right["none"],
        every=right["every"],
        untuned=right["gated"],
        untuned_kept=kept,
        reason="",
    )


def _tested(result: TaskTuning, differences: Array, names: Sequence[Names], level: float) -> TaskTuning:
    """Returns the result with its gain, and whether that is significant.

    With few changed answers, the interval alone is too lenient.

    Args:
        result: The result so far.
        differences: 1 for each answer that becomes right, -1 for each that becomes wrong, otherwise 0.
        names: The products and users of each caption or instance.
        level: Level of the interval and the test.
    """
    several = len(differences) > result.count
    interval = Interval.of_mean(differences.tolist(), names, level=level)
    p_value = clustered_test(differences.astype(int).tolist(), names).p_value
    better = interval.sign > 0 and p_value <= 1 - level
    gain = float(differences.mean())
    return result.model_copy(
        update={
            "tuned": None if several else result.untuned + gain,
            "gain": gain,
            "interval": interval,
            "p_value": p_value,
            "better": better,
            "reason": ("better than the untuned gate" if better else _NOT_BETTER) + ", caption by caption" * several,
        }
    )


def voted_captions(outcome: Outcome) -> list[JudgedCaption]:
    """Returns the captions of an instance that the jury voted on and that have an effect of their own."""
    return [caption for caption in judged_captions(outcome) if caption.votes]
