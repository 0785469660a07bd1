"""The folder of a tuning run: what it was started with, and the newest checkpoint that is whole.

A run that was killed goes on with the same settings on the same data, or not at all: half a model of one recipe and
half of another would pass for either. What transformers reads of a checkpoint is safetensors, JSON and, for the
optimizer and the random numbers, files that it loads with ``weights_only=True``, which runs none of the code a pickle
could hold; the pickled ``training_args.bin`` beside them is never read (transformers 5.23, its trainer.py).
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from caslie_tools.exceptions import InputError, SettingsError
from caslie_tools.tuning.configuration import TuningSettings

CHECKPOINTS: Final = "checkpoints"
STARTED_WITH: Final = "tuning.json"
_STATE: Final = "trainer_state.json"
_FREE: Final = {"data", "out", "merge", "score_instances", "save_steps"}
"""Settings that may differ when a run goes on: they do not change what is tuned. The data is known by its hash."""


def begin(settings: TuningSettings, *, data: str, processes: int, resume: bool) -> Path | None:
    """Begins a run in its folder, or goes on with the one that was begun there.

    Args:
        settings: The run's.
        data: Hash of all it is tuned on.
        processes: Processes that tune together.
        resume: Whether to go on where there is something to go on with.

    Returns:
        The checkpoint to go on from; ``None`` to begin at the beginning.

    Raises:
        InputError: If the folder is not empty and ``resume`` was not asked for.
        SettingsError: If the run there was begun with other settings, data, or number of processes.
    """
    folder, written = settings.out, settings.out / STARTED_WITH
    recipe = settings.model_dump(mode="json", exclude=_FREE) | {"data": data, "processes": processes}
    if folder.is_dir() and any(folder.iterdir()):
        if not resume:
            raise InputError(f"{folder}: there is something already; resume that run, or name another folder")
        before = _read(written)
        if before is not None:
            _require_same(folder, before, recipe)
            return newest_checkpoint(folder / CHECKPOINTS)
        if newest_checkpoint(folder / CHECKPOINTS) is not None:
            raise InputError(f"{written}: cannot be read, so what the run was begun with is lost; name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written.write_text(json.dumps(recipe, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written to: {error.strerror}") from error
    return None


def newest_checkpoint(folder: Path) -> Path | None:
    """Returns the newest checkpoint that was written to its end; one that was cut off is passed over."""
    numbered = {
        int(found[1]): path for path in folder.glob("checkpoint-*") if (found := re.fullmatch(r"\w+-(\d+)", path.name))
    }
    # The state is written last, so where it is whole everything is.
    whole = [step for step, path in numbered.items() if _read(path / _STATE) is not None]
    return numbered[max(whole)] if whole else None


def _require_same(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    other = [name for name in now if before.get(name) != now[name]]
    if other:
        name = other[0]
        shown = "" if name == "data" else f" ({before.get(name)} then, {now[name]} now)"
        raise SettingsError(
            f"{folder}: the run there was begun with another {name}{shown}; resume it as it was, or name another folder"
        )


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
