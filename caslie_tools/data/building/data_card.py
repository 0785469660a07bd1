"""The data card: a dataset's README, written from the numbers of the build."""

from collections import Counter
from collections.abc import Iterator, Sequence

from caslie_tools._text import escape_markdown
from caslie_tools.data.building.leaks import LeakCheck
from caslie_tools.data.building.report import BuildReport
from caslie_tools.data.markdown import markdown_table

_SPLITS_BY = {
    "product": "no product, group of variants or picture appears in two splits. A history has only products of the "
    "split that its last purchase belongs to",
    "user": "no user appears in two splits. Instances without a user are split by product",
    "query": "no search query appears in two splits. Instances without a query are split by product",
    "time": "train is older than validation, and validation is older than test. Instances built from the catalogue "
    "alone are split by product",
}


def render_data_card(report: BuildReport, *, about: str = "") -> str:
    """Returns the card as Markdown.

    Args:
        report: The report of the build.
        about: A text about the origin of the data.
    """
    return "\n".join(_lines(report, about)) + "\n"


def _lines(report: BuildReport, about: str) -> Iterator[str]:
    options = report.options
    yield "# Instruction data"
    yield ""
    yield f"{report.instances} instances in MMECInstruct's form (`dataset.jsonl`)."
    yield f"{report.pictures} pictures (`images/`), named by their SHA-256."
    if about:
        yield from ("", about.strip())
    yield from _section("Instances", ["task", *_splits(report)], _counts(report))
    yield from _section(
        "Sources",
        ["source", "file", "rows used", "SHA-256"],
        [[source.role, source.name, source.rows, source.sha256] for source in report.sources],
    )
    yield from ("", "## Splits", "")
    yield f"Split by {options.split_by}: {_SPLITS_BY[options.split_by]}."
    shares = "{:g} train, {:g} validation, {:g} test".format(*options.proportions)
    yield f"Expected shares: {shares}. Instances are assigned by hash, with the seed {options.seed}."
    if options.hold_out_categories:
        held = "; ".join(map(escape_markdown, options.hold_out_categories))
        yield f"Categories held out for the split `ood`: {held}."
    yield from _table(
        ["in more than one split", "found", "guaranteed", "result"],
        [[leak.what, leak.in_common, "none" if leak.promised else "", _leak_result(leak)] for leak in report.leaks],
    )
    yield from _section("Right answers", ["task", "split", "answers"], _labels(report))
    yield ""
    yield "If an instance has its own options, their order is random: the letter of an option carries no information."
    for task, count in report.weak.items():
        yield f"{task}: {count} answers are weak labels, inferred from purchases."
    for task, count in report.unpictured.items():
        yield f"{task}: {count} instances have no picture."
    yield from _section("Build options", ["option", "value"], [[name, _value(value)] for name, value in options])
    if report.captions is not None:
        captions = report.captions
        yield from ("", "## Captions", "")
        captioners = ", ".join(map(escape_markdown, captions.captioners))
        yield f"Profile {escape_markdown(captions.profile)}, captioner {captioners}."
        yield f"{captions.captions} captions, of which the jury keeps {captions.kept}."
        yield f"{captions.missing} pictures have no caption."
        if captions.unjudged:
            yield f"{captions.unjudged} captions have no verdict (null), because too many judges failed."
        errors = [[reason, count] for reason, count in captions.errors.items()]
        yield from _table(["reason for a missing caption", "pictures"], errors)
    if report.left_out:
        rows = [[task, reason, count] for task, reasons in report.left_out.items() for reason, count in reasons.items()]
        yield from _section("Left out", ["task", "reason", "count"], rows)
    if report.faults:
        faults = Counter((fault.source, fault.reason) for fault in report.faults)
        rows = [[source, reason, count] for (source, reason), count in sorted(faults.items())]
        yield from _section("Not usable", ["source", "reason", "count"], rows)


def _leak_result(leak: LeakCheck) -> str:
    if not leak.promised:
        return ""
    return "holds" if leak.kept else "BROKEN"


def _splits(report: BuildReport) -> list[str]:
    return list(next(iter(report.counts.values()), {}))


def _counts(report: BuildReport) -> list[list[object]]:
    rows: list[list[object]] = [[task, *counts.values()] for task, counts in report.counts.items()]
    totals = [
        sum(counts[split] for counts in report.counts.values()) for split in next(iter(report.counts.values()), {})
    ]
    return [*rows, ["all", *totals]]


def _labels(report: BuildReport) -> list[list[object]]:
    return [
        [task, split, ", ".join(f"{label} {count}" for label, count in labels.items())]
        for task, by_split in report.labels.items()
        for split, labels in by_split.items()
        if labels
    ]


def _section(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield from ("", f"## {title}")
    yield from _table(columns, rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    if rows:
        yield from ("", markdown_table(columns, rows))


def _value(value: object) -> str:
    return (", ".join(map(str, value)) or "none given") if isinstance(value, tuple) else str(value)
