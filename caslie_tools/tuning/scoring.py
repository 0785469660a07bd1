"""Scores of a model in memory, by the choice that a server's constraint makes of the same logits.

A constraint lets those tokens through that begin a choice letter for letter, and the likeliest of them is taken. Adding
up ``yes``, ``Yes`` and ``Y``, as ``choice_probabilities`` does, can answer differently: where
a model is used to other capitals than the choices'.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from caslie_tools.domain import FrozenModel
from caslie_tools.evaluation.bootstrap import TaskAnswers, resampled_headlines
from caslie_tools.evaluation.significance import Interval
from caslie_tools.roles.choices import exact_choice_starts
from caslie_tools.tasks import get_task
from caslie_tools.tuning.examples import Example


class TaskScore(FrozenModel):
    """How the answers to one task's examples fared; an invalid answer is a wrong one."""

    metric: str
    """The task's headline metric."""
    value: float
    interval: Interval
    """Bootstrapped over the examples."""
    accuracy: float
    invalid: float
    """The share of answers that are none of the task's."""
    count: int


def choose(torch: Any, model: Any, tokenizer: Any, examples: Sequence[Example], *, batch_size: int) -> list[str | None]:
    """Returns the model's answers, from one pass over the prompts; nothing is written.

    Args:
        torch: PyTorch.
        model: A causal LM; it is left in the mode it was in.
        tokenizer: The model's.
        examples: With closed sets of answers.
        batch_size: Prompts at once.

    Returns:
        For each example the likeliest of its choices; ``None`` if the model can begin none of them.
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


def score_answers(examples: Sequence[Example], answers: Sequence[str | None], *, seed: int = 0) -> dict[str, TaskScore]:
    """Scores answers by task, in the tasks' alphabetical order; open questions are left out.

    Args:
        examples: What was asked.
        answers: One for each; ``None`` for an invalid one.
        seed: Of the bootstrap.

    Raises:
        MissingExtraError: If scikit-learn is not installed.
    """
    scores: dict[str, TaskScore] = {}
    for name, answered in answered_by_task(examples, answers).items():
        if answered.task.metric is not None:
            scores[name] = TaskScore(
                metric=answered.metric,
                value=answered.headline,
                interval=Interval.of(resampled_headlines([answered], seed=seed)[0]),
                accuracy=answered.accuracy,
                invalid=answered.answers.count(None) / len(answered.answers),
                count=len(answered.answers),
            )
    return scores


def answered_by_task(examples: Sequence[Example], answers: Sequence[str | None]) -> dict[str, TaskAnswers]:
    """Returns each task's answers beside its right ones, in the tasks' alphabetical order."""
    both = sorted(zip(examples, answers, strict=True), key=lambda pair: pair[0].task)
    found = {}
    for name, group in groupby(both, key=lambda pair: pair[0].task):
        asked, given = zip(*group, strict=True)
        gold = tuple(example.answer for example in asked)
        right = tuple(answer == true for answer, true in zip(given, gold, strict=True))
        found[name] = TaskAnswers(task=get_task(name), gold=gold, answers=given, right=right)
    return found


def _batches(examples: Sequence[Example], size: int) -> Iterator[list[int]]:
    """Positions of examples of about the same length, so that little is padded."""
    by_length = sorted(range(len(examples)), key=lambda position: examples[position].prompt_length)
    for start in range(0, len(by_length), size):
        yield by_length[start : start + size]


def _next_logits(torch: Any, model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]]) -> Any:
    """Logits of the token after each prompt, [prompts, vocabulary]; the padding is on the left."""
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
