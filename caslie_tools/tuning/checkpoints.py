"""The folder of a tuning run: the recipe it was started with, and its newest complete checkpoint.

A run is resumed only with the same settings and data. Otherwise, a model tuned by two recipes could pass for a model of
either. From a checkpoint, transformers reads safetensors, JSON and, for the optimizer and the random numbers, files
that it loads with ``weights_only=True``. This runs no code from a pickle. It never reads the pickled
``training_args.bin`` (transformers 5.23, trainer.py).
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from caslie_tools.exceptions import InputError, SettingsError
from caslie_tools.tuning.settings import TuningSettings

CHECKPOINTS_FOLDER: Final = "checkpoints"
RECIPE_FILE: Final = "tuning.json"
_STATE: Final = "trainer_state.json"
_MAY_CHANGE: Final = {"data", "out", "merge", "score_instances", "save_steps"}
"""Settings that may change when a run is resumed, because they do not change the model. The data is compared by its
hash."""


def prepare_run(settings: TuningSettings, *, data: str, processes: int, resume: bool) -> Path | None:
    """Prepares the folder of a new run, or finds the checkpoint to resume from.

    Args:
        settings: The run's settings.
        data: Hash of the training data.
        processes: Number of processes that tune together.
        resume: Whether to resume a run in the folder, if there is one.

    Returns:
        The checkpoint to resume from, or ``None`` to start from the beginning.

    Raises:
        InputError: If the folder is not empty and ``resume`` is false.
        SettingsError: If the run in the folder has other settings, other data or another number of processes.
    """
    folder, path = settings.out, settings.out / RECIPE_FILE
    recipe = settings.model_dump(mode="json", exclude=_MAY_CHANGE) | {"data": data, "processes": processes}
    if folder.is_dir() and any(folder.iterdir()):
        if not resume:
            raise InputError(f"{folder}: the folder is not empty; resume the run in it, or choose another folder")
        before = _read(path)
        if before is not None:
            _require_equal(folder, before, recipe)
            return newest_checkpoint(folder / CHECKPOINTS_FOLDER)
        if newest_checkpoint(folder / CHECKPOINTS_FOLDER) is not None:
            raise InputError(f"{path}: the recipe of the run cannot be read; choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(recipe, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written to: {error.strerror}") from error
    return None


def newest_checkpoint(folder: Path) -> Path | None:
    """Returns the newest complete checkpoint. Incomplete checkpoints are ignored."""
    numbered = {
        int(found[1]): path for path in folder.glob("checkpoint-*") if (found := re.fullmatch(r"\w+-(\d+)", path.name))
    }
    # The state is written last. If it is complete, the checkpoint is complete.
    complete = [step for step, path in numbered.items() if _read(path / _STATE) is not None]
    return numbered[max(complete)] if complete else None


def _require_equal(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        name = changed[0]
        values = "" if name == "data" else f" ({before.get(name)}, now {now[name]})"
        raise SettingsError(
            f"{folder}: the run in this folder was started with another {name}{values}; restore it to resume the run, "
            "or choose another folder"
        )


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
