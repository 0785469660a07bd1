"""A tuned gate: the jury's votes weighed, where CQE's plain majority counts them.

A judge that knows the task is worth more than one that guesses. The weights are learned per task from instances whose
answer with and without the caption is known (:mod:`caslie_tools.tuning.gate`), and kept as plain JSON.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, JsonValue, ValidationError, model_validator

from caslie_tools.domain import FrozenModel, Probability, Vote
from caslie_tools.exceptions import SettingsError

_SUREST: Final = 0.99
"""A judge is taken to be no surer than this, or else a single one could outvote any jury."""

# Bounded, so that no sum of them overflows.
Weight = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]


def log_odds(vote: Vote) -> float:
    """Returns what a vote says as a number: above 0 for yes, below for no, 0 for an abstention.

    It is the logit of P(yes) where the judge has one, within ±4.6, else ±1.
    """
    if vote.verdict == "abstain":
        return 0.0
    if vote.probability is None:
        return 1.0 if vote.verdict == "yes" else -1.0
    probability = min(max(vote.probability, 1 - _SUREST), _SUREST)
    return math.log(probability / (1 - probability))


class TaskGate(FrozenModel):
    """How one task's votes are weighed, or that they are not: where every caption helps, or none does."""

    keeps_all: bool | None = None
    """Keep every caption (``True``) or none (``False``), whatever the jury says, which is then not asked."""
    weights: dict[str, Weight] = Field(default_factory=dict)
    """By judge."""
    bias: Weight = 0.0
    threshold: Probability = 0.5
    """The least probability that keeps a caption."""

    def probability(self, votes: Sequence[Vote]) -> float:
        """Returns the estimated P(the caption helps rather than hurts): ``sigmoid(weights . log-odds + bias)``.

        Args:
            votes: The whole jury's.
        """
        total = self.bias + sum(self.weights[vote.judge] * log_odds(vote) for vote in votes)
        return (1 + math.tanh(total / 2)) / 2  # the sigmoid, without an overflow

    def keeps(self, votes: Sequence[Vote]) -> bool:
        """Whether a caption with these votes, the whole jury's, is kept."""
        return self.probability(votes) >= self.threshold if self.keeps_all is None else self.keeps_all

    def is_thin(self, votes: Sequence[Vote]) -> bool:
        """Whether one vote less would have turned it."""
        kept = self.keeps(votes)
        return any(self.keeps([*votes[:index], *votes[index + 1 :]]) != kept for index in range(len(votes)))


class TunedGate(FrozenModel):
    """The tuned gate of one jury; a task it does not name is decided by the majority."""

    version: Literal[1] = 1
    judges: tuple[str, ...] = Field(min_length=1)
    """The jury it was tuned for."""
    tasks: dict[str, TaskGate] = Field(min_length=1)
    """By the task's name."""
    provenance: dict[str, JsonValue] = Field(default_factory=dict)
    """What it was tuned on, and what it gained there."""

    @model_validator(mode="after")
    def _one_weight_per_judge(self) -> Self:
        for name, gate in self.tasks.items():
            if gate.keeps_all is None and sorted(gate.weights) != sorted(self.judges):
                raise ValueError(f"{name} needs one weight per judge")
        return self

    def require_jury(self, names: Sequence[str]) -> None:
        """Makes sure that this is the jury it was tuned for, in whichever order.

        Raises:
            SettingsError: If it is another one.
        """
        if sorted(names) != sorted(self.judges):
            raise SettingsError(
                f"the tuned gate belongs to the judges {', '.join(self.judges)}, and the jury is {', '.join(names)}: "
                "tune one for this jury, or use none"
            )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads a gate that ``caslie tune gate`` wrote.

        Raises:
            SettingsError: If there is none at that place, or it cannot be used.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise SettingsError(f"the tuned gate {path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise SettingsError(f"the tuned gate {path} cannot be used: {where}: {first['msg']}") from error

    def save(self, path: Path) -> None:
        """Writes it as JSON.

        Raises:
            SettingsError: If it cannot be written.
        """
        text = json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=2)
        try:
            path.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise SettingsError(f"the tuned gate {path} cannot be written: {error.strerror}") from error
