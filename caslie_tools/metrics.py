"""Scores of a task's answers (paper, section on the evaluation), on scikit-learn.

An invalid answer is a wrong answer: it stays in every denominator. Where there are only two labels it counts as the
other one, or else garbage in the place of every ``no`` would leave the F1 of ``yes`` perfect. The reference
implementation drops invalid answers, so that its scores rise as a model gets worse; :func:`reference_score` does that
too, for comparing with published numbers only.
"""

from collections.abc import Sequence
from typing import Any

from caslie_tools.domain import Model
from caslie_tools.exceptions import InputError, MissingExtraError
from caslie_tools.tasks import Task


class Score(Model):
    """How a task's answers fared; every figure is a share from 0 to 1."""

    metric: str
    """The task's headline metric."""
    value: float
    """The headline metric's value."""
    accuracy: float
    """Right answers of all; recall@1 is the same for a single right answer."""
    macro_f1: float
    """Mean F1 over the labels that are right at least once."""
    invalid: float
    """Answers that are none of the task's."""
    count: int
    """Answers that were counted."""


def score(task: Task, answers: Sequence[str | None], gold: Sequence[str]) -> Score:
    """Scores answers; an invalid one (``None``) is wrong.

    Args:
        task: A task with a metric.
        answers: The labels that were answered, as :attr:`~caslie_tools.domain.Prediction.label` has them.
        gold: The right labels, in the same order.

    Raises:
        InputError: If the task has no metric, or there is not one answer per right label, or none at all.
        MissingExtraError: If scikit-learn is not installed.
    """
    if task.metric is None:
        raise InputError(f"{task.name} has no metric: its answers are open")
    if len(answers) != len(gold):
        raise InputError(
            f"{task.name}: {len(answers)} answers for {len(gold)} right ones; pass None for an invalid one"
        )
    if not gold:
        raise InputError(f"{task.name}: there is nothing to score")
    metrics = _sklearn_metrics()
    # By `gold` alone, so that an answer outside of it, or an invalid one, makes no class of its own.
    right, labels = [answer.strip() for answer in gold], sorted({answer.strip() for answer in gold})
    answered = [_wrong(task, true) if answer is None else answer for answer, true in zip(answers, right, strict=True)]
    accuracy = float(metrics.accuracy_score(right, answered))
    macro_f1 = float(metrics.f1_score(right, answered, labels=labels, average="macro", zero_division=0))
    values = {"accuracy": accuracy, "recall@1": accuracy, "macro_f1": macro_f1}
    if task.metric.name == "f1":
        positive = [task.metric.positive]
        values["f1"] = float(metrics.f1_score(right, answered, labels=positive, average="macro", zero_division=0))
    return Score(
        metric=task.metric.name,
        value=values[task.metric.name],
        accuracy=accuracy,
        macro_f1=macro_f1,
        invalid=sum(answer is None for answer in answers) / len(answers),
        count=len(answered),
    )


def reference_score(task: Task, answers: Sequence[str | None], gold: Sequence[str]) -> Score:
    """Scores as the reference implementation does: invalid answers are DROPPED first. Not a fair score.

    Use it only beside published numbers. ``invalid`` is still the share of all answers, ``count`` what was left.

    Raises:
        InputError: As :func:`score`, or if no valid answer is left.
        MissingExtraError: If scikit-learn is not installed.
    """
    fair = score(task, answers, gold)
    valid = [(answer, right) for answer, right in zip(answers, gold, strict=True) if answer is not None]
    left = score(task, [answer for answer, _ in valid], [right for _, right in valid])
    return left.model_copy(update={"invalid": fair.invalid})


def _wrong(task: Task, right: str) -> str:
    if task.answers == "yes_no":
        return "no" if right == "yes" else "yes"
    return ""  # none of the labels


def _sklearn_metrics() -> Any:
    try:
        from sklearn import metrics
    except ImportError as error:
        raise MissingExtraError("evaluation", "Scoring") from error
    return metrics
