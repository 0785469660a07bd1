"""Learns a gate from a run's outcomes: whose vote counts how much, per task.

The honest label of a caption is what it did to the answer. Where the answer is right only with it, keeping is better;
where it is right only without, rejecting is. All other instances prefer neither, and weigh nothing. From the jury's
votes on the former two, a logistic regression (L2) learns to tell them apart; the threshold is the one with the most
right final answers. Both are chosen by cross-validation, and what the gate gains over the plain majority is measured by
another one around it, on instances that neither has seen. A gate whose gain may as well be chance, by its interval or
by McNemar's exact test, is refused.

Where votes cannot be weighed, because an instance has several captions that were only tried all together, or because
hardly any helps or hardly any misleads, there is still a choice: keep every caption of the task, or none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from caslie_tools._optional import require
from caslie_tools._version import __version__
from caslie_tools.domain import FrozenModel, Vote
from caslie_tools.evaluation.gate_quality import is_judged, usefulness
from caslie_tools.evaluation.outcomes import Outcome, Treatment
from caslie_tools.evaluation.reading import read_outcomes, read_run_description
from caslie_tools.evaluation.significance import Interval, bonferroni, mcnemar
from caslie_tools.exceptions import DataError
from caslie_tools.pipeline.tuned_gate import TaskGate, TunedGate, log_odds
from caslie_tools.tasks import TASKS, get_task

FOLDS: Final = 5
STRENGTHS: Final = (0.001, 0.01, 0.1, 1.0, 10.0)
"""What is tried as inverse strength of the regularisation (``C``)."""

_KEEP, _REJECT = 1, -1
_KINDS: Final = 3
"""Kinds of gate that are tried: votes weighed, every caption, none."""
_BLANKET: Final[Mapping[Treatment, bool | None]] = {"gated": None, "none": False, "every": True}
"""Treatments a whole task can have, as :attr:`~caslie_tools.pipeline.tuned_gate.TaskGate.keeps_all` has them."""
_Array = npt.NDArray[Any]


class TaskTuning(FrozenModel):
    """What tuning found out about one task. Accuracies are shares of right final answers."""

    task: str
    count: int
    """Instances with captions, their votes, and the answers with and without them."""
    helpful: int
    misleading: int
    none: float
    """Accuracy if no caption is kept."""
    every: float
    """If every one is."""
    majority: float
    """If the plain majority decides."""
    tuned: float | None = None
    """If the tuned gate does, on instances it was not tuned on; ``None`` if there was too little to tune on."""
    gain: float | None = None
    """Of the tuned gate over the majority."""
    interval: Interval | None = None
    """Of the gain; over as many tasks as there are, and three kinds of gate, together at 95% (Bonferroni)."""
    majority_kept: float
    """Share of captions that the majority keeps."""
    tuned_kept: float | None = None
    """Share that the tuned gate keeps, of the same captions, which it was tuned on."""
    strength: float | None = None
    """The inverse strength of the regularisation that was chosen."""
    better: bool = False
    """Whether the tuned gate is used: the interval is above 0, and McNemar's exact test agrees at its level."""
    reason: str
    """Why, or why not."""


class GateTuning(FrozenModel):
    """What tuning found out, and the gate, if any task has one that is better than the majority."""

    judges: tuple[str, ...]
    tasks: tuple[TaskTuning, ...]
    gate: TunedGate | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Cases:
    """Instances in which the caption makes a difference; arrays have one row each."""

    votes: _Array
    """What each judge says, as log-odds (instances x judges)."""
    better: _Array
    """``_KEEP`` or ``_REJECT``: what makes the answer right."""
    by_majority: _Array
    """Whether the plain majority keeps the caption."""
    quorate: _Array
    """Whether there are enough valid votes to keep it at all."""

    def __getitem__(self, rows: _Array) -> "_Cases":
        return _Cases(self.votes[rows], self.better[rows], self.by_majority[rows], self.quorate[rows])

    def gained(self, kept: _Array) -> _Array:
        """Per instance, what decisions gain over rejecting: a right answer (1), nothing (0), or a wrong one (-1)."""
        gained: _Array = np.where(kept & self.quorate, self.better, 0)
        return gained


