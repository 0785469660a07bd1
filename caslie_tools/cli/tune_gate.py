"""``caslie tune gate``: judges' weights and thresholds from a run's outcomes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caslie_tools.cli.console import FAILED, OK, err, out, plain

if TYPE_CHECKING:
    from caslie_tools.tuning.gate import GateTuning, TaskTuning

GATE_FILE = "gate.json"


def gate(
    run: Annotated[Path, typer.Argument(help="Folder of a run of caslie eval, on a validation split.")],
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Where to write the gate (default: gate.json in the run's folder).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> tuple[dict[str, Any] | None, int]:
    """Learn, per task, how much each judge's vote counts, from what captions did to the answers.

    Only a gate that is better than the plain majority is written, else the exit code is 1. CASLIE_GATE, or gate = "..."
    in a profile's file, puts it to use.
    """
    from caslie_tools.tuning.gate import tune_gate

    tuning = tune_gate(run)
    file = out_file or run / GATE_FILE
    written = None
    if tuning.gate is not None:
        written = file
        tuning.gate.save(written)
    code = FAILED if written is None else OK
    if as_json:
        return tuning.model_dump(mode="json") | {"written": None if written is None else str(written)}, code
    _show(tuning)
    if written is None:
        err.print("no gate is better than the plain majority: nothing is written")
        if file.exists():
            err.print(f"{plain(file)} is older: it was not written by this run", soft_wrap=True)
    else:
        out.print(f"wrote {plain(written)}; use it with: CASLIE_GATE={plain(written)}", soft_wrap=True)
    return None, code


def _show(tuning: "GateTuning") -> None:
    from rich.table import Table

    table = Table("task", "instances", "helpful", "misleading", "majority", "tuned", "gain", "used")
    for task in tuning.tasks:
        table.add_row(
            plain(task.task),
            *(str(count) for count in (task.count, task.helpful, task.misleading)),
            *("" if share is None else f"{share:.3f}" for share in (task.majority, task.tuned)),
            _gain(task),
            "[green]tuned[/green]" if task.better else "majority",
        )
    out.print(table)
    for note in (*(f"{task.task}: {task.reason}" for task in tuning.tasks if not task.better), *tuning.notes):
        err.print(f"[dim]note: {plain(note)}[/dim]", soft_wrap=True)


def _gain(task: "TaskTuning") -> str:
    if task.gain is None or task.interval is None:
        return ""
    return f"{task.gain:+.3f} ({task.interval.low:+.3f} to {task.interval.high:+.3f})"
