"""``caslie tune gate``: learns from the outcomes of an evaluation which captions to keep."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from caslie_tools.cli.console import err, out, plain, show_notes, show_table
from caslie_tools.cli.options import AsJson
from caslie_tools.cli.runner import FAILED, OK, Document

if TYPE_CHECKING:
    from caslie_tools.tuning.gate import GateTuning
    from caslie_tools.tuning.gate_kinds import TaskTuning

GATE_FILE = "gate.json"


def gate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run of `caslie eval` on a validation split.")],
    out_file: Annotated[
        Path | None, typer.Option("--out", help="File to write. Default: gate.json in the folder of the run.")
    ] = None,
    as_json: AsJson = False,
) -> tuple[Document | None, int]:
    """Learn which captions to keep, per task, from the effect of captions on the answers.

    The gate weighs the judges' votes, uses a learned model of what a caption does, keeps all captions, or keeps none.
    It is written only if it is better than the gate of the run; otherwise the exit code is 1. To use it, set
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
        err.print("no gate is better than the untuned gate, so none was written")
        if file.exists():
            err.print(f"{plain(file)} is older; this command did not write it", soft_wrap=True)
    return None, code


def _show(tuning: "GateTuning") -> None:
    used = {task.task: task.kind for task in tuning.tasks if task.better}
    show_table(
        ("task", "gate", "instances", "products", "helpful", "misleading", "untuned", "tuned", "gain", "used"),
        (
            (
                plain(found.task),
                found.kind,
                *(str(count) for count in (found.count, found.clusters, found.helpful, found.misleading)),
                *("" if share is None else f"{share:.3f}" for share in (found.untuned, found.tuned)),
                _gain(found),
                "[green]yes[/green]" if used.get(found.task) == found.kind else "no",
            )
            for found in tuning.candidates
        ),
    )
    for task in tuning.tasks:
        if not task.better:
            show_notes([f"{task.task}: {task.reason}"])
        elif task.asked is not None:
            dropped = ", ".join(name for name in tuning.judges if name not in task.asked)
            show_notes([f"{task.task}: the judges {dropped} add nothing and are not asked"] if dropped else [])
    show_notes(tuning.notes)


def _gain(task: "TaskTuning") -> str:
    if task.gain is None or task.interval is None:
        return ""
    return f"{task.gain:+.3f} ({task.interval.low:+.3f} to {task.interval.high:+.3f})"
