"""The data card: what somebody who gets the dataset has to know of it, written from the build's own numbers."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from caslie_tools._text import escape_markdown
from caslie_tools.data.building.report import BuildReport

_SPLITS_BY = {
    "product": "no product, group of variants or picture stands in two splits; a history is cut to the products of the "
    "split its last purchase falls to",
    "user": "no user stands in two splits; what names no user is split by product",
    "query": "no search query stands in two splits; what is no search is split by product",
    "time": "train is older than validation, and validation older than test; what only the catalogue tells is split by "
    "product",
}


def data_card(report: BuildReport, *, about: str = "") -> str:
    """Returns the card as Markdown.

    Args:
        report: What the build did.
        about: What else is to be known of where the data come from.
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
        ["what", "file", "rows used", "SHA-256"],
        [[source.role, source.name, source.rows, source.sha256] for source in report.sources],
    )
    yield from ("", "## Splits", "")
    yield f"By {options.split_by}: {_SPLITS_BY[options.split_by]}."
    shares = "{:g} train, {:g} validation, {:g} test".format(*options.proportions)
    yield f"In expectation {shares}, by hash of the seed {options.seed}."
    if options.hold_out_categories:
        held = "; ".join(map(_cell, options.hold_out_categories))
        yield f"Held out for the split `ood`: {held}."
    yield from _table(
        ["stand in more than one split", "found", "promised", ""],
        [
            [leak.what, leak.in_common, "none" if leak.promised else "", "kept" if leak.kept else "BROKEN"]
            if leak.promised
            else [leak.what, leak.in_common, "", ""]
            for leak in report.leaks
        ],
    )
    yield from _section("Right answers", ["task", "split", "answers"], _labels(report))
    yield ""
    yield "Options that an instance brings itself stand in an order of chance: their letter tells nothing."
    for task, count in report.weak.items():
        yield f"{task}: {count} answers were concluded from purchases, not given by a person."
    for task, count in report.unpictured.items():
        yield f"{task}: {count} instances have no picture."
    yield from _section("Choices", ["choice", "value"], [[name, _value(value)] for name, value in options])
    if report.captions is not None:
        told = report.captions
        yield from ("", "## Captions", "")
        yield f"Profile {_cell(told.profile)}, captioner {', '.join(map(_cell, told.captioners))}."
        yield f"{told.captions} captions, of which the jury keeps {told.kept}; {told.missing} pictures without one."
        if told.unjudged:
            yield f"{told.unjudged} captions have no verdict (null), because too many judges failed."
        yield from _table(["why there is none", "pictures"], [[reason, told.errors[reason]] for reason in told.errors])
    if report.left_out:
        rows = [[task, reason, count] for task, reasons in report.left_out.items() for reason, count in reasons.items()]
        yield from _section("Left out", ["task", "reason", "times"], rows)
    if report.faults:
        faults = Counter((fault.source, fault.reason) for fault in report.faults)
        rows = [[source, reason, count] for (source, reason), count in sorted(faults.items())]
        yield from _section("Could not be used", ["source", "reason", "times"], rows)


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


def _section(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield from ("", f"## {title}")
    yield from _table(columns, rows)


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    cells = [[_cell(cell) for cell in row] for row in rows]
    if cells:
        yield ""
        yield f"| {' | '.join(columns)} |"
        yield f"|{'---|' * len(columns)}"
        yield from (f"| {' | '.join(row)} |" for row in cells)


def _cell(value: object) -> str:
    # Names come from a shop's files: they must not end a cell or start markup.
    return escape_markdown(str(value))


def _value(value: object) -> str:
    return (", ".join(map(str, value)) or "none named") if isinstance(value, tuple) else str(value)
