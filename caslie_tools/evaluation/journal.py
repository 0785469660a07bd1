"""A run's folder: what it is run on (``run.json``), and one outcome after the other (``outcomes.jsonl``)."""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import Field, ValidationError

from caslie_tools.data.atomic_write import atomic_write
from caslie_tools.domain import FrozenModel
from caslie_tools.evaluation.outcomes import Outcome, Treatment
from caslie_tools.evaluation.reading import OUTCOMES_FILE, RUN_FILE
from caslie_tools.exceptions import DataError, InputError


class Run(FrozenModel):
    """All that a run's outcomes depend on, as far as it can be told: a run goes on only with the same."""

    data: str
    """The file's or folder's name, or the id on the hub."""
    data_sha256: str
    """SHA-256 (hex) over all that the selected good records say; not over the file's bytes."""
    instances: int
    """Good records."""
    bad: tuple[str, ...]
    """The bad ones, by index and reason."""
    tasks: tuple[str, ...]
    """That were asked for; empty for all, as with the splits."""
    splits: tuple[str, ...]
    limit: int | None
    treatments: tuple[Treatment, ...]
    profile: str
    captioners: tuple[str, ...]
    judges: tuple[str, ...]
    predictor: str
    models: dict[str, str] = Field(default_factory=dict)
    """SHA-256 (hex) of the settings of each role that has some: of what its model answers by, not of where it is."""
    settings: dict[str, Any]
    """Those that matter to outcomes."""
    store: dict[str, int]
    """Products and images of the catalogue: a captioner may say which of them a picture resembles."""
    images: str | None
    """Folder of images that were fetched before, if any."""
    versions: dict[str, str]


class Journal:
    """Appends outcomes to a run's folder; what was appended is on the disk.

    Args:
        folder: The run's folder; it is made if there is none.
        run: What the run is on.

    Attributes:
        done: Keys of the records that have their outcome.

    Raises:
        InputError: If the folder holds a run on something else.
        DataError: If it holds a run that cannot be read, or cannot be written to.
    """

    def __init__(self, folder: Path, run: Run) -> None:
        self._path = folder / OUTCOMES_FILE
        self._lock = threading.Lock()
        described = folder / RUN_FILE
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if described.exists():
                _require_same(folder, _read(described), run)
            elif self._path.exists():
                raise DataError(f"{folder} holds outcomes, but no {RUN_FILE} that says of what; choose another folder")
            else:
                with atomic_write(described) as file:
                    _put(file, _as_json(run, indent=2))
            self.done = self._recover()

    def append(self, outcome: Outcome) -> None:
        """Writes one outcome, as one line; from any thread.

        Raises:
            DataError: If it cannot be written.
        """
        with self._lock, _writing(self._path):
            end = self._path.stat().st_size if self._path.exists() else 0
            try:
                with self._path.open("ab") as file:
                    _put(file, _as_json(outcome))
            except OSError:
                with suppress(OSError):  # what stays is dropped when the run goes on
                    os.truncate(self._path, end)  # after closing, which may write the rest
                raise
            self.done.add(outcome.key)

    def _recover(self) -> set[str]:
        """Drops lines that are no outcomes, such as a torn one, and returns the keys there are."""
        if not self._path.exists():
            return set()
        keys, bad = set(), set()
        with self._path.open("rb") as file:
            for number, line in enumerate(file):  # line by line: there may be many, and they are long
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
    """Returns the key of a line's outcome; ``None`` if it is none, or lacks its end."""
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


def _require_same(folder: Path, before: Run, now: Run) -> None:
    other = list(_differences(json.loads(_as_json(before)), json.loads(_as_json(now))))
    if other:
        raise InputError(
            f"{folder} holds a run on something else ({'; '.join(other)}): go on with what it was, "
            "or choose another folder (--out)"
        )


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in {**before, **now}:
            yield from _differences(before.get(key), now.get(key), f"{name}.{key}" if name else key)
    elif before != now:
        yield f"{name} {_short(before)}, now {_short(now)}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _read(path: Path) -> Run:
    try:
        return Run.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(f"{path} cannot be read as a run's description; choose another folder (--out)") from error


def _as_json(value: FrozenModel, indent: int | None = None) -> bytes:
    text = json.dumps(value.model_dump(mode="json"), ensure_ascii=False, indent=indent)
    # A text from elsewhere may hold half a character.
    return text.encode("utf-8", "replace") + b"\n"


def _put(file: BinaryIO, content: bytes) -> None:
    """Writes what is on the disk when this returns."""
    file.write(content)
    file.flush()
    os.fsync(file.fileno())
