"""A tuned gate: weights the jury's votes, where CQE's majority vote counts them.

A judge that is reliable on a task gets a larger weight than a judge that guesses. The weights are learned per task from
instances that were answered with and without the caption (:mod:`caslie_tools.tuning.gate`). They are stored as JSON.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, JsonValue, ValidationError, model_validator

from caslie_tools.domain import FrozenModel, Probability, Vote
from caslie_tools.exceptions import SettingsError

_MAX_PROBABILITY: Final = 0.99
"""A higher probability is treated as this one. Otherwise a single judge could outvote any jury."""

# Limited, so that no sum of weights overflows.
Weight = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]


def log_odds(vote: Vote) -> float:
    """Returns a vote as a number: above 0 for yes, below 0 for no, 0 for an abstention.

    The number is the logit of P(yes), limited to ±4.6. If the judge reports no probability, it is ±1.
    """
    if vote.verdict == "abstain":
        return 0.0
    if vote.probability is None:
        return 1.0 if vote.verdict == "yes" else -1.0
    probability = min(max(vote.probability, 1 - _MAX_PROBABILITY), _MAX_PROBABILITY)
    return math.log(probability / (1 - probability))


class TaskGate(FrozenModel):
    """The weights of one task's votes, or a fixed decision for a task where every caption helps or none does."""

    keeps_all: bool | None = None
    """Keep every caption (``True``) or none (``False``) without asking the jury. ``None``: weight the votes."""
    weights: dict[str, Weight] = Field(default_factory=dict)
    """By the name of the judge."""
    bias: Weight = 0.0
    threshold: Probability = 0.5
    """The minimum probability at which a caption is kept."""

    def probability(self, votes: Sequence[Vote]) -> float:
        """Returns the estimated probability that the caption helps: ``sigmoid(weights . log-odds + bias)``.

        Args:
            votes: The votes of all judges.
        """
        total = self.bias + sum(self.weights[vote.judge] * log_odds(vote) for vote in votes)
        return (1 + math.tanh(total / 2)) / 2  # the sigmoid without an overflow

    def keeps(self, votes: Sequence[Vote]) -> bool:
        """Returns whether a caption with these votes of all judges is kept."""
        return self.probability(votes) >= self.threshold if self.keeps_all is None else self.keeps_all

    def is_close(self, votes: Sequence[Vote]) -> bool:
        """Returns whether one vote less would have changed the decision."""
        kept = self.keeps(votes)
        return any(self.keeps([*votes[:index], *votes[index + 1 :]]) != kept for index in range(len(votes)))


class TunedGate(FrozenModel):
    """The tuned gate of one jury. The majority vote decides the tasks that the gate does not contain."""

    version: Literal[1] = 1
    judges: tuple[str, ...] = Field(min_length=1)
    """The names of the judges that the gate was tuned for."""
    tasks: dict[str, TaskGate] = Field(min_length=1)
    """By the name of the task."""
    provenance: dict[str, JsonValue] = Field(default_factory=dict)
    """The data that the gate was tuned on, and its measured gain."""

    @model_validator(mode="after")
    def _one_weight_per_judge(self) -> Self:
        for name, gate in self.tasks.items():
            if gate.keeps_all is None and sorted(gate.weights) != sorted(self.judges):
                raise ValueError(f"{name} needs one weight per judge")
        return self

    def require_jury(self, names: Sequence[str]) -> None:
        """Raises an error if a jury is not the one that the gate was tuned for. The order does not matter.

        Raises:
            SettingsError: If the judges differ.
        """
        if sorted(names) != sorted(self.judges):
            raise SettingsError(
                f"the gate was tuned for the judges {', '.join(self.judges)}, but the jury is {', '.join(names)}: "
                "tune a gate for this jury, or use no gate"
            )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads a gate from a file that ``caslie tune gate`` wrote.

        Raises:
            SettingsError: If the file cannot be read, or its content is invalid.
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
        """Writes the gate to a JSON file.

        Raises:
            SettingsError: If the file cannot be written.
        """
        text = json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=2)
        try:
            path.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise SettingsError(f"the tuned gate {path} cannot be written: {error.strerror}") from error
