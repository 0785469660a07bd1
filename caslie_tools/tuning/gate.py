"""Learns a gate from a run's outcomes: how much each judge's vote counts, per task.

The label of a caption is its effect on the answer. If the answer is right only with the caption, keeping is better. If
it is right only without, rejecting is better. Other captions carry no information and are not used. From the votes on
the captions of the former two kinds, a logistic regression (L2) learns to separate them. The threshold is the one with
the most right final answers. The regularisation and the threshold are chosen by cross-validation. The gain over the
plain majority is measured by an outer cross-validation, on instances that neither has seen. A gate is refused unless
its gain is significant by both its interval and the paired test. Folds, interval and test keep the instances of
one product or user together, because they are not independent.

If instances have several captions, the effect of each is that of leaving it out. Votes cannot be weighted if that was
not evaluated, or if there are too few helpful or misleading captions. The gate may then keep all captions of the task,
or none.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from caslie_tools._version import __version__
from caslie_tools.domain import FrozenModel, Vote
from caslie_tools.evaluation.caption_effects import NEEDED, JudgedCaption, is_judged, joint_use, judged_captions
from caslie_tools.evaluation.clustered_test import clustered_test
from caslie_tools.evaluation.clusters import Names, cluster_folds, count_clusters, names_of
from caslie_tools.evaluation.outcomes import Outcome, Treatment
from caslie_tools.evaluation.reading import read_outcomes, read_run_description
from caslie_tools.evaluation.significance import Interval, bonferroni
from caslie_tools.exceptions import DataError
from caslie_tools.pipeline.tuned_gate import TaskGate, TunedGate
from caslie_tools.tasks import TASKS, get_task
from caslie_tools.tuning.vote_weights import (
    FOLDS,
    KEEP,
    REJECT,
    Array,
    DecisiveCaptions,
    choose_parameters,
    count_votes,
    decide_unseen,
    fit,
)

_KINDS_OF_GATES: Final = 3
"""Weighted votes, all captions, no captions."""
_UNIFORM_DECISIONS: Final[Mapping[Treatment, bool | None]] = {"gated": None, "none": False, "every": True}
"""Treatments that a whole task can have, with :attr:`~caslie_tools.pipeline.tuned_gate.TaskGate.keeps_all` for each."""


class TaskTuning(FrozenModel):
    """The result of tuning for one task. Accuracies are shares of right final answers."""

    task: str
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
    majority: float
    """Accuracy if the plain majority decides."""
    tuned: float | None = None
    """Accuracy of the tuned gate on unseen instances. ``None`` if there is not enough data to tune. Also ``None`` if
    instances have several captions, because not every selection of them was evaluated."""
    gain: float | None = None
    """Gain in accuracy of the tuned gate over the majority. If instances have several captions: the mean change of
    right answers over the captions, if the decision on only one of them changes."""
    interval: Interval | None = None
    """Interval of the gain, at 95% over all tasks and the three kinds of gates together (Bonferroni)."""
    majority_kept: float
    """Share of captions that the majority keeps."""
    tuned_kept: float | None = None
    """Share of captions that the tuned gate keeps. It was tuned on these captions."""
    strength: float | None = None
    """The chosen inverse strength of the regularisation."""
    better: bool = False
    """Whether the tuned gate is used: its interval is above 0, and the paired test agrees at the same level."""
    reason: str
    """Why the tuned gate is used or not."""


class GateTuning(FrozenModel):
    """The result of tuning, with the gate if it is better than the majority for at least one task."""

    judges: tuple[str, ...]
    tasks: tuple[TaskTuning, ...]
    gate: TunedGate | None
    notes: tuple[str, ...]


def tune_gate(run: Path) -> GateTuning:
    """Learns a gate per task from the outcomes of a validation run.

    Args:
        run: The run's folder. It must have the treatments ``none``, ``every`` and ``gated``.

    Raises:
        DataError: If there are no instances to learn from, if not all instances were judged by the same jury, or if the
            run itself used a tuned gate.
        MissingExtraError: If scikit-learn or scipy is not installed.
    """
    facts = read_run_description(run)
    if _settings(facts).get("gate") is not None:
        raise DataError(
            f"{run}: this run used a tuned gate, but a gate is tuned against the plain majority; run caslie eval into "
            "another folder, without CASLIE_GATE and without a gate in the profile"
        )
    outcomes = [outcome for outcome in read_outcomes(run) if is_judged(outcome) and votes_of(outcome)]
    if not outcomes:
        raise DataError(
            f"{run}: no instance has captions with votes and answers with and without them; run caslie eval with the "
            "treatments none, every and gated"
        )
    judges = tuple(vote.judge for vote in votes_of(outcomes[0])[0])
    by_task: dict[str, list[Outcome]] = {name: [] for name in TASKS}
    for outcome in outcomes:
        if any(tuple(vote.judge for vote in cast) != judges for cast in votes_of(outcome)):
            raise DataError(f"{run}: record {outcome.index} was not judged by the whole jury: {', '.join(judges)}")
        by_task[get_task(outcome.task).name].append(outcome)
    tasks = {name: of_task for name, of_task in by_task.items() if of_task}
    level = bonferroni(_KINDS_OF_GATES * len(tasks))
    quorum = _quorum(facts, len(judges))
    tuned = [_tune_task(name, of_task, judges, quorum=quorum, level=level) for name, of_task in tasks.items()]
    gates = {result.task: gate for result, gate in tuned if gate is not None}
    splits = sorted({outcome.split for outcome in outcomes})
    provenance = {
        **{name: facts[name] for name in ("data", "data_sha256", "profile") if isinstance(facts.get(name), str)},
        "splits": splits,
        "caslie-tools": __version__,
        "tasks": {result.task: result.model_dump(mode="json") for result, _ in tuned if result.better},
    }
    return GateTuning(
        judges=judges,
        tasks=tuple(result for result, _ in tuned),
        gate=TunedGate(judges=judges, tasks=gates, provenance=provenance) if gates else None,
        notes=_notes(splits, outcomes),
    )


def _settings(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    settings = facts.get("settings")
    return settings if isinstance(settings, Mapping) else {}


def _quorum(facts: Mapping[str, Any], jury: int) -> int:
    quorum = _settings(facts).get("quorum")
    return quorum if isinstance(quorum, int) else (jury + 1) // 2


def _notes(splits: Sequence[str], outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    names = ", ".join(split or "(no split)" for split in splits)
    notes = [f"tuned on the split {names}: evaluate the gate on another split"]
    if any("test" in split.lower() for split in splits):
        notes.append("a test split was used for tuning: scores on it are no longer test scores")
    if not all(map(names_of, outcomes)):
        notes.append(
            "some outcomes do not name their products, so instances of one product may count as independent, which "
            "overstates the gain"
        )
    return tuple(notes)


def _tune_task(
    task: str, outcomes: Sequence[Outcome], judges: Sequence[str], *, quorum: int, level: float
) -> tuple[TaskTuning, TaskGate | None]:
    uniform = _tune_uniform(task, outcomes, level=level)
    if not any(map(_voted_captions, outcomes)):
        return uniform
    weighted = _tune_weights(task, outcomes, judges, quorum=quorum, level=level)
    return uniform if uniform[0].better and not weighted[0].better else weighted


def _tune_uniform(task: str, outcomes: Sequence[Outcome], *, level: float) -> tuple[TaskTuning, TaskGate | None]:
    """Tests whether keeping all captions of a task, or none, is better than the majority."""
    count, names = len(outcomes), [names_of(outcome) for outcome in outcomes]
    clusters = count_clusters(names)
    right: dict[Treatment, Array] = {
        treatment: np.array([float(outcome.treatments[treatment].right) for outcome in outcomes])
        for treatment in _UNIFORM_DECISIONS
    }
    kept = sum(any(caption.kept for caption in outcome.treatments["gated"].captions) for outcome in outcomes)
    uses = [joint_use(outcome) for outcome in outcomes]
    result = TaskTuning(
        task=task,
        count=count,
        clusters=clusters,
        helpful=uses.count("helpful"),
        misleading=uses.count("misleading"),
        none=float(right["none"].mean()),
        every=float(right["every"].mean()),
        majority=float(right["gated"].mean()),
        majority_kept=kept / count,
        reason=f"not enough data to tune: instances of {clusters} different products, {2 * FOLDS} are needed",
    )
    if clusters < 2 * FOLDS:
        return result, None
    unseen = right["gated"].copy()
    for seen, rest in cluster_folds(names, [0] * count, FOLDS):
        if len(seen):
            unseen[rest] = right[_best_treatment(right, seen)][rest]
    differences = unseen - right["gated"]
    gain, interval = float(differences.mean()), Interval.of_mean(differences.tolist(), names, level=level)
    keeps_all = _UNIFORM_DECISIONS[_best_treatment(right, np.arange(count))]
    better = keeps_all is not None and _is_better(differences, names, interval)
    decision = "all captions are kept" if keeps_all else "no caption is kept"
    result = result.model_copy(
        update={
            "tuned": result.majority + gain,
            "gain": gain,
            "interval": interval,
            "tuned_kept": result.majority_kept if keeps_all is None else float(keeps_all),
            "better": better,
            "reason": f"better than the majority: {decision}"
            if better
            else "not shown to be better, so the majority decides",
        }
    )
    return result, TaskGate(keeps_all=keeps_all) if better else None


def _best_treatment(right: Mapping[Treatment, Array], rows: Array) -> Treatment:
    return max(right, key=lambda treatment: float(right[treatment][rows].mean()))  # for a tie, the majority


def _tune_weights(
    task: str, outcomes: Sequence[Outcome], judges: Sequence[str], *, quorum: int, level: float
) -> tuple[TaskTuning, TaskGate | None]:
    """Learns a weight per judge, and tests whether the weighted votes are better than the majority."""
    several = any(outcome.treatments["every"].fused > 1 for outcome in outcomes)
    judged = [caption for outcome in outcomes for caption in _voted_captions(outcome)]
    # The captions of one instance are not independent, also if it names no product.
    names = [names_of(one) | {f"record:{one.key}"} for one in outcomes for _ in _voted_captions(one)]
    captions = DecisiveCaptions.select(judged, names, quorum=quorum)
    helpful, misleading = int((captions.better == KEEP).sum()), int((captions.better == REJECT).sum())
    of_helpful, of_misleading = captions.count_clusters(KEEP), captions.count_clusters(REJECT)
    shares = {name: sum(one.treatments[name].right for one in outcomes) / len(outcomes) for name in NEEDED}
    by_majority = captions.gains(captions.kept_by_majority)
    result = TaskTuning(
        task=task,
        count=len(outcomes),
        clusters=count_clusters([names_of(outcome) for outcome in outcomes]),
        helpful=helpful,
        misleading=misleading,
        none=shares["none"],
        every=shares["every"],
        majority=shares["gated"] if several else shares["none"] + float(by_majority.sum()) / len(outcomes),
        majority_kept=_share_kept(judged, quorum, None),
        reason=f"not enough data to tune: helpful captions of {of_helpful} different products and misleading captions "
        f"of {of_misleading}, {FOLDS} of each are needed",
    )
    if min(of_helpful, of_misleading) < FOLDS:
        return result, None
    # No decision on another caption changes whether an answer is right, so their difference is 0.
    differences = np.zeros(len(judged))
    differences[captions.rows] = captions.gains(decide_unseen(captions)) - by_majority
    gain, interval = float(differences.mean()), Interval.of_mean(differences.tolist(), names, level=level)
    strength, threshold = choose_parameters(captions)
    weights, bias = fit(captions, strength)
    gate = TaskGate(weights=dict(zip(judges, weights.tolist(), strict=True)), bias=bias, threshold=threshold)
    better = _is_better(differences, names, interval)
    found = "better than the majority" if better else "not shown to be better, so the majority decides"
    result = result.model_copy(
        update={
            "tuned": None if several else result.majority + gain,
            "gain": gain,
            "interval": interval,
            "tuned_kept": _share_kept(judged, quorum, gate),
            "strength": strength,
            "better": better,
            "reason": f"{found}, caption by caption" if several else found,
        }
    )
    return result, gate if better else None


def _voted_captions(outcome: Outcome) -> list[JudgedCaption]:
    return [caption for caption in judged_captions(outcome) if caption.votes]


def _is_better(differences: Array, names: Sequence[Names], interval: Interval) -> bool:
    """Whether the gain on unseen answers is significant. With few changed answers, the bootstrap alone is too lenient.

    Args:
        differences: 1 for each answer that becomes right, -1 for each that becomes wrong, otherwise 0.
        names: The products and users of each instance.
        interval: The bootstrap interval of the mean difference.
    """
    test = clustered_test(differences.astype(int).tolist(), names)
    return interval.sign > 0 and test.p_value <= 1 - interval.level


def _share_kept(captions: Sequence[JudgedCaption], quorum: int, gate: TaskGate | None) -> float:
    kept = 0
    for caption in captions:
        yes, no = count_votes(caption.votes)
        kept += yes + no >= quorum and (yes > no if gate is None else gate.keeps(caption.votes))
    return kept / len(captions)


def votes_of(outcome: Outcome) -> list[tuple[Vote, ...]]:
    """Returns the votes on each judged caption of an instance."""
    return [caption.votes for caption in outcome.treatments["gated"].captions if caption.votes]
