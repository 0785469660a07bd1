"""The metrics of a task: scores one list of answers (paper, section on the evaluation), with scikit-learn.

The scores of a run's treatments, with intervals, are in :mod:`caslie_tools.evaluation.treatment_scores`.

An invalid answer counts as wrong. In a task with two labels, it counts as the label that is wrong. Otherwise, garbage
in place of every ``no`` would leave the F1 of ``yes`` perfect. The reference implementation drops invalid answers, so
its scores rise as a model gets worse. :func:`reference_scores` equals it, for comparisons with published numbers.

The paper has no open questions. Their answers are scored as in SQuAD (Rajpurkar et al., "SQuAD: 100,000+ Questions for
Machine Comprehension of Text", EMNLP 2016; unanswerable questions: Rajpurkar et al., "Know What You Don't Know", ACL
2018).
"""

import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

from caslie_tools.domain import FrozenModel
from caslie_tools.exceptions import InputError, MissingExtraError
from caslie_tools.tasks import Metric, Task


class AnswerScores(FrozenModel):
    """The scores of a task's answers. All values except the count are shares from 0 to 1."""

    metric: str
    """The task's headline metric."""
    value: float
    """The headline metric's value."""
    accuracy: float
    """Share of right answers. Equal to recall@1, because each instance has one right answer."""
    precision: float
    """Of the positive label, if the metric is its F1. Otherwise the mean over the labels that are right at least
    once."""
    recall: float
    """As ``precision``."""
    macro_f1: float
    """Mean F1 over the labels that are right at least once."""
    invalid: float
    """Share of answers that are not a label of the task."""
    count: int
    """Number of answers scored."""


def score_answers(task: Task, answers: Sequence[str | None], gold: Sequence[str]) -> AnswerScores:
    """Scores answers. An invalid answer (``None``) is wrong.

    Args:
        task: A task with a metric.
        answers: The answered labels, as in :attr:`~caslie_tools.domain.Prediction.label`.
        gold: The right labels, in the same order.

    Raises:
        InputError: If the task has no metric, if the numbers of answers and right labels differ, or if there are none.
        MissingExtraError: If scikit-learn is not installed.
    """
    if task.metric is None:
        raise InputError(f"{task.name} has no metric, because its answers are open")
    if len(answers) != len(gold):
        raise InputError(
            f"{task.name}: {len(answers)} answers for {len(gold)} right labels; pass None for an invalid answer"
        )
    if not gold:
        raise InputError(f"{task.name}: there are no answers to score")
    metrics = _sklearn_metrics()
    # The classes are the labels in `gold`. Other answers must not become additional classes.
    right, labels = [answer.strip() for answer in gold], sorted({answer.strip() for answer in gold})
    answered = [counted_answer(task, answer, true) for answer, true in zip(answers, right, strict=True)]
    scores = _scores(metrics, task.metric, right, answered, labels)
    return scores.model_copy(update={"invalid": sum(answer is None for answer in answers) / len(answers)})


def reference_scores(task: Task, texts: Sequence[str | None], gold: Sequence[str]) -> AnswerScores:
    """Scores responses as the evaluation of the reference implementation does. Not a fair score.

    Use it only for comparisons with published numbers. A response is read strictly: it is the label itself or, if it
    has a colon, its first character. Every response that is then none of the right labels of the data is dropped. The
    classes of a macro average are the labels that are left among responses or right labels.

    Args:
        task: A task with a metric.
        texts: The models' responses, word for word. ``None`` if there is none.
        gold: The right labels, in the same order.

    Returns:
        ``invalid`` is the share of dropped responses. ``count`` is the number of the others.

    Raises:
        InputError: As :func:`score_answers`, or if no response is left.
        MissingExtraError: If scikit-learn is not installed.
    """
    score_answers(task, texts, gold)  # checks the arguments
    assert task.metric is not None  # noqa: S101 (checked; for the type checker)
    known, metrics = set(gold), _sklearn_metrics()
    answers = [reference_answer(text or "") for text in texts]
    left = [(answer, right) for answer, right in zip(answers, gold, strict=True) if answer in known]
    if not left:
        raise InputError(f"{task.name}: there are no answers to score")
    scores = _scores(
        metrics,
        task.metric,
        [right for _, right in left],
        [answer for answer, _ in left],
        sorted({label for pair in left for label in pair}),
    )
    return scores.model_copy(update={"invalid": 1 - len(left) / len(texts)})


