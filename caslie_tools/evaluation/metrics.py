"""Scores of a task's answers (paper, section on the evaluation), on scikit-learn.

An invalid answer is a wrong answer: it stays in every denominator. Where there are only two labels it counts as the
other one, or else garbage in the place of every ``no`` would leave the F1 of ``yes`` perfect. The reference
implementation drops invalid answers, so that its scores rise as a model gets worse; :func:`reference_score` does that
too, for comparing with published numbers only.

The paper has no open questions; their answers are scored as SQuAD's are (Rajpurkar et al., "SQuAD: 100,000+ Questions
for Machine Comprehension of Text", EMNLP 2016; unanswerable ones: Rajpurkar et al., "Know What You Don't Know", ACL
2018).
"""

import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

from caslie_tools.domain import FrozenModel
from caslie_tools.exceptions import InputError, MissingExtraError
from caslie_tools.tasks import Task


class Score(FrozenModel):
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
    answered = [counted_answer(task, answer, true) for answer, true in zip(answers, right, strict=True)]
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


def answers_right(answer: str, gold: str, *, answerable: bool | None = True) -> bool:
    """Whether an open question's answer is right: the right one's words stand in it, in their order and together.

    Words are compared as SQuAD does, without case, articles and punctuation. An answer is no single span here, so it
    may say more, as in 'It reads "350 ML".' for ``350 ml``.

    Args:
        answer: What was answered.
        gold: The right answer; empty for a question that cannot be answered.
        answerable: What the model says of that; ``False`` is right for an empty ``gold``, and wrong for any other.
    """
    if not gold.strip() or answerable is False:
        return not gold.strip() and answerable is False
    return f" {' '.join(_words(gold))} " in f" {' '.join(_words(answer))} "


def token_f1(answer: str, gold: str) -> float:
    """SQuAD's F1 of an open question's answer: the harmonic mean of its words' precision and recall, 0 to 1.

    Args:
        answer: What was answered; empty for "it cannot be answered".
        gold: The right answer, likewise: 1 if both are empty, 0 if one is.
    """
    answered, right = Counter(_words(answer)), Counter(_words(gold))
    shared = (answered & right).total()
    if not answered or not right:
        return float(answered == right)
    return 2 * shared / (answered.total() + right.total())


def _words(text: str) -> list[str]:
    """A text's words as SQuAD's own script normalises them; typographic punctuation goes as well."""
    marks = (mark for mark in text if mark in string.punctuation or unicodedata.category(mark).startswith("P"))
    bare = text.lower().translate(str.maketrans("", "", "".join(set(marks)))).split()
    # What is nothing but an article or a mark, such as option "A", stays: else it would be in every answer.
    return [word for word in bare if word not in {"a", "an", "the"}] or bare or text.lower().split()


def counted_answer(task: Task, answer: str | None, right: str) -> str:
    """Returns the label an answer counts as: its own, and for an invalid one a wrong one."""
    if answer is not None:
        return answer
    if len(task.fixed_labels) == 2:
        return next(label for label in task.fixed_labels if label != right)
    return ""  # none of the labels


def _sklearn_metrics() -> Any:
    try:
        from sklearn import metrics
    except ImportError as error:
        raise MissingExtraError("evaluation", "Scoring") from error
    return metrics
