"""Turns records into training examples of a causal LM: a prompt in the layout of raw completions, and its answer.

A prompt has the same tokens as on a server, including the BOS that the tokenizer adds. The loss is computed only on the
tokens of the answer and on the EOS after it.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from caslie_tools.data.records import BadRecord, Record
from caslie_tools.domain import Caption
from caslie_tools.evaluation.clusters import Names, names_of
from caslie_tools.exceptions import InstanceError
from caslie_tools.tasks import FusedInstance, get_task
from caslie_tools.tasks.fusion import fuse
from caslie_tools.tasks.instances import WireFormat
from caslie_tools.tasks.layouts import Layout, render
from caslie_tools.tuning.settings import CaptionSelection

IGNORED: Final = -100
"""The label of a token without a loss, as defined by PyTorch's cross entropy."""


@dataclass(frozen=True, kw_only=True)
class TrainingExample:
    """One record, in tokens."""

    index: int
    """The record's position in its source."""
    task: str
    answer: str
    """The right answer, as text."""
    choices: tuple[str, ...]
    """The possible answers. Empty for an open question."""
    tokens: tuple[int, ...]
    """Prompt, answer and EOS."""
    prompt_length: int
    """Number of tokens of the prompt."""
    names: Names = frozenset()
    """The products and users of the record."""

    @property
    def prompt(self) -> tuple[int, ...]:
        """The tokens of the prompt, including BOS."""
        return self.tokens[: self.prompt_length]

    @property
    def labels(self) -> tuple[int, ...]:
        """The label of each token: the token itself for the answer and EOS, ``IGNORED`` for the prompt."""
        return (IGNORED,) * self.prompt_length + self.tokens[self.prompt_length :]


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The training and validation examples made of records."""

    train: list[TrainingExample] = field(default_factory=list)
    validation: list[TrainingExample] = field(default_factory=list)
    left_out: list[BadRecord] = field(default_factory=list)
    """Records that cannot be used, with the reason."""


def make_examples(
    records: Iterable[Record | BadRecord],
    tokenizer: Any,
    *,
    layout: Layout = "alpaca",
    wire: WireFormat = "corrected",
    captions: CaptionSelection = "kept",
    validation: Sequence[str] = (),
    max_length: int = 2048,
) -> TrainingData:
    """Turns records into examples. Records that cannot be used are left out and reported.

    Args:
        records: The records of :func:`~caslie_tools.data.reading.read_records`.
        tokenizer: The model's tokenizer, as loaded by transformers.
        layout: The layout of the prompts.
        wire: The form of the fused text.
        captions: Which captions are fused.
        validation: Splits whose records become validation examples.
        max_length: Maximum number of tokens of an example. Longer examples are left out, never cut.
    """
    made = TrainingData()
    for record in records:
        if isinstance(record, BadRecord):
            made.left_out.append(record)
            continue
        try:
            example = make_example(
                record, tokenizer, layout=layout, wire=wire, captions=captions, max_length=max_length
            )
        except InstanceError as error:
            made.left_out.append(BadRecord(index=record.index, reason=str(error)))
            continue
        (made.validation if record.split in validation else made.train).append(example)
    return made


def make_example(
    record: Record,
    tokenizer: Any,
    *,
    layout: Layout = "alpaca",
    wire: WireFormat = "corrected",
    captions: CaptionSelection = "kept",
    max_length: int = 2048,
) -> TrainingExample:
    """Turns one record into an example. The arguments are those of :func:`make_examples`.

    Raises:
        InstanceError: If the record has captions without votes, contains a special token of the tokenizer, or is too
            long.
    """
    fused = fused_record(record, captions=captions, wire=wire)
    prompt, answer = _tokens(tokenizer, render(fused, layout), record.output)
    if len(prompt) + len(answer) > max_length:
        raise InstanceError(
            f"the record has {len(prompt) + len(answer)} tokens with its answer, the maximum is {max_length}"
        )
    return TrainingExample(
        index=record.index,
        task=record.task,
        answer=record.output,
        choices=get_task(record.task).labels(fused),
        tokens=(*prompt, *answer),
        prompt_length=len(prompt),
        names=names_of(record),
    )


def fused_record(
    record: Record, *, captions: CaptionSelection = "kept", wire: WireFormat = "corrected"
) -> FusedInstance:
    """Fuses a record's own captions into its text.

    Raises:
        InstanceError: If only kept captions are requested, and the record has captions without votes.
    """
    task = get_task(record.task)
    given = record.captions or (None,) * len(record.instance.images)
    if captions == "none":
        wanted: Sequence[bool | None] = (False,) * len(given)
    elif captions == "all" or not any(given):
        wanted = (True,) * len(given)
    elif record.kept is None:
        raise InstanceError("the record has captions without votes; use all captions, or none")
    else:
        wanted = record.kept
    places = task.places(record.instance)
    return fuse(
        task,
        record.instance,
        [
            Caption.given(text, places[image.place].context) if text and kept else None
            for text, kept, image in zip(given, wanted, record.instance.images, strict=True)
        ],
        wire=wire,
    )


def sample_examples(examples: Sequence[TrainingExample], count: int, seed: int) -> list[TrainingExample]:
    """Draws up to ``count`` examples at random. They keep their order, and a seed always gives the same ones."""
    chance = random.Random(seed)  # noqa: S311 (repeatable draws, no secret)
    kept = sorted(chance.sample(range(len(examples)), min(count, len(examples))))
    return [examples[position] for position in kept]


def _tokens(tokenizer: Any, prompt: str, answer: str) -> tuple[list[int], list[int]]:
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    asked: list[int] = tokenizer(prompt)["input_ids"]
    if len(asked) > 1 and asked[-1] == eos and not prompt.endswith(tokenizer.eos_token):
        asked = asked[:-1]  # some tokenizers append EOS to every text, but the prompt continues with the answer
    # Tokenized together, so that the answer has the tokens that follow a prompt, not those of a separate text.
    whole: list[int] = tokenizer(prompt + answer, add_special_tokens=False)["input_ids"]
    bare: list[int] = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    if whole[: len(bare)] == bare:
        answered = whole[len(bare) :]
    else:  # a token would span prompt and answer, which cannot happen at inference
        answered = tokenizer(answer, add_special_tokens=False)["input_ids"]
    if bos is not None and bos in asked[1:]:
        raise InstanceError(f"the text contains {tokenizer.bos_token}, the token that starts a prompt")
    if special := set(answered) & set(tokenizer.all_special_ids):
        token = tokenizer.convert_ids_to_tokens(min(special))
        raise InstanceError(f"the answer contains {token}, a special token of the tokenizer")
    return asked, [*answered, eos]
