"""Writes a run's folder: its description (``run.json``), and its outcomes, one per line (``outcomes.jsonl``)."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from caslie_tools.data.atomic_write import atomic_write
from caslie_tools.domain import FrozenModel
from caslie_tools.evaluation.outcomes import Outcome
from caslie_tools.evaluation.reading import OUTCOMES_FILE, RUN_FILE
from caslie_tools.evaluation.run_description import RunDescription, differences
from caslie_tools.exceptions import DataError, InputError


class OutcomeLog:
    """Appends outcomes to a run's folder. Each outcome is synced to disk before :meth:`append` returns.

    Args:
        folder: The run's folder. Created if it does not exist.
        run: The description of the run.

    Attributes:
        done: Keys of the records that already have an outcome.

    Raises:
        InputError: If the folder holds a run with another description.
        DataError: If the folder holds a run that cannot be read, or cannot be written to.
    """

    def __init__(self, folder: Path, run: RunDescription) -> None:
        self._path = folder / OUTCOMES_FILE
        self._lock = threading.Lock()
        description = folder / RUN_FILE
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if description.exists():
                _require_equal(folder, _read(description), run)
            elif self._path.exists():
                raise DataError(f"{folder} has outcomes, but no {RUN_FILE} that describes them; choose another folder")
            else:
                with atomic_write(description) as file:
                    _write_synced(file, _as_json(run, indent=2))
            self.done = self._recover()

    def append(self, outcome: Outcome) -> None:
        """Writes one outcome as one line. Can be called from any thread.

        Raises:
            DataError: If the outcome cannot be written.
        """
        with self._lock, _writing(self._path):
            end = self._path.stat().st_size if self._path.exists() else 0
            try:
                with self._path.open("ab") as file:
                    _write_synced(file, _as_json(outcome))
            except OSError:
                with suppress(OSError):  # if this fails too, the incomplete line is removed on resume
                    os.truncate(self._path, end)  # after closing the file, because closing may write buffered bytes
                raise
            self.done.add(outcome.key)

    def _recover(self) -> set[str]:
        """Removes lines that are not outcomes, such as an incomplete line. Returns the keys of the others."""
        if not self._path.exists():
            return set()
        keys, bad = set(), set()
        with self._path.open("rb") as file:
            for number, line in enumerate(file):  # one line at a time, because the file may be large
                key = _key(line)
                if key is None:
                    bad.add(number)
                else:
                    keys.add(key)
        if bad:
            with self._path.open("rb") as file, atomic_write(self._path) as good:
                good.writelines(line for number, line in enumerate(file) if number not in bad)
                good.flush()
                os.fsync(good.fileno())
        return keys


def _key(line: bytes) -> str | None:
    """Returns the key of the outcome in a line. ``None`` if the line is not an outcome, or has no line end."""
    if not line.endswith(b"\n"):
        return None
    try:
        return Outcome.model_validate_json(line).key
    except ValidationError:
        return None


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error


def _require_equal(folder: Path, before: RunDescription, now: RunDescription) -> None:
    found = list(differences(before.conditions, now.conditions))
    if found:
        raise InputError(
            f"{folder} holds a run with other data, models or settings ({'; '.join(found)}): restore them to resume "
            "that run, or choose another folder (--out)"
        )


def _read(path: Path) -> RunDescription:
    try:
        return RunDescription.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(f"{path} cannot be read as the description of a run; choose another folder (--out)") from error


def _as_json(value: FrozenModel, indent: int | None = None) -> bytes:
    text = json.dumps(value.model_dump(mode="json"), ensure_ascii=False, indent=indent)
    # Models and shops may produce lone surrogates, which UTF-8 cannot encode.
    return text.encode("utf-8", "replace") + b"\n"


def _write_synced(file: BinaryIO, content: bytes) -> None:
    """Writes bytes and syncs them to disk."""
    file.write(content)
    file.flush()
    os.fsync(file.fileno())