def reference_answer(text: str) -> str:
    """Returns the label that the reference implementation reads in a response."""
    text = text.strip()
    return text[0] if ":" in text else text


def _scores(
    metrics: Any, metric: Metric, right: Sequence[str], answered: Sequence[str], labels: Sequence[str]
) -> AnswerScores:
    """Returns all scores of answers, with ``invalid`` 0.

    Args:
        metrics: The module of scikit-learn.
        metric: The task's metric.
        right: The right labels.
        answered: The answers.
        labels: The classes of a macro average.
    """

    def of(score: Any, classes: Sequence[str]) -> float:
        return float(score(right, answered, labels=classes, average="macro", zero_division=0))

    accuracy, macro_f1 = float(metrics.accuracy_score(right, answered)), of(metrics.f1_score, labels)
    classes = labels if metric.positive is None else [metric.positive]
    values = {"accuracy": accuracy, "recall@1": accuracy, "macro_f1": macro_f1, "f1": of(metrics.f1_score, classes)}
    return AnswerScores(
        metric=metric.name,
        value=values[metric.name],
        accuracy=accuracy,
        precision=of(metrics.precision_score, classes),
        recall=of(metrics.recall_score, classes),
        macro_f1=macro_f1,
        invalid=0,
        count=len(answered),
    )


def is_open_answer_right(answer: str, gold: str, *, answerable: bool | None = True) -> bool:
    """Whether the answer to an open question contains the words of the right answer, in order and adjacent.

    Words are compared as in SQuAD, without case, articles and punctuation. Unlike in SQuAD, the answer may have other
    words too, as in 'It reads "350 ML".' for ``350 ml``.

    Args:
        answer: The given answer.
        gold: The right answer. Empty for a question that cannot be answered.
        answerable: Whether the model considers the question answerable. ``False`` is right for an empty ``gold``, and
            wrong for any other.
    """
    if not gold.strip() or answerable is False:
        return not gold.strip() and answerable is False
    return f" {' '.join(_words(gold))} " in f" {' '.join(_words(answer))} "


def token_f1(answer: str, gold: str) -> float:
    """Returns SQuAD's F1 of an answer to an open question, from 0 to 1: the harmonic mean of word precision and recall.

    The F1 is 1 if both texts are empty, and 0 if only one is.

    Args:
        answer: The given answer. Empty for "it cannot be answered".
        gold: The right answer. Empty for a question that cannot be answered.
    """
    answered, right = Counter(_words(answer)), Counter(_words(gold))
    shared = (answered & right).total()
    if not answered or not right:
        return float(answered == right)
    return 2 * shared / (answered.total() + right.total())


def _words(text: str) -> list[str]:
    """Splits a text into words, normalised as in SQuAD's script. Typographic punctuation is removed too."""
    marks = (mark for mark in text if mark in string.punctuation or unicodedata.category(mark).startswith("P"))
    words = text.lower().translate(str.maketrans("", "", "".join(set(marks)))).split()
    # A text of only articles or punctuation, such as option "A", is kept. An empty text would match every answer.
    return [word for word in words if word not in {"a", "an", "the"}] or words or text.lower().split()


def counted_answer(task: Task, answer: str | None, right: str) -> str:
    """Returns the label that an answer counts as. An invalid answer counts as a wrong label."""
    if answer is not None:
        return answer
    if len(task.fixed_labels) == 2:
        return next(label for label in task.fixed_labels if label != right)
    return ""  # not a label


def _sklearn_metrics() -> Any:
    try:
        from sklearn import metrics
    except ImportError as error:
        raise MissingExtraError("evaluation", "Scoring") from error
    return metrics