def tune_gate(run: Path) -> GateTuning:
    """Learns a gate per task from the outcomes of a validation run.

    Args:
        run: The run's folder; it must have the treatments ``none``, ``every`` and ``gated``.

    Raises:
        DataError: If there is nothing to learn from, not all instances were judged by one jury, or a tuned gate decided
            in place of its majority.
        MissingExtraError: If scikit-learn or scipy is not installed.
    """
    facts = read_run_description(run)
    if _settings(facts).get("gate") is not None:
        raise DataError(
            f"{run}: it was run under a tuned gate, and a gate is tuned against the plain majority; "
            "run caslie eval without CASLIE_GATE, or the profile's gate, into another folder"
        )
    outcomes = [outcome for outcome in read_outcomes(run) if is_judged(outcome) and _votes(outcome)]
    if not outcomes:
        raise DataError(
            f"{run}: no instance has captions with their votes and the answers with and without them; "
            "run caslie eval with the treatments none, every and gated"
        )
    judges = tuple(vote.judge for vote in _votes(outcomes[0]))
    by_task: dict[str, list[Outcome]] = {name: [] for name in TASKS}
    for outcome in outcomes:
        if tuple(vote.judge for vote in _votes(outcome)) != judges:
            raise DataError(f"{run}: record {outcome.index} was not judged by the whole jury: {', '.join(judges)}")
        by_task[get_task(outcome.task).name].append(outcome)
    tasks = {name: of_task for name, of_task in by_task.items() if of_task}
    level = bonferroni(_KINDS * len(tasks))
    quorum = _quorum(facts, len(judges))
    tuned = [_tune_task(name, of_task, judges, quorum=quorum, level=level) for name, of_task in tasks.items()]
    gates = {found.task: gate for found, gate in tuned if gate is not None}
    splits = sorted({outcome.split for outcome in outcomes})
    provenance = {
        **{name: facts[name] for name in ("data", "data_sha256", "profile") if isinstance(facts.get(name), str)},
        "splits": splits,
        "caslie-tools": __version__,
        "tasks": {found.task: found.model_dump(mode="json") for found, _ in tuned if found.better},
    }
    return GateTuning(
        judges=judges,
        tasks=tuple(found for found, _ in tuned),
        gate=TunedGate(judges=judges, tasks=gates, provenance=provenance) if gates else None,
        notes=_notes(splits),
    )


def _votes(outcome: Outcome) -> tuple[Vote, ...]:
    return next((caption.votes for caption in outcome.treatments["gated"].captions if caption.votes), ())


