"""Reads the files of a run: its outcomes, and the description of what it was run on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from caslie_tools.evaluation.outcomes import Outcome
from caslie_tools.exceptions import DataError

OUTCOMES_FILE: Final = "outcomes.jsonl"
RUN_FILE: Final = "run.json"


def read_outcomes(run: Path) -> list[Outcome]:
    """Reads a run's outcomes, in the order of the data.

    An incomplete last line, left by an interrupted run, is skipped. If two lines have the same key, the first counts.

    Args:
        run: The run's folder.

    Raises:
        DataError: If there are no outcomes, or if a line before the last is not an outcome.
    """
    path = run / OUTCOMES_FILE
    lines = _read(path).split(b"\n")
    outcomes: dict[str, Outcome] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            outcome = Outcome.model_validate_json(line)
        except ValidationError as error:
            if number == len(lines):  # the last line is incomplete: it has no newline
                break
            raise DataError(f"{path}: line {number} is not an outcome: {_reason(error)}") from error
        outcomes.setdefault(outcome.key, outcome)
    if not outcomes:
        raise DataError(f"{path}: it has no outcomes; run caslie eval until at least one instance is finished")
    return sorted(outcomes.values(), key=lambda outcome: (outcome.index, outcome.key))


def read_run_description(run: Path) -> Mapping[str, Any]:
    """Reads the description of a run. Returns an empty mapping if the run has none.

    Raises:
        DataError: If it is not a JSON object.
    """
    path = run / RUN_FILE
    if not path.is_file():
        return {}
    try:
        facts = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON") from error
    if not isinstance(facts, dict):
        raise DataError(f"{path}: not a JSON object")
    return facts


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; pass the folder of a run of caslie eval") from error


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'the line'}: {first['msg']}"
