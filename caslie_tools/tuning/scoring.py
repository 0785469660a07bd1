"""Scores a model in memory, with the answers that a server's constrained decoding would give for the same logits.

A constraint allows only tokens that start one of the choices exactly, and the token with the highest logit is chosen.
``choice_probabilities`` adds up ``yes``, ``Yes`` and ``Y`` and can therefore give another answer, if the model prefers
another capitalization.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from caslie_tools.domain import FrozenModel
from caslie_tools.evaluation.bootstrap import TaskAnswers, resampled_headlines
from caslie_tools.evaluation.significance import Interval
from caslie_tools.roles.choices import exact_choice_starts
from caslie_tools.tasks import get_task
from caslie_tools.tuning.examples import TrainingExample


class TaskScore(FrozenModel):
    """The scores of the answers to one task's examples. An invalid answer counts as wrong."""

    metric: str
    """Name of the task's headline metric."""
    value: float
    """Value of the headline metric."""
    interval: Interval
    """Bootstrap interval over the examples."""
    accuracy: float
    invalid: float
    """Share of answers that are not a label of the task."""
    count: int
    """Number of examples."""


def choose_answers(
    torch: Any, model: Any, tokenizer: Any, examples: Sequence[TrainingExample], *, batch_size: int
) -> list[str | None]:
    """Returns the model's answers, from one forward pass over the prompts.

    Args:
        torch: PyTorch.
        model: A causal LM. Its training mode is restored afterwards.
        tokenizer: The model's tokenizer.
        examples: Examples with choices.
        batch_size: Number of prompts per batch.

    Returns:
        The most likely choice for each example. ``None`` if no token of the vocabulary starts a choice.
    """
    answers: dict[int, str | None] = {}
    starts: dict[tuple[str, ...], dict[int, str]] = {}
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for batch in _batches(examples, batch_size):
                logits = _next_logits(torch, model, tokenizer, [examples[position].prompt for position in batch])
                for position, row in zip(batch, logits.float(), strict=True):
                    choices = examples[position].choices
                    begun = starts.setdefault(choices, exact_choice_starts(tokenizer.get_vocab(), choices))
                    best = max(begun, key=lambda number: float(row[number]), default=None)
                    answers[position] = None if best is None else begun[best]
    finally:
        model.train(was_training)
    return [answers[position] for position in range(len(examples))]


def score_by_task(
    examples: Sequence[TrainingExample], answers: Sequence[str | None], *, seed: int = 0
) -> dict[str, TaskScore]:
    """Scores answers by task, in the alphabetical order of the tasks. Open questions are left out.

    Args:
        examples: The examples.
        answers: One answer per example. ``None`` for an invalid answer.
        seed: Seed of the bootstrap.

    Raises:
        MissingExtraError: If scikit-learn is not installed.
    """
    scores: dict[str, TaskScore] = {}
    for name, answered in answers_by_task(examples, answers).items():
        if answered.task.metric is not None:
            scores[name] = TaskScore(
                metric=answered.metric,
                value=answered.headline,
                interval=Interval.of(resampled_headlines([answered], seed=seed)[0], clusters=answered.cluster_count),
                accuracy=answered.accuracy,
                invalid=answered.answers.count(None) / len(answered.answers),
                count=len(answered.answers),
            )
    return scores


def answers_by_task(examples: Sequence[TrainingExample], answers: Sequence[str | None]) -> dict[str, TaskAnswers]:
    """Groups the answers by task, in the alphabetical order of the tasks."""
    both = sorted(zip(examples, answers, strict=True), key=lambda pair: pair[0].task)
    found = {}
    for name, group in groupby(both, key=lambda pair: pair[0].task):
        asked, given = zip(*group, strict=True)
        gold = tuple(example.answer for example in asked)
        found[name] = TaskAnswers(
            task=get_task(name),
            gold=gold,
            answers=given,
            right=tuple(answer == true for answer, true in zip(given, gold, strict=True)),
            names=tuple(example.names for example in asked),
        )
    return found


def _batches(examples: Sequence[TrainingExample], size: int) -> Iterator[list[int]]:
    """Yields batches of positions. Examples of a batch have similar lengths, so that there is little padding."""
    by_length = sorted(range(len(examples)), key=lambda position: examples[position].prompt_length)
    for start in range(0, len(by_length), size):
        yield by_length[start : start + size]


def _next_logits(torch: Any, model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]]) -> Any:
    """Returns the logits of the token after each prompt, [prompts, vocabulary]. Prompts are padded on the left."""
    longest = max(map(len, prompts))
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    device = next(model.parameters()).device
    ids = torch.full((len(prompts), longest), padding, device=device)
    mask = torch.zeros((len(prompts), longest), dtype=torch.long, device=device)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt, device=device)
        mask[row, longest - len(prompt) :] = 1
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    made = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False, logits_to_keep=1)
    return made.logits[:, -1]
