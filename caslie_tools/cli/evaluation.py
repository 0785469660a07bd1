"""``caslie eval``: is a caption behind the jury worth it, for this data and these models?"""

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from caslie_tools.cli.console import FAILED, OK, ProgressDisplay, err, out, plain, show_warnings, shown_progress
from caslie_tools.cli.options import AsJson, ProfileName, ShowProgress, Store

if TYPE_CHECKING:
    from caslie_tools.data.records import BadRecord
    from caslie_tools.evaluation.report import Report
    from caslie_tools.evaluation.running import RunReport

_RUNS = Path(".caslie/eval")
_DEFAULT = "run"
_BAD_SHOWN = 20


class _WithDefault(TyperGroup):
    """A group whose command ``run`` need not be named: ``caslie eval DATA`` is ``caslie eval run DATA``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if args and args[0] in self.commands else [_DEFAULT, *args])


evaluation = typer.Typer(
    name="eval",
    cls=_WithDefault,
    help="Evaluate models on instruction data, with and without captions; compare two such runs.",
)


@evaluation.command(
    _DEFAULT, epilog="The word run may be left out: caslie eval DATA. To compare two runs: caslie eval compare A B."
)
def evaluate(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="A .json or .jsonl file, a folder with one, or a dataset's id on the hub."),
    ],
    profile: ProfileName = None,
    tasks: Annotated[
        list[str] | None, typer.Option("--tasks", help="Only these tasks, such as cc,psi; repeatable (default: all).")
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option("--split", help="Only these splits, such as test; repeatable (default: all).")
    ] = None,
    treatments: Annotated[
        list[str] | None,
        typer.Option(
            "--treatments",
            help="Captions that are fused: none; every; gated, those the jury keeps; plain, made for no question; "
            "given, the data's own. Repeatable (default: all).",
        ),
    ] = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="The run's folder (default: .caslie/eval/DATA-PROFILE).")
    ] = None,
    store: Store = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of images that caslie data fetch-images made.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first so many instances.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at a bad record instead of leaving it out.")] = False,
    trust_paths: Annotated[
        bool, typer.Option("--trust-paths", help="Let the data name images outside of its folder: for your own data.")
    ] = False,
    progress: ShowProgress = ProgressDisplay.AUTO,
    as_json: AsJson = False,
) -> tuple[dict[str, Any] | None, int]:
    """Evaluate on instruction data under several treatments, and write a report.

    Stopped, the same command goes on where it was; a folder that holds a run on anything else is refused. The exit code
    is 1 where instances were left out because a model could not be reached.
    """
    from caslie_tools._concurrency import run_sync
    from caslie_tools.caslie import Caslie
    from caslie_tools.evaluation.outcomes import TREATMENTS
    from caslie_tools.evaluation.running import evaluate as evaluate_data
    from caslie_tools.exceptions import MissingExtraError
    from caslie_tools.settings import Settings

    if not all(map(find_spec, ("jinja2", "matplotlib", "scipy", "sklearn"))):  # told now, not after hours
        raise MissingExtraError("evaluation", "Evaluating")
    with Caslie.open(settings=Settings.load(store=store, profile=profile)) as caslie, shown_progress(progress) as tell:
        ran = run_sync(
            evaluate_data(
                data,
                caslie,
                out_folder or _RUNS / f"{Path(data).stem}-{caslie.profile.name}",
                treatments=_each(treatments) or TREATMENTS,  # type: ignore[arg-type]  # checked there
                tasks=_each(tasks),
                splits=_each(split),
                limit=limit,
                images=images,
                strict=strict,
                trust_paths=trust_paths,
                progress=tell,
            )
        )
    from caslie_tools.evaluation.report import write_report  # and with it what takes its time to be imported

    report = write_report(ran.folder)
    code = FAILED if ran.unavailable else OK
    if as_json:
        return {"run": ran.model_dump(mode="json"), "report": report.model_dump(mode="json")}, code
    _show_bad(ran.bad)
    show_warnings(ran.notes)
    _show(ran, report)
    return None, code


@evaluation.command()
def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help="A run's folder.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="Another run's, on the same data.")],
    as_json: AsJson = False,
) -> dict[str, Any] | None:
    """Compare two runs on the instances they share."""
    from caslie_tools.evaluation.compare import compare_runs

    compared = compare_runs(before, after)
    if as_json:
        return compared.model_dump(mode="json")
    _show_table(compared.columns, compared.rows)
    return None


def _each(values: Iterable[str] | None) -> list[str]:
    return [name.strip() for value in values or () for name in value.split(",") if name.strip()]


def _show_bad(bad: "Iterable[BadRecord]") -> None:
    lines = [f"record {record.index} is left out: {record.reason}" for record in bad]
    more = [f"{len(lines) - _BAD_SHOWN} more records are left out; see caslie data check"]
    show_warnings(lines[:_BAD_SHOWN] + (more if len(lines) > _BAD_SHOWN else []))


def _show(ran: "RunReport", report: "Report") -> None:
    _show_table(report.columns, report.rows)
    for sentence in (report.verdict, report.gate_verdict):
        if sentence:
            out.print(plain(sentence), soft_wrap=True)
    out.print(f"the report: {plain(report.html)} and {plain(report.markdown)}", soft_wrap=True)
    if ran.unavailable:
        err.print(
            f"[red]not all is done:[/red] a model could not be reached for {len(ran.unavailable)} instances; "
            "run the same command again",
            soft_wrap=True,
        )


def _show_table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    from rich.table import Table

    table = Table(*(plain(column) for column in columns))
    for row in rows:
        table.add_row(*(plain(cell) for cell in row))
    out.print(table)
