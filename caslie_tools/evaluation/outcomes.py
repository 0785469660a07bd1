"""What is written down of one instance under every treatment: all that scores and reports are computed from."""

from typing import Literal, TypeAlias

from pydantic import Field

from caslie_tools.domain import FrozenModel, Probability, Vote

Treatment: TypeAlias = Literal["none", "every", "gated", "plain", "given"]
"""Which captions are fused: none; every one EC3 made for the instance; those the jury keeps; every context-free one;
those the data brings along, as given."""
TREATMENTS: tuple[Treatment, ...] = ("none", "every", "gated", "plain", "given")


class CaptionOutcome(FrozenModel):
    """What became of one image."""

    image: int
    """Position among the instance's images."""
    text: str = ""
    """The caption; empty if there is none."""
    kept: bool = False
    """Whether the jury keeps it; only under ``gated``."""
    votes: tuple[Vote, ...] = ()
    """The whole jury's, for calibration; only under ``gated``."""
    error: str = ""
    """Why there is no caption, where something went wrong."""


class Cost(FrozenModel):
    """What one treatment of one instance took, as if it were the only one."""

    captioner_calls: int = 0
    judge_calls: int = 0
    """Votes that stopping early needs, whether or not the whole jury was asked."""
    predictor_calls: int = 0
    cached_captions: int = 0
    """Captions that were in the store already."""
    prompt_tokens: int = 0
    """As far as the models tell; so are the next ones."""
    completion_tokens: int = 0
    seconds: float = 0.0
    """In calls of models, without waiting for a turn; calls at the same time add up."""


class TreatmentOutcome(FrozenModel):
    """One instance under one treatment."""

    answer: str | None = None
    """The label that was answered, ``None`` for none of them; for an open question the answer's text."""
    text: str = ""
    """The model's own words."""
    right: bool = False
    probabilities: dict[str, Probability] | None = None
    fused: int = 0
    """Captions that were fused."""
    captions: tuple[CaptionOutcome, ...] = ()
    cost: Cost = Cost()
    error: str = ""
    """Why there is no answer, where a model failed; it counts as a wrong one."""


class Outcome(FrozenModel):
    """One instance under every treatment: one line of the run's JSON Lines file."""

    index: int
    """The record's place in the data, from 0."""
    key: str
    """The record's key; a run that goes on skips the keys it has."""
    task: str
    split: str
    gold: str
    """The right answer."""
    treatments: dict[Treatment, TreatmentOutcome] = Field(default_factory=dict)