def _settings(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    settings = facts.get("settings")
    return settings if isinstance(settings, Mapping) else {}


def _quorum(facts: Mapping[str, Any], jury: int) -> int:
    quorum = _settings(facts).get("quorum")
    return quorum if isinstance(quorum, int) else (jury + 1) // 2


def _notes(splits: Sequence[str]) -> tuple[str, ...]:
    told = ", ".join(split or "(no split)" for split in splits)
    notes = [f"tuned on {told}: evaluate it on instances of another split"]
    if any("test" in split.lower() for split in splits):
        notes.append("a test split was tuned on: scores on it are no test any more")
    notes.append("folds are by instance: photos of one product may stand on both sides, which flatters the gain")
    return tuple(notes)


def _cases(outcomes: Sequence[Outcome], quorum: int) -> _Cases:
    labels = {"helpful": _KEEP, "misleading": _REJECT}
    better = [labels.get(usefulness(outcome), 0) for outcome in outcomes]
    votes = [_votes(outcome) for outcome, label in zip(outcomes, better, strict=True) if label]
    yes, no = np.array([_count(cast) for cast in votes]).reshape(-1, 2).T
    return _Cases(
        votes=np.array([[log_odds(vote) for vote in cast] for cast in votes]),
        better=np.array([label for label in better if label]),
        by_majority=yes > no,
        quorate=yes + no >= quorum,
    )


def _tune_task(
    task: str, outcomes: Sequence[Outcome], judges: Sequence[str], *, quorum: int, level: float
) -> tuple[TaskTuning, TaskGate | None]:
    blanket = _all_or_none(task, outcomes, level=level)
    if any(outcome.treatments["every"].fused > 1 for outcome in outcomes):
        return blanket
    weighed = _weigh(task, outcomes, judges, quorum=quorum, level=level)
    return blanket if blanket[0].better and not weighed[0].better else weighed


def _all_or_none(task: str, outcomes: Sequence[Outcome], *, level: float) -> tuple[TaskTuning, TaskGate | None]:
    """Tries to keep every caption of a task, or none, instead of what the majority keeps."""
    count = len(outcomes)
    right: dict[Treatment, _Array] = {
        treatment: np.array([float(outcome.treatments[treatment].right) for outcome in outcomes])
        for treatment in _BLANKET
    }
    kept = sum(any(caption.kept for caption in outcome.treatments["gated"].captions) for outcome in outcomes)
    uses = [usefulness(outcome) for outcome in outcomes]
    found = TaskTuning(
        task=task,
        count=count,
        helpful=uses.count("helpful"),
        misleading=uses.count("misleading"),
        none=float(right["none"].mean()),
        every=float(right["every"].mean()),
        majority=float(right["gated"].mean()),
        majority_kept=kept / count,
        reason=f"too little to tune on: {count} instances",
    )
    if count < 2 * FOLDS:
        return found, None
    unseen = right["gated"].copy()
    for seen, rest in _any_folds(count):
        unseen[rest] = right[_best(right, seen)][rest]
    differences = unseen - right["gated"]
    gain, interval = float(differences.mean()), Interval.of_mean(differences.tolist(), level=level)
    best = _best(right, np.arange(count))
    keeps_all = _BLANKET[best]
    better = keeps_all is not None and _is_better(differences, interval)
    words = {True: "every caption is kept", False: "no caption is kept", None: "the majority stays"}
    found = found.model_copy(
        update={
            "tuned": found.majority + gain,
            "gain": gain,
            "interval": interval,
            "tuned_kept": found.majority_kept if keeps_all is None else float(keeps_all),
            "better": better,
            "reason": f"better than the majority: {words[keeps_all]}"
            if better
            else "not shown to be better: the majority stays",
        }
    )
    return found, TaskGate(keeps_all=keeps_all) if better else None


def _best(right: Mapping[Treatment, _Array], rows: _Array) -> Treatment:
    return max(right, key=lambda treatment: float(right[treatment][rows].mean()))  # of equal ones the majority


def _weigh(
    task: str, outcomes: Sequence[Outcome], judges: Sequence[str], *, quorum: int, level: float
) -> tuple[TaskTuning, TaskGate | None]:
    cases, count = _cases(outcomes, quorum), len(outcomes)
    helpful, misleading = int((cases.better == _KEEP).sum()), int((cases.better == _REJECT).sum())
    none = sum(outcome.treatments["none"].right for outcome in outcomes) / count
    found = TaskTuning(
        task=task,
        count=count,
        helpful=helpful,
        misleading=misleading,
        none=none,
        every=none + (helpful - misleading) / count,
        majority=none + float(cases.gained(cases.by_majority).sum()) / count,
        majority_kept=_share_kept(outcomes, quorum, None),
        reason=f"too little to tune on: {helpful} helpful and {misleading} misleading, {FOLDS} of each needed",
    )
    if min(helpful, misleading) < FOLDS:
        return found, None
    # All other instances are answered alike by any gate.
    differences = np.zeros(count)
    differences[: len(cases.better)] = cases.gained(_kept_unseen(cases)) - cases.gained(cases.by_majority)
    gain, interval = float(differences.mean()), Interval.of_mean(differences.tolist(), level=level)
    strength, threshold = _choose(cases)
    weights, bias = _fit(cases, strength)
    gate = TaskGate(weights=dict(zip(judges, weights.tolist(), strict=True)), bias=bias, threshold=threshold)
    better = _is_better(differences, interval)
    found = found.model_copy(
        update={
            "tuned": found.majority + gain,
            "gain": gain,
            "interval": interval,
            "tuned_kept": _share_kept(outcomes, quorum, gate),
            "strength": strength,
            "better": better,
            "reason": "better than the majority" if better else "not shown to be better: the majority stays",
        }
    )
    return found, gate if better else None


def _is_better(differences: _Array, interval: Interval) -> bool:
    """Whether unseen answers gain (1) more than they lose (-1); of few, the bootstrap alone is too sure."""
    won, lost = int((differences > 0).sum()), int((differences < 0).sum())
    return interval.sign > 0 and mcnemar(won, lost) <= 1 - interval.level


def _share_kept(outcomes: Sequence[Outcome], quorum: int, gate: TaskGate | None) -> float:
    kept = 0
    for votes in map(_votes, outcomes):
        yes, no = _count(votes)
        kept += yes + no >= quorum and (yes > no if gate is None else gate.keeps(votes))
    return kept / len(outcomes)


def _count(votes: Sequence[Vote]) -> tuple[int, int]:
    return sum(vote.verdict == "yes" for vote in votes), sum(vote.verdict == "no" for vote in votes)


def _kept_unseen(cases: _Cases) -> _Array:
    """Decides each instance by a gate that was tuned on the others."""
    kept = np.zeros(len(cases.better), dtype=bool)
    for seen, unseen in _folds(cases):
        strength, threshold = _choose(cases[seen])
        kept[unseen] = _chances(cases[unseen].votes, *_fit(cases[seen], strength)) >= threshold
    return kept


def _choose(cases: _Cases) -> tuple[float, float]:
    """Returns the strength with the likeliest preferences and the threshold with the most right answers, unseen."""
    unseen = {strength: np.zeros(len(cases.better)) for strength in STRENGTHS}
    for train, test in _folds(cases):
        for strength, chances in unseen.items():
            chances[test] = _chances(cases[test].votes, *_fit(cases[train], strength))

    def likelihood(strength: float) -> float:
        chances = unseen[strength]
        return float(np.log(np.where(cases.better == _KEEP, chances, 1 - chances) + 1e-12).sum())

    strength = max(STRENGTHS, key=likelihood)  # of equal ones the strongest regularisation
    return strength, _threshold(cases, unseen[strength])


def _threshold(cases: _Cases, chances: _Array) -> float:
    """Returns the threshold with the most right answers; of equally good ones the nearest to one half."""
    steps = np.unique(chances)
    candidates = np.concatenate([[0.0], (steps[1:] + steps[:-1]) / 2, [(steps[-1] + 1) / 2]])
    gained = [cases.gained(chances >= candidate).sum() for candidate in candidates]
    best = candidates[np.array(gained) == max(gained)]
    return float(best[np.abs(best - 0.5).argmin()])


def _fit(cases: _Cases, strength: float) -> tuple[_Array, float]:
    linear_model = require("sklearn.linear_model", "evaluation", "Tuning a gate")
    model = linear_model.LogisticRegression(C=strength, max_iter=1000)
    model.fit(cases.votes, cases.better)
    return model.coef_[0], float(model.intercept_[0])


def _chances(votes: _Array, weights: _Array, bias: float) -> _Array:
    chances: _Array = (1 + np.tanh((votes @ weights + bias) / 2)) / 2
    return chances


def _any_folds(count: int) -> list[tuple[_Array, _Array]]:
    model_selection = require("sklearn.model_selection", "evaluation", "Tuning a gate")
    return list(model_selection.KFold(n_splits=FOLDS, shuffle=True, random_state=0).split(np.zeros(count)))


def _folds(cases: _Cases) -> list[tuple[_Array, _Array]]:
    """Splits instances into those tuned on and the rest, each with its share of helpful and misleading ones."""
    model_selection = require("sklearn.model_selection", "evaluation", "Tuning a gate")
    rarest = min(int((cases.better == _KEEP).sum()), int((cases.better == _REJECT).sum()))
    folds = model_selection.StratifiedKFold(n_splits=min(FOLDS, rarest), shuffle=True, random_state=0)
    return list(folds.split(cases.votes, cases.better))
