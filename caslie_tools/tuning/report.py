"""The report of a tuning run."""

from pathlib import Path

from pydantic import Field

from caslie_tools.data.records import BadRecord
from caslie_tools.domain import FrozenModel
from caslie_tools.tuning.scoring import TaskScore
from caslie_tools.tuning.settings import TuningSettings


class TuningReport(FrozenModel):
    """The result of a tuning run."""

    settings: TuningSettings
    adapter: Path
    """Folder of the adapter."""
    merged: Path | None = None
    """Folder of the full weights, if they were requested."""
    train: dict[str, int]
    """Number of training instances, by task."""
    validation: dict[str, int]
    """Number of instances for the validation loss, by task."""
    left_out: tuple[BadRecord, ...] = ()
    """Records that were not used, with the reason."""
    data: str
    """SHA-256 (hex) of the training tokens."""
    trainable: int
    """Number of parameters of the adapter."""
    parameters: int
    """Number of parameters of the base."""
    steps: int
    resumed_from: int = 0
    """Number of steps made by an earlier run."""
    first_loss: float
    """Training loss of the first step."""
    last_loss: float
    """Training loss of the last step."""
    validation_loss: tuple[float, float] | None = None
    """Loss before and after tuning. ``None`` without validation instances."""
    before: dict[str, TaskScore] = Field(default_factory=dict)
    """Scores before tuning on a sample of the validation instances, by task."""
    after: dict[str, TaskScore] = Field(default_factory=dict)
    """Scores after tuning on the same instances, by task."""
    seconds: float
    """Duration of this run from the first step to the last, with evaluations and without loading."""
    device: str
    processes: int
    main_process: bool = True
    """Whether this process is the main process, which writes."""
    dtype: str
    peak_memory: int | None = None
    """Peak GPU memory in bytes. ``None`` on a CPU."""
