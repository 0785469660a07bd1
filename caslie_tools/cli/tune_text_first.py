"""``caslie tune text-first``: calibrates, from the outcomes of an evaluation, when the answer from text is enough."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from caslie_tools.cli.console import err, out, plain, show_notes, show_table
from caslie_tools.cli.options import AsJson
from caslie_tools.cli.runner import FAILED, OK, Document

if TYPE_CHECKING:
    from caslie_tools.tuning.text_first import TaskCalibration, TextFirstCalibration

TEXT_FIRST_FILE = "text-first.json"


def text_first(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run of `caslie eval` on a validation split.")],
    max_loss: Annotated[
        float, typer.Option(help="Largest share of answers that may be lost because no picture is looked at.")
    ] = 0.02,
    confidence: Annotated[float, typer.Option(help="Probability with which no larger share is lost.")] = 0.95,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="File to write. Default: text-first.json in the folder of the run.")
    ] = None,
    as_json: AsJson = False,
) -> tuple[Document | None, int]:
    """Calibrate, per task, how sure the answer from text alone must be to look at no picture.

    The file is written only if some task can be answered from text alone within the guarantee; otherwise the exit code
    is 1. To use it, set `CASLIE_TEXT_FIRST`, or `text_first` in the file of a profile.
    """
    from caslie_tools.tuning.text_first import tune_text_first

    calibration = tune_text_first(run, max_loss=max_loss, confidence=confidence)
    found, file = calibration.text_first, out_file or run / TEXT_FIRST_FILE
    if found is not None:
        found.save(file)
    code = FAILED if found is None else OK
    if as_json:
        return calibration.model_dump(mode="json") | {"written": None if found is None else str(file)}, code
    _show(calibration)
    if found is not None:
        out.print(f"wrote {plain(file)}; use it with: CASLIE_TEXT_FIRST={plain(file)}", soft_wrap=True)
    else:
        err.print("no task can be answered from text alone within the guarantee, so no file was written")
        if file.exists():
            err.print(f"{plain(file)} is older; this command did not write it", soft_wrap=True)
    return None, code


def _show(calibration: "TextFirstCalibration") -> None:
    guarantee = calibration.guarantee
    show_table(
        ("task", "instances", "products", "threshold", "from text", "captions saved", "votes saved", "lost", "gained"),
        (
            (
                plain(task.task),
                str(task.count),
                str(task.clusters),
                "none" if task.threshold is None else f"{task.threshold:.4f}",
                _of(task.answered, task.count),
                _of(task.captions_saved, task.captions),
                _of(task.votes_saved, task.votes),
                _lost(task),
                str(task.gained),
            )
            for task in calibration.tasks
        ),
    )
    out.print(
        f"guarantee for each task: with confidence {guarantee.confidence:g}, at most {guarantee.max_loss:.1%} of the "
        "answers are lost",
        soft_wrap=True,
    )
    show_notes(f"{task.task}: {task.reason}" for task in calibration.tasks if task.threshold is None)
    show_notes(calibration.notes)


def _of(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else ""


def _lost(task: "TaskCalibration") -> str:
    if task.bound is None:
        return ""
    return f"{task.lost} ({task.loss:.1%}, at most {task.bound:.1%})"
