"""``caslie eval run``: evaluates the models of a profile on instruction data, and writes a report."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from caslie_tools.cli.console import err, out, plain, show_table, show_warnings
from caslie_tools.cli.opening import open_caslie
from caslie_tools.cli.options import (
    AsJson,
    Dataset,
    ProfileName,
    ShowProgress,
    Splits,
    Store,
    Tasks,
    TrustPaths,
    split_lists,
)
from caslie_tools.cli.progress import ProgressDisplay, show_progress
from caslie_tools.cli.render import show_skipped_records
from caslie_tools.cli.runner import FAILED, OK, Document

if TYPE_CHECKING:
    from caslie_tools.evaluation.evaluate import RunReport
    from caslie_tools.evaluation.report import Report

_RUNS = Path(".caslie/eval")
_REPORT_MODULES = ("jinja2", "matplotlib", "scipy", "sklearn")


def evaluate(
    context: typer.Context,
    data: Dataset,
    profile: ProfileName = None,
    tasks: Tasks = None,
    split: Splits = None,
    treatments: Annotated[
        list[str] | None,
        typer.Option(
            "--treatments",
            callback=split_lists,
            help="Which captions are used: none, every, gated (those that the jury keeps), text_first (none if the "
            "answer from text is sure enough, otherwise gated), plain (without a context), general (as for the "
            "catalogue), given (those in the data), given_gated, given_voted (by the votes in the data), judges (each "
            "judge alone), captioners (each captioner alone), pixels (the vision predictor). A list such as "
            "none,gated. Repeatable. Default: none,every,gated,plain,given.",
        ),
    ] = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Folder of the run. Default: .caslie/eval/DATA-PROFILE.")
    ] = None,
    store: Store = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of images from `caslie data fetch-images`.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Maximum number of instances.")] = None,
    leave_one_out: Annotated[
        bool,
        typer.Option(
            "--leave-one-out/--no-leave-one-out",
            help="Also answer instances with several captions without each of them, to know the effect of each.",
        ),
    ] = True,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at an invalid record instead of skipping it.")] = False,
    trust_paths: TrustPaths = False,
    progress: ShowProgress = ProgressDisplay.AUTO,
    as_json: AsJson = False,
) -> tuple[Document | None, int]:
    """Evaluate the models of a profile on instruction data, with and without captions, and write a report.

    Run the command again to resume an interrupted run. A folder that holds a run with other settings is refused. The
    exit code is 1 if instances are missing because a model could not be reached.
    """
    from caslie_tools._concurrency import run_sync
    from caslie_tools.evaluation.evaluate import evaluate as evaluate_data
    from caslie_tools.evaluation.outcomes import DEFAULT_TREATMENTS
    from caslie_tools.exceptions import MissingExtraError

    if not all(map(find_spec, _REPORT_MODULES)):  # checked first, because the report is written after hours
        raise MissingExtraError("evaluation", "Evaluating")
    with open_caslie(store, profile) as caslie, show_progress(progress) as advance:
        run = run_sync(
            evaluate_data(
                data,
                caslie,
                out_folder or _RUNS / f"{Path(data).stem}-{caslie.profile.name}",
                treatments=treatments or DEFAULT_TREATMENTS,
                tasks=tasks or (),
                splits=split or (),
                limit=limit,
                images=images,
                strict=strict,
                trust_paths=trust_paths,
                leave_one_out=leave_one_out,
                command=context.obj or "",
                progress=advance,
            )
        )
    from caslie_tools.evaluation.report import write_report  # imported late, because its libraries are slow to import

    report = write_report(run.folder)
    code = FAILED if run.unavailable else OK
    if as_json:
        return {"run": run.model_dump(mode="json"), "report": report.model_dump(mode="json")}, code
    show_skipped_records(run.bad)
    show_warnings(run.notes)
    _show(run, report)
    return None, code


def _show(run: "RunReport", report: "Report") -> None:
    show_table(map(plain, report.columns), (map(plain, row) for row in report.rows))
    conclusions = [sentence for conclusion in report.conclusions for sentence in conclusion.sentences]
    for sentence in (*conclusions, *(jury.sentence for jury in report.jury)):
        out.print(plain(sentence), soft_wrap=True)
    out.print(f"report: {plain(report.html)} and {plain(report.markdown)}", soft_wrap=True)
    if run.unavailable:
        err.print(
            f"[red]incomplete:[/red] a model could not be reached for {len(run.unavailable)} instances; "
            "run the same command again",
            soft_wrap=True,
        )
