"""Reads the files of a run: its outcomes, and the description of what it was run on."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from caslie_tools.evaluation.outcomes import Outcome
from caslie_tools.exceptions import DataError

OUTCOMES_FILE: Final = "outcomes.jsonl"
RUN_FILE: Final = "run.json"


def iter_outcomes(run: Path) -> Iterator[Outcome]:
    """Reads a run's outcomes one by one, in the order in which they were finished.

    An incomplete last line, left by an interrupted run, is skipped. If two lines have the same key, the first counts.

    Args:
        run: The run's folder.

    Raises:
        DataError: If there are no outcomes, or if a line before the last is not an outcome.
    """
    path = run / OUTCOMES_FILE
    keys: set[str] = set()
    with _reading(path), path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                outcome = Outcome.model_validate_json(line)
            except ValidationError as error:
                if not line.endswith(b"\n"):  # the last line is incomplete
                    break
                raise DataError(f"{path}: line {number} is not an outcome: {_reason(error)}") from error
            if outcome.key not in keys:
                keys.add(outcome.key)
                yield outcome
    if not keys:
        raise DataError(f"{path}: it has no outcomes; run caslie eval until at least one instance is finished")


def read_outcomes(run: Path) -> list[Outcome]:
    """Reads all of a run's outcomes, in the order of the data. See :func:`iter_outcomes`."""
    return sorted(iter_outcomes(run), key=lambda outcome: (outcome.index, outcome.key))


def read_run_description(run: Path) -> Mapping[str, Any]:
    """Reads the description of a run. Returns an empty mapping if the run has none.

    Raises:
        DataError: If it is not a JSON object.
    """
    path = run / RUN_FILE
    if not path.is_file():
        return {}
    try:
        with _reading(path):
            facts = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON") from error
    if not isinstance(facts, dict):
        raise DataError(f"{path}: not a JSON object")
    return facts


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; pass the folder of a run of caslie eval") from error


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'the line'}: {first['msg']}"
