"""Learns a gate from a run's outcomes, per task: weights of the judges' votes, or a model of what captions do.

The label of a caption is its effect on the answer. If the answer is right only with the caption, keeping is better. If
it is right only without, rejecting is better. Three kinds of gates are learned and tested against the untuned gate of
the run (:mod:`caslie_tools.tuning.gate_kinds`):

- *uniform*: all captions of the task are kept, or none.
- *weights*: a logistic regression (L2) on the votes, with a threshold that gives the most right final answers
  (:mod:`caslie_tools.tuning.vote_weights`).
- *learned*: a model of the four effects, which also reads what is behind the votes
  (:mod:`caslie_tools.tuning.learned_gate`).

If instances have several captions, the effect of each is that of leaving it out. Votes cannot be weighted if that was
not evaluated, or if there are too few helpful or misleading captions. The gate may then keep all captions of the task,
or none.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from caslie_tools._version import __version__
from caslie_tools.domain import FrozenModel, Vote
from caslie_tools.evaluation.caption_effects import is_judged
from caslie_tools.evaluation.clusters import names_of
from caslie_tools.evaluation.outcomes import Outcome
from caslie_tools.evaluation.reading import read_outcomes, read_run_description
from caslie_tools.evaluation.significance import bonferroni
from caslie_tools.exceptions import DataError
from caslie_tools.pipeline.tuned_gate import TunedGate
from caslie_tools.tasks import TASKS, get_task
from caslie_tools.tuning.gate_kinds import TaskTuning, TunedTask, tune_by_votes, tune_uniform, voted_captions

_TESTS: Final = 4
"""Tests for each task: weighted votes, a learned model, all captions, no captions."""


class GateTuning(FrozenModel):
    """The result of tuning, with the gate if it is better than the untuned gate for at least one task."""

    judges: tuple[str, ...]
    tasks: tuple[TaskTuning, ...]
    """The chosen kind of gate for each task, or the kind that came closest to being chosen."""
    candidates: tuple[TaskTuning, ...]
    """All kinds of gates that were tested."""
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
            f"{run}: this run used a tuned gate, but a gate is tuned against the untuned gate; run caslie eval into "
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
    level = bonferroni(_TESTS * len(tasks))
    quorum = _quorum(facts, len(judges))
    candidates = [_tune_task(name, of_task, judges, quorum=quorum, level=level) for name, of_task in tasks.items()]
    tuned = [_choose(of_task, len(judges)) for of_task in candidates]
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
        candidates=tuple(result for of_task in candidates for result, _ in of_task),
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
) -> list[TunedTask]:
    uniform = tune_uniform(task, outcomes, level=level)
    if not any(map(voted_captions, outcomes)):
        return [uniform]
    return [uniform, *tune_by_votes(task, outcomes, judges, quorum=quorum, level=level)]


def _choose(candidates: Sequence[TunedTask], jury: int) -> TunedTask:
    """Returns the better gate with the largest gain, and of equal gates the one that asks fewer judges.

    A uniform gate is used only if no other is better.
    """
    uniform, *by_votes = candidates
    better = [candidate for candidate in by_votes if candidate[1] is not None]
    if better:
        return max(better, key=lambda one: (one[0].gain or 0.0, -jury if one[0].asked is None else -len(one[0].asked)))
    return uniform if uniform[1] is not None or not by_votes else by_votes[0]


def votes_of(outcome: Outcome) -> list[tuple[Vote, ...]]:
    """Returns the votes on each judged caption of an instance."""
    return [caption.votes for caption in outcome.treatments["gated"].captions if caption.votes]
