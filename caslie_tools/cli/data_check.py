"""``caslie data check``: reports the problems of a dataset."""

from typing import TYPE_CHECKING, Annotated

import typer

from caslie_tools.cli.console import first_lines, out, plain
from caslie_tools.cli.data_stats import show_task_statistics
from caslie_tools.cli.options import AsJson, Dataset, TrustPaths, split_lists
from caslie_tools.cli.runner import FAILED, OK, Document

if TYPE_CHECKING:
    from caslie_tools.data.checking import DataReport, Finding


def check(
    source: Dataset,
    split: Annotated[
        list[str] | None,
        typer.Option(
            "--split",
            callback=split_lists,
            help="Splits that must not be empty (validation,test). Repeatable. Default: test.",
        ),
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--tasks",
            callback=split_lists,
            help="Tasks that the data may contain, by name or abbreviation (cc,mpc). Repeatable. Default: every task.",
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first problem.")] = False,
    trust_paths: TrustPaths = False,
    as_json: AsJson = False,
) -> tuple[Document | None, int]:
    """Report the problems of a dataset: invalid records, duplicates, leaks between splits, missing images.

    Each problem names the index of its record, counted from 0. The exit code is 1 if there is a problem.
    """
    from caslie_tools.data.checking import check_data

    report = check_data(source, splits=split or ("test",), tasks=tasks or (), strict=strict, trust_paths=trust_paths)
    code = OK if report.passed else FAILED
    if as_json:
        return {"passed": report.passed} | report.model_dump(mode="json"), code
    _show(report)
    return None, code


def _show(report: "DataReport") -> None:
    show_task_statistics(report.tasks)
    out.print(f"{report.records} records, {report.usable} valid; {len(report.findings)} problems")
    for line in first_lines(map(_line, report.findings)):
        out.print(f"  {line}", soft_wrap=True)


def _line(finding: "Finding") -> str:
    record = "" if finding.index is None else f"record {finding.index}, "
    return f"{record}[yellow]{finding.kind}[/yellow]: {plain(finding.reason)}"
