"""A tuned gate: decides by weighted votes or by a learned model, where CQE's majority vote counts the votes.

A judge that is reliable on a task gets a larger weight than a judge that guesses. A learned model also reads numbers
behind the votes and about the caption (:mod:`caslie_tools.pipeline.learned_gate`). Both are learned per task from
instances that were answered with and without the caption (:mod:`caslie_tools.tuning.gate`). They are stored as JSON.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, JsonValue, model_validator

from caslie_tools.domain import FrozenModel, Probability, Vote
from caslie_tools.exceptions import SettingsError
from caslie_tools.pipeline.learned_gate import LearnedGate
from caslie_tools.pipeline.log_odds import Weight, log_odds
from caslie_tools.pipeline.tuned_file import TunedFile
from caslie_tools.roles.interfaces import Captioner, Judge


class TaskGate(FrozenModel):
    """The gate of one task: the weights of the votes, a learned model, or a fixed decision for all captions."""

    keeps_all: bool | None = None
    """Keep every caption (``True``) or none (``False``) without asking the jury. ``None``: the votes decide."""
    learned: LearnedGate | None = None
    """The model that decides. ``None``: the weights decide."""
    weights: dict[str, Weight] = Field(default_factory=dict)
    """By the name of the judge."""
    bias: Weight = 0.0
    threshold: Probability = 0.5
    """The minimum probability at which the weights keep a caption."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.keeps_all is not None) + (self.learned is not None) + bool(self.weights) > 1:
            raise ValueError("a task has weights, a learned model or a fixed decision, not several of them")
        return self

    @property
    def is_weighted(self) -> bool:
        """Whether the weights decide."""
        return self.keeps_all is None and self.learned is None

    def probability(self, votes: Sequence[Vote]) -> float:
        """Returns the probability that the caption helps by the weights: ``sigmoid(weights . log-odds + bias)``.

        Args:
            votes: The votes of all judges.
        """
        total = self.bias + sum(self.weights[vote.judge] * log_odds(vote) for vote in votes)
        return (1 + math.tanh(total / 2)) / 2  # the sigmoid without an overflow

    def keeps(self, votes: Sequence[Vote], signals: Mapping[str, float] | None = None) -> bool:
        """Returns whether a caption is kept.

        Args:
            votes: The votes of all judges that the gate asks.
            signals: Numbers about the caption itself, for a learned model.
        """
        if self.learned is not None:
            return self.learned.keeps(votes, signals or {})
        return self.probability(votes) >= self.threshold if self.keeps_all is None else self.keeps_all

    def is_close(self, votes: Sequence[Vote], signals: Mapping[str, float] | None = None) -> bool:
        """Returns whether one vote less would have changed the decision."""
        kept = self.keeps(votes, signals)
        return any(self.keeps([*votes[:index], *votes[index + 1 :]], signals) != kept for index in range(len(votes)))


class TunedGate(TunedFile):
    """The tuned gate of one jury. The untuned gate decides the tasks that the tuned gate does not contain."""

    file_name: ClassVar[str] = "the tuned gate"
    command: ClassVar[str] = "caslie tune gate"

    version: Literal[1, 2] = 2
    """Version of the file. Version 1 has no learned models."""
    judges: tuple[str, ...] = Field(min_length=1)
    """The names of the judges that the gate was tuned for."""
    tasks: dict[str, TaskGate] = Field(min_length=1)
    """By the name of the task."""
    provenance: dict[str, JsonValue] = Field(default_factory=dict)
    """The data that the gate was tuned on, and its measured gain."""

    @model_validator(mode="after")
    def _fits_the_jury(self) -> Self:
        for name, gate in self.tasks.items():
            if gate.is_weighted and sorted(gate.weights) != sorted(self.judges):
                raise ValueError(f"{name} needs one weight per judge")
            if gate.learned is not None and not {*gate.learned.judges} <= {*self.judges}:
                raise ValueError(f"{name} asks judges that are not in the jury")
        return self

    @property
    def learned(self) -> tuple[LearnedGate, ...]:
        """The learned models of all tasks."""
        return tuple(gate.learned for gate in self.tasks.values() if gate.learned is not None)

    def require_judges(self, judges: Sequence[Judge]) -> None:
        """Raises an error if a jury is not the one that the gate was tuned for. The order does not matter.

        Raises:
            SettingsError: If the judges differ, or do not report a signal that a learned model needs.
        """
        names = [judge.get_name() for judge in judges]
        if sorted(names) != sorted(self.judges):
            raise SettingsError(
                f"the gate was tuned for the judges {', '.join(self.judges)}, but the jury is {', '.join(names)}: "
                "tune a gate for this jury, or use no gate"
            )
        for model in self.learned:
            model.require_judge_signals(judges)

    def require_captioners(self, captioners: Sequence[Captioner]) -> None:
        """Raises an error if no captioner reports the kinds of evidence that a learned model needs.

        Raises:
            SettingsError: If a kind of evidence is missing.
        """
        for model in self.learned:
            model.require_caption_signals(captioners)

    def save(self, path: Path) -> None:
        """Writes the gate to a JSON file of the current version.

        Raises:
            SettingsError: If the file cannot be written.
        """
        super(TunedGate, self.model_copy(update={"version": 2})).save(path)
