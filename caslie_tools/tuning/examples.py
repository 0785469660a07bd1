"""Records into what a causal LM is tuned on: a prompt in the layout of raw completions, and the answer after it.

The prompt's tokens are those a server makes of the same prompt, with the one BOS its tokenizer adds; the loss is on the
tokens of the answer and on the EOS that ends it, and on nothing else.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from caslie_tools.data.records import BadRecord, Record
from caslie_tools.domain import Caption
from caslie_tools.exceptions import InstanceError
from caslie_tools.tasks import FusedInstance, get_task
from caslie_tools.tasks.fusion import WireFormat, fuse
from caslie_tools.tasks.layouts import Layout, render
from caslie_tools.tuning.configuration import Captions

IGNORED: Final = -100
"""The label of a token that has no loss, as PyTorch's cross entropy has it."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One record, in tokens."""

    index: int
    """The record's place in its source."""
    task: str
    answer: str
    """The right answer, as text."""
    choices: tuple[str, ...]
    """The closed set of answers; empty for an open question."""
    tokens: tuple[int, ...]
    """Prompt, answer and EOS."""
    prompt_length: int
    """How many of them are the prompt."""

    @property
    def prompt(self) -> tuple[int, ...]:
        """The prompt's tokens, BOS included."""
        return self.tokens[: self.prompt_length]

    @property
    def labels(self) -> tuple[int, ...]:
        """What each token is trained on: the answer's and EOS on themselves, the prompt's on nothing."""
        return (IGNORED,) * self.prompt_length + self.tokens[self.prompt_length :]


@dataclass(frozen=True, kw_only=True)
class Examples:
    """What became of some records."""

    train: list[Example] = field(default_factory=list)
    validation: list[Example] = field(default_factory=list)
    left_out: list[BadRecord] = field(default_factory=list)
    """Records that cannot be used, by their index and with the reason."""


def make_examples(
    records: Iterable[Record | BadRecord],
    tokenizer: Any,
    *,
    layout: Layout = "alpaca",
    wire: WireFormat = "corrected",
    captions: Captions = "kept",
    validation: Sequence[str] = (),
    max_length: int = 2048,
) -> Examples:
    """Turns records into examples; one that cannot be used is left out and told of, and the rest goes on.

    Args:
        records: What :func:`~caslie_tools.data.reading.read_records` yields.
        tokenizer: The model's, as transformers loads it.
        layout: The prompt's layout.
        wire: The form of the fused text.
        captions: Which captions are fused in.
        validation: The splits that are not tuned on.
        max_length: Tokens an example may have; a longer one is left out, never cut.
    """
    made = Examples()
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
    captions: Captions = "kept",
    max_length: int = 2048,
) -> Example:
    """Turns one record into an example; the arguments are those of :func:`make_examples`.

    Raises:
        InstanceError: If it has captions that nobody voted on, holds a mark of the tokenizer, or is too long.
    """
    fused = fused_record(record, captions=captions, wire=wire)
    prompt, answer = _tokens(tokenizer, render(fused, layout, wire=wire), record.output)
    if len(prompt) + len(answer) > max_length:
        raise InstanceError(
            f"it takes {len(prompt) + len(answer)} tokens, its answer included, of at most {max_length}"
        )
    return Example(
        index=record.index,
        task=record.task,
        answer=record.output,
        choices=get_task(record.task).labels(fused),
        tokens=(*prompt, *answer),
        prompt_length=len(prompt),
    )


def fused_record(record: Record, *, captions: Captions = "kept", wire: WireFormat = "corrected") -> FusedInstance:
    """Fuses a record's own captions into its text.

    Raises:
        InstanceError: If only kept captions are wanted, and there is no vote on them.
    """
    task = get_task(record.task)
    given = record.captions or (None,) * len(record.instance.images)
    if captions == "none":
        wanted: Sequence[bool | None] = (False,) * len(given)
    elif captions == "all" or not any(given):
        wanted = (True,) * len(given)
    elif record.kept is None:
        raise InstanceError("it has captions, but nobody voted on them; take all of them or none")
    else:
        wanted = record.kept
    places = task.places(record.instance)
    return fuse(
        task,
        record.instance,
        [
            Caption(
                key="",
                text=text,
                image="",
                context=places[image.place].context,
                captioner="given",
                prompt_version="",
                source="given",
            )
            if text and kept
            else None
            for text, kept, image in zip(given, wanted, record.instance.images, strict=True)
        ],
        wire=wire,
    )


def draw(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """Draws at most so many examples, in their order, the same ones for a seed."""
    chance = random.Random(seed)  # noqa: S311 (a choice that repeats, no secret)
    kept = sorted(chance.sample(range(len(examples)), min(count, len(examples))))
    return [examples[position] for position in kept]


def _tokens(tokenizer: Any, prompt: str, answer: str) -> tuple[list[int], list[int]]:
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    asked: list[int] = tokenizer(prompt)["input_ids"]
    if len(asked) > 1 and asked[-1] == eos and not prompt.endswith(tokenizer.eos_token):
        asked = asked[:-1]  # some tokenizers end every text by themselves: here it has not ended
    # As a whole, so that the answer's first token is the one that follows a prompt, and not that of a text of its own.
    whole: list[int] = tokenizer(prompt + answer, add_special_tokens=False)["input_ids"]
    bare: list[int] = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    if whole[: len(bare)] == bare:
        answered = whole[len(bare) :]
    else:  # a token would reach over the border, which it cannot when the prompt is all there is
        answered = tokenizer(answer, add_special_tokens=False)["input_ids"]
    if bos is not None and bos in asked[1:]:
        raise InstanceError(f"its text holds {tokenizer.bos_token}, which begins a prompt")
    if marks := set(answered) & set(tokenizer.all_special_ids):
        raise InstanceError(f"its answer holds {tokenizer.convert_ids_to_tokens(min(marks))}, a mark of the tokenizer")
    return asked, [*answered, eos]
