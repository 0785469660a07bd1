"""The settings of a tuning run.

The defaults are the recipe of the paper's authors, as recalled from their earlier work: rank 16 on all projections,
learning rate 1e-4, batch size 128, 3 epochs, cosine schedule with 5% warm-up. Alpha and dropout are our choice.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import Field, ValidationError, model_validator

from caslie_tools.domain import FrozenModel
from caslie_tools.exceptions import SettingsError
from caslie_tools.roles.settings import NAME_PATTERN
from caslie_tools.tasks.instances import WireFormat
from caslie_tools.tasks.layouts import Layout

CaptionSelection: TypeAlias = Literal["kept", "all", "none"]
"""Which captions of a record are fused: those that the jury kept (the record's ``votes``), all, or none."""


class TuningSettings(FrozenModel):
    """The model, the data and the recipe of one run."""

    base: str = Field(pattern=NAME_PATTERN)
    """The causal LM to tune: a folder, or a name on the hub. Only safetensors are read, and no code of the model."""
    revision: str | None = Field(default=None, min_length=1)
    """Branch, tag or commit on the hub. Default: the newest."""
    data: str = Field(min_length=1)
    """Instruction data. See :func:`caslie_tools.data.reading.read_records`."""
    out: Path
    """Folder for the adapter, its model card and the checkpoints."""

    layout: Layout = "alpaca"
    """Layout of the prompts. The tuned model must be used with the same layout."""
    wire: WireFormat = "corrected"
    """Form of the fused text. The tuned model must be used with the same form. ``paper``: that of the published
    models."""
    captions: CaptionSelection = "kept"
    tasks: tuple[str, ...] = ()
    """Tune only on these tasks, by name or abbreviation. Empty: all."""
    splits: tuple[str, ...] = Field(default=("train",), min_length=1)
    """Splits to tune on."""
    validation: tuple[str, ...] = ("validation", "val")
    """Splits to evaluate before tuning and after each epoch. Empty or without records: no evaluation."""
    instances: int | None = Field(default=None, ge=1)
    """Maximum number of training instances, drawn at random. Default: all."""
    max_length: int = Field(default=2048, ge=16)
    """Maximum number of tokens of an instance, including its answer. Longer instances are left out, never cut."""

    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    """The output of the adapter is scaled by ``alpha / rank``."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    warm_up: float = Field(default=0.05, ge=0, lt=1)
    """Share of all steps in which the learning rate rises. After them, it falls as a cosine."""
    epochs: float = Field(default=3.0, gt=0)
    batch_size: int = Field(default=128, ge=1)
    """Number of instances per step, over all devices. With ``packing``: number of packed sequences."""
    device_batch_size: int = Field(default=4, ge=1)
    """Number of instances that a device processes at the same time. Gradients are accumulated to the batch size."""
    packing: bool = False
    """Whether to pack several short instances into one sequence of up to ``max_length``. Attention does not cross
    instances."""
    gradient_checkpointing: bool = True
    """Whether to recompute activations instead of keeping them: less memory, more time."""
    device: Literal["auto", "cpu"] = "auto"
    """``auto``: a GPU if there is one."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Data type of the base's weights and of the computation. The adapter is always float32. ``auto``: bfloat16 on a
    GPU that supports it, otherwise float32."""
    seed: int = Field(default=0, ge=0)

    score_instances: int = Field(default=200, ge=0)
    """Number of validation instances whose answers are scored, drawn at random. 0: only the loss is computed."""
    save_steps: int = Field(default=50, ge=1)
    """Number of steps between two checkpoints. The newest two are kept."""
    merge: bool = False
    """Whether to write full weights, the base with the adapter, into the folder ``merged``."""

    @model_validator(mode="after")
    def _has_disjoint_splits(self) -> "TuningSettings":
        if both := set(self.splits) & set(self.validation):
            raise ValueError(f"the split {min(both)} cannot be used for both tuning and validation")
        return self


def load_settings(given: Mapping[str, Any]) -> TuningSettings:
    """Validates settings. A value that is ``None`` or an empty list is replaced by its default.

    Raises:
        SettingsError: If a setting is not valid.
    """
    try:
        return TuningSettings(**{name: value for name, value in given.items() if value not in (None, [], ())})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        message = first["msg"].removeprefix("Value error, ")
        if first["loc"]:
            message = f"the setting {first['loc'][0]} cannot be used: {message}"
        raise SettingsError(f"tuning: {message}") from error
