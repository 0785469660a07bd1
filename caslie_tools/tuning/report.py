"""What a tuning run did."""

from pathlib import Path

from pydantic import Field

from caslie_tools.data.records import BadRecord
from caslie_tools.domain import FrozenModel
from caslie_tools.tuning.configuration import TuningSettings
from caslie_tools.tuning.scoring import TaskScore


class TuningReport(FrozenModel):
    """What a run did."""

    settings: TuningSettings
    adapter: Path
    """Folder of the adapter."""
    merged: Path | None = None
    """Folder of the full weights, where they were asked for."""
    train: dict[str, int]
    """Instances tuned on, by task."""
    validation: dict[str, int]
    """Instances the loss was evaluated on, by task."""
    left_out: tuple[BadRecord, ...] = ()
    """Records that were not used, and why."""
    data: str
    """SHA-256 (hex) of all it was tuned on, in tokens."""
    trainable: int
    """Parameters of the adapter."""
    parameters: int
    """Parameters of the base."""
    steps: int
    resumed_from: int = 0
    """Steps that an earlier run had made."""
    first_loss: float
    last_loss: float
    """Training loss of the first and of the last step."""
    validation_loss: tuple[float, float] | None = None
    """Before and after."""
    before: dict[str, TaskScore] = Field(default_factory=dict)
    after: dict[str, TaskScore] = Field(default_factory=dict)
    """Scores on the drawn validation instances, by task."""
    seconds: float
    """Of this run, without loading, from its first step to its last, evaluations included."""
    device: str
    processes: int
    main_process: bool = True
    """Whether this is the process that writes, of several."""
    dtype: str
    peak_memory: int | None = None
    """Bytes, of the GPU's memory; ``None`` on a processor."""
