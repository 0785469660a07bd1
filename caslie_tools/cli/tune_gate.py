"""``caslie tune gate``: learns how much each vote of the jury counts, from the outcomes of an evaluation."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from caslie_tools.cli.console import err, out, plain, show_notes, show_table
from caslie_tools.cli.options import AsJson
from caslie_tools.cli.runner import FAILED, OK, Document

if TYPE_CHECKING:
    from caslie_tools.tuning.gate import GateTuning, TaskTuning

GATE_FILE = "gate.json"


def gate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run of `caslie eval` on a validation split.")],
    out_file: Annotated[
        Path | None, typer.Option("--out", help="File to write. Default: gate.json in the folder of the run.")
    ] = None,
    as_json: AsJson = False,
) -> tuple[Document | None, int]:
    """Learn how much the vote of each judge counts, per task, from the effect of captions on the answers.

    The gate is written only if it is better than the plain majority; otherwise the exit code is 1. To use it, set
    `CASLIE_GATE`, or `gate` in the file of a profile.
    """
    from caslie_tools.tuning.gate import tune_gate

    tuning = tune_gate(run)
    file = out_file or run / GATE_FILE
    if tuning.gate is not None:
        tuning.gate.save(file)
    code = FAILED if tuning.gate is None else OK
    if as_json:
        return tuning.model_dump(mode="json") | {"written": None if tuning.gate is None else str(file)}, code
    _show(tuning)
    if tuning.gate is not None:
        out.print(f"wrote {plain(file)}; use it with: CASLIE_GATE={plain(file)}", soft_wrap=True)
    else:
        err.print("no gate is better than the plain majority, so none was written")
        if file.exists():
            err.print(f"{plain(file)} is older; this command did not write it", soft_wrap=True)
    return None, code


def _show(tuning: "GateTuning") -> None:
    show_table(
        ("task", "instances", "products", "helpful", "misleading", "majority", "tuned", "gain", "used"),
        (
            (
                plain(task.task),
                *(str(count) for count in (task.count, task.clusters, task.helpful, task.misleading)),
                *("" if share is None else f"{share:.3f}" for share in (task.majority, task.tuned)),
                _gain(task),
                "[green]tuned[/green]" if task.better else "majority",
            )
            for task in tuning.tasks
        ),
    )
    show_notes(f"{task.task}: {task.reason}" for task in tuning.tasks if not task.better)
    show_notes(tuning.notes)


def _gain(task: "TaskTuning") -> str:
    if task.gain is None or task.interval is None:
        return ""
    return f"{task.gain:+.3f} ({task.interval.low:+.3f} to {task.interval.high:+.3f})"
