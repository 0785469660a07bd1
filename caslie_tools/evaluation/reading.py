"""Reads what a run wrote down: its outcomes, and what it was run on."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from caslie_tools.evaluation.outcomes import Outcome, Treatment
from caslie_tools.exceptions import DataError
from caslie_tools.tasks import TASKS, Task, get_task

OUTCOMES_FILE: Final = "outcomes.jsonl"
RUN_FILE: Final = "run.json"


@dataclass(frozen=True)
class Group:
    """The instances of one task and split."""

    task: Task
    split: str
    outcomes: tuple[Outcome, ...]
    """In the order of the data."""
    label: str
    """What to call it: the task, and the split where there are several."""

    def treated(self, *treatments: Treatment) -> tuple[Outcome, ...]:
        """Returns the instances that have an outcome under every one of these treatments."""
        return tuple(outcome for outcome in self.outcomes if all(name in outcome.treatments for name in treatments))


def read_outcomes(run: Path) -> list[Outcome]:
    """Reads a run's outcomes, in the order of the data.

    A last line that was torn when the run was stopped is left out; of two lines with one key the first one counts.

    Args:
        run: The run's folder.

    Raises:
        DataError: If there are none, or a line before the last one is no outcome.
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
            if number == len(lines):  # no newline ends it
                break
            raise DataError(f"{path}: line {number} is no outcome: {_reason(error)}") from error
        outcomes.setdefault(outcome.key, outcome)
    if not outcomes:
        raise DataError(f"{path}: there is no outcome in it; let the run finish an instance first")
    return sorted(outcomes.values(), key=lambda outcome: (outcome.index, outcome.key))


def read_run(run: Path) -> Mapping[str, Any]:
    """Reads what a run was run on; empty if nobody wrote that down.

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


def grouped(outcomes: Iterable[Outcome]) -> list[Group]:
    """Returns the outcomes by task and split, tasks in the package's own order.

    Raises:
        UnknownTaskError: If a task is unknown.
    """
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((get_task(outcome.task).name, outcome.split), []).append(outcome)
    order, several = list(TASKS), len({split for _, split in groups}) > 1
    return [
        Group(
            task=get_task(task),
            split=split,
            outcomes=tuple(groups[task, split]),
            label=f"{task}, {split}" if several else task,
        )
        for task, split in sorted(groups, key=lambda group: (order.index(group[0]), group[1]))
    ]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; give the folder of a run of caslie eval") from error


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'the line'}: {first['msg']}"
