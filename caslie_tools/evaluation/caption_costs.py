"""Remembers what captions cost an instance, so that an interrupted run reports the same costs as an uninterrupted one.

The store keeps a caption as soon as it is made, but the outcome of its instance is written only at the end. A resumed
run finds the caption in the store. Without this memory, it would count as a caption that was there before the run.
"""

import json
import threading
from collections.abc import Container
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from caslie_tools.domain import FrozenModel
from caslie_tools.evaluation.outcomes import Cost
from caslie_tools.exceptions import DataError

COSTS_FILE: Final = "captions.jsonl"


class _Entry(FrozenModel):
    record: str
    caption: str
    cost: Cost


class CaptionCosts:
    """The costs of the captions that a run made for instances without an outcome, before it was interrupted.

    Args:
        folder: The run's folder, where they are kept. Without it, nothing is kept.
        done: Keys of the records that have an outcome.

    Raises:
        DataError: If the file in the folder cannot be read.
    """

    def __init__(self, folder: Path | None = None, done: Container[str] = ()) -> None:
        self._path = None if folder is None else folder / COSTS_FILE
        self._lock = threading.Lock()
        self._costs: dict[tuple[str, str], Cost] = {}
        if self._path is not None and self._path.exists():
            self._read(self._path, done)

    def get(self, record: str, caption: str) -> Cost | None:
        """Returns what a caption cost an instance before the interruption. ``None`` if it was not made for it then.

        Args:
            record: The record's key.
            caption: The caption's key.
        """
        return self._costs.get((record, caption))

    def add(self, record: str, caption: str, cost: Cost) -> None:
        """Remembers what a new caption cost an instance. Can be called from any thread.

        Raises:
            DataError: If the file cannot be written.
        """
        if self._path is None:
            return
        entry = _Entry(record=record, caption=caption, cost=cost)
        try:
            with self._lock, self._path.open("a", encoding="ascii") as file:
                file.write(json.dumps(entry.model_dump(mode="json")) + "\n")
        except OSError as error:
            raise DataError(f"{self._path}: cannot be written: {error.strerror}") from error

    def _read(self, path: Path, done: Container[str]) -> None:
        try:
            with path.open("rb") as file:
                for line in file:
                    try:
                        entry = _Entry.model_validate_json(line)
                    except ValidationError:  # an incomplete line
                        continue
                    if entry.record not in done:
                        self._costs[entry.record, entry.caption] = entry.cost
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
