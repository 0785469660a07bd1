"""Calibrates, from a run's outcomes, the confidence at which the answer from text alone is enough.

An answer is lost if it is wrong from text alone, and right with the captions that the jury keeps. A lower threshold
loses more answers. From the highest confidence down, each threshold is tested for losing at most the allowed share,
until a test fails. The last one that passed is the threshold. The tests have a fixed order, so each may use the whole
error probability: Angelopoulos, Bates, Candès, Jordan and Lei, "Learn then Test: calibrating predictive algorithms to
achieve risk control", Annals of Applied Statistics 2025, on fixed-sequence testing. The loss only rises from one
threshold to the next, so the confidences in the data can serve as thresholds (Bates et al., see
:mod:`caslie_tools.tuning.risk_bound`).

Instances of one product (or user) are not independent. They count as one: its loss is the share of its answers that are
lost. Instances that are connected by chains of shared products count as one, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from caslie_tools._version import __version__
from caslie_tools.domain import FrozenModel
from caslie_tools.evaluation.clusters import Names, connected_clusters, names_of
from caslie_tools.evaluation.outcomes import Outcome
from caslie_tools.evaluation.reading import iter_outcomes, read_run_description
from caslie_tools.exceptions import DataError, InputError, UnsupportedModelError
from caslie_tools.pipeline.text_first import Guarantee, TextFirst, confidence_of
from caslie_tools.tasks import TASKS, get_task
from caslie_tools.tuning.risk_bound import least_count, p_value, upper_bound


class TaskCalibration(FrozenModel):
    """The result for one task. Without a threshold, nothing is saved and nothing is lost."""

    task: str
    count: int
    """Number of instances with a caption, and with answers both from text alone and behind the jury."""
    clusters: int
    """Number of independent clusters of these instances, such as those of one product."""
    threshold: float | None = None
    """The confidence from which the answer from text alone is enough. ``None``: pictures are always looked at."""
    answered: int = 0
    """Number of instances that are answered from text alone, so that no picture is looked at."""
    captions: int
    """Number of captions that are made or found for all instances."""
    captions_saved: int = 0
    votes: int
    """Number of judge calls for all instances."""
    votes_saved: int = 0
    lost: int = 0
    """Number of answers that are right only with the captions that the jury keeps."""
    gained: int = 0
    """Number of answers that are right only from text alone."""
    loss: float = 0.0
    """Share of answers that are lost. Every cluster counts the same."""
    bound: float | None = None
    """Upper bound of this share for new products, at the confidence level of the guarantee."""
    reason: str
    """Why there is a threshold or not."""


class TextFirstCalibration(FrozenModel):
    """The result of a calibration, with the thresholds if there is one for at least one task."""

    guarantee: Guarantee
    tasks: tuple[TaskCalibration, ...]
    text_first: TextFirst | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Instance:
    """What the calibration needs to know of an outcome."""

    names: Names
    split: str
    confidence: float | None
    """``None`` if the predictor reports no probabilities."""
    lost: bool
    gained: bool
    captions: int
    votes: int

    @classmethod
    def of(cls, outcome: Outcome) -> "_Instance":
        none, gated = outcome.treatments["none"], outcome.treatments["gated"]
        return cls(
            names=names_of(outcome),
            split=outcome.split,
            confidence=confidence_of(none.answer, none.probabilities) if none.probabilities else None,
            lost=gated.right and not none.right,
            gained=none.right and not gated.right,
            captions=gated.cost.captioner_calls + gated.cost.cached_captions,
            votes=gated.cost.judge_calls,
        )


def tune_text_first(run: Path, *, max_loss: float = 0.02, confidence: float = 0.95) -> TextFirstCalibration:
    """Calibrates a threshold for each task.

    Args:
        run: The run's folder. It must have the treatments ``none`` and ``gated``.
        max_loss: The share of answers that may be lost, between 0 and 1.
        confidence: The probability with which at most this share is lost, between 0 and 1. It holds for each task by
            itself.

    Raises:
        InputError: If ``max_loss`` or ``confidence`` is not between 0 and 1.
        DataError: If there are no instances to calibrate on, the run does not name its predictor, or every task has
            fewer independent clusters than the guarantee needs.
        UnsupportedModelError: If the predictor of the run reports no probabilities.
        MissingExtraError: If scipy is not installed.
    """
    try:
        guarantee = Guarantee(max_loss=max_loss, confidence=confidence)
    except ValidationError as error:
        raise InputError("the largest loss and the confidence must be between 0 and 1, as in 0.02 and 0.95") from error
    facts = read_run_description(run)
    if not isinstance(predictor := facts.get("predictor"), str):
        raise DataError(f"{run}: its run.json does not name the predictor; pass the folder of a run of caslie eval")
    by_task = _instances_by_task(run)
    tasks = [_calibrate(name, instances, guarantee, predictor) for name, instances in by_task.items()]
    needed = least_count(max_loss, confidence)
    if all(each.clusters < needed for each in tasks):
        found = ", ".join(f"{each.task} has {each.clusters}" for each in tasks)
        raise DataError(
            f"{run}: too few instances to guarantee a loss of at most {max_loss:g} with confidence {confidence:g}: "
            f"{needed} independent products are needed, {found}; evaluate more products, or allow a larger loss"
        )
    everything = [instance for instances in by_task.values() for instance in instances]
    splits = sorted({instance.split for instance in everything})
    text_first = None
    if thresholds := {each.task: each.threshold for each in tasks if each.threshold is not None}:
        names = ("data", "data_sha256", "profile", "captioners", "judges")
        provenance = {
            **{name: facts[name] for name in names if name in facts},
            "splits": splits,
            "caslie-tools": __version__,
            "tasks": {each.task: each.model_dump(mode="json") for each in tasks if each.task in thresholds},
        }
        text_first = TextFirst(predictor=predictor, guarantee=guarantee, thresholds=thresholds, provenance=provenance)
    return TextFirstCalibration(
        guarantee=guarantee, tasks=tuple(tasks), text_first=text_first, notes=_notes(splits, everything)
    )


def _instances_by_task(run: Path) -> dict[str, list[_Instance]]:
    """Returns the usable instances by their task, in the order of the registered tasks."""
    by_task: dict[str, list[_Instance]] = {name: [] for name in TASKS}
    for outcome in iter_outcomes(run):
        if _is_usable(outcome):
            by_task[get_task(outcome.task).name].append(_Instance.of(outcome))
    found = {name: instances for name, instances in by_task.items() if instances}
    if not found:
        raise DataError(
            f"{run}: no instance has a caption, an answer from text alone and one with the captions that the jury "
            "keeps; run caslie eval with the treatments none and gated, on tasks whose answers are labels"
        )
    return found


def _is_usable(outcome: Outcome) -> bool:
    if get_task(outcome.task).is_open:
        return False
    treated = [outcome.treatments.get(name) for name in ("none", "gated")]
    if any(each is None or each.failed for each in treated):
        return False
    # Without a caption, both answers are the same. Such instances would only make the loss look smaller.
    return any(caption.text for caption in outcome.treatments["gated"].captions)


def _calibrate(task: str, instances: Sequence[_Instance], guarantee: Guarantee, predictor: str) -> TaskCalibration:
    if any(each.confidence is None for each in instances):
        raise UnsupportedModelError(
            f"the predictor {predictor} reports no probabilities for {task}, which text-first thresholds need: use a "
            "predictor that reports them"
        )
    clusters = connected_clusters([each.names for each in instances])
    sizes = np.bincount(clusters)
    count, binary = len(sizes), bool((sizes == 1).all())
    result = TaskCalibration(
        task=task,
        count=len(instances),
        clusters=count,
        captions=sum(each.captions for each in instances),
        votes=sum(each.votes for each in instances),
        reason="the answers that the predictor is surest of from text alone are already lost too often",
    )
    needed = least_count(guarantee.max_loss, guarantee.confidence)
    if count < needed:
        return result.model_copy(update={"reason": f"{needed} independent products are needed, there are {count}"})
    threshold, total, passed = None, 0.0, 0.0
    weighted = [
        (each.confidence or 0.0, each.lost / size) for each, size in zip(instances, sizes[clusters], strict=True)
    ]
    for confidence, group in groupby(sorted(weighted, reverse=True), key=itemgetter(0)):
        total += sum(loss for _, loss in group)
        if p_value(total, count, guarantee.max_loss, binary=binary) > 1 - guarantee.confidence:
            break
        threshold, passed = confidence, total
    if threshold is None:
        return result
    answered = [each for each in instances if (each.confidence or 0.0) >= threshold]
    return result.model_copy(
        update={
            "threshold": threshold,
            "answered": len(answered),
            "captions_saved": sum(each.captions for each in answered),
            "votes_saved": sum(each.votes for each in answered),
            "lost": sum(each.lost for each in answered),
            "gained": sum(each.gained for each in answered),
            "loss": passed / count,
            "bound": upper_bound(passed, count, guarantee.confidence, binary=binary),
            "reason": "the loss is within the guarantee",
        }
    )


def _notes(splits: Sequence[str], instances: Sequence[_Instance]) -> tuple[str, ...]:
    names = ", ".join(split or "(no split)" for split in splits)
    notes = [f"calibrated on the split {names}: evaluate the thresholds on another split"]
    if not all(each.names for each in instances):
        notes.append(
            "some instances do not name their products, so instances of one product may count as independent, and the "
            "guarantee may not hold"
        )
    return tuple(notes)
