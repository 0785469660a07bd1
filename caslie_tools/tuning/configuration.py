"""What can be set of a tuning run.

The defaults are the recipe of the paper's group, as it is recalled from their earlier work: rank 16 on all projections,
learning rate 1e-4, batch 128, 3 epochs, cosine schedule with 5% warm-up. Alpha and dropout are our choice.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import Field, ValidationError, model_validator

from caslie_tools.domain import FrozenModel
from caslie_tools.exceptions import SettingsError
from caslie_tools.roles.settings import NAME_PATTERN
from caslie_tools.tasks.fusion import WireFormat
from caslie_tools.tasks.layouts import Layout

Captions: TypeAlias = Literal["kept", "all", "none"]
"""Which captions of a record are fused in: those the jury kept (the record's ``votes``), all, or none."""


class TuningSettings(FrozenModel):
    """One run: which model, on which data, by which recipe."""

    base: str = Field(pattern=NAME_PATTERN)
    """The causal LM to tune: a folder, or its name on the hub. Read from safetensors only, and never its code."""
    revision: str | None = Field(default=None, min_length=1)
    """Branch, tag or commit on the hub; by default the newest."""
    data: str = Field(min_length=1)
    """Instruction data: see :func:`caslie_tools.data.reading.read_records`."""
    out: Path
    """Folder of the adapter, its model card and the checkpoints."""

    layout: Layout = "alpaca"
    """The prompt it is tuned on, and has to be asked in ever after."""
    wire: WireFormat = "corrected"
    """Form of the fused text, likewise; ``paper`` is that of the published models."""
    captions: Captions = "kept"
    tasks: tuple[str, ...] = ()
    """Only these, by name or the paper's abbreviation; all where it is empty."""
    splits: tuple[str, ...] = Field(default=("train",), min_length=1)
    """Tuned on."""
    validation: tuple[str, ...] = ("validation", "val")
    """Evaluated on before, and after each epoch; nothing is where these are empty."""
    instances: int | None = Field(default=None, ge=1)
    """Tune on at most so many, drawn by the seed; on all by default."""
    max_length: int = Field(default=2048, ge=16)
    """Tokens of an instance with its answer; a longer one is left out, never cut."""

    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    """The adapter's output is scaled by ``alpha / rank``."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    warm_up: float = Field(default=0.05, ge=0, lt=1)
    """Share of all steps in which the learning rate rises, before it falls as a cosine."""
    epochs: float = Field(default=3.0, gt=0)
    batch_size: int = Field(default=128, ge=1)
    """Instances a step, over all devices; with ``packing`` packed sequences, each of several instances."""
    device_batch_size: int = Field(default=4, ge=1)
    """Instances at once on one device; the rest of a batch is accumulated."""
    packing: bool = False
    """Put short instances side by side into sequences of ``max_length``; none of them sees its neighbours."""
    gradient_checkpointing: bool = True
    """Compute activations twice instead of keeping them: less memory, more time."""
    device: Literal["auto", "cpu"] = "auto"
    """``auto``: a GPU where there is one."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Of the base's weights and of the computation; the adapter itself is float32. ``auto``: bfloat16 on a GPU that has
    it, else float32."""
    seed: int = Field(default=0, ge=0)

    score_instances: int = Field(default=200, ge=0)
    """Validation instances whose answers are scored, drawn once by the seed; with 0 there is only the loss."""
    save_steps: int = Field(default=50, ge=1)
    """Steps between two checkpoints; the newest two are kept."""
    merge: bool = False
    """Write the base's weights with the adapter's added as well, in the folder ``merged``."""

    @model_validator(mode="after")
    def _apart(self) -> "TuningSettings":
        if both := set(self.splits) & set(self.validation):
            raise ValueError(f"the split {min(both)} cannot be tuned and evaluated on")
        return self


def load_settings(given: Mapping[str, Any]) -> TuningSettings:
    """Validates settings; what is ``None`` or an empty list is left at its default.

    Raises:
        SettingsError: If one has a value it cannot have.
    """
    try:
        return TuningSettings(**{name: value for name, value in given.items() if value not in (None, [], ())})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"][:1])
        raise SettingsError(f"tuning: {name or 'the settings'} cannot be used: {first['msg']}") from error
