"""The report of a run: Markdown, and one HTML page that needs nothing beside it and runs nothing.

A person reads it in a minute: the verdict, the table, the plots, the gate, the cost, examples, what it was run on and
what the figures do not say. It is computed from the outcomes alone, the same for the same outcomes. Captions and
answers come from models and shops: the templates escape everything.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from caslie_tools._text import shortened
from caslie_tools.domain import FrozenModel
from caslie_tools.evaluation.examples import Example, worst_examples
from caslie_tools.evaluation.gate_quality import USEFULNESS, GateQuality, gate_quality
from caslie_tools.evaluation.intervals import PairedTest
from caslie_tools.evaluation.outcomes import TREATMENTS
from caslie_tools.evaluation.plots import cost_plot, gate_plot, headline_plot
from caslie_tools.evaluation.reading import Group, grouped, read_outcomes, read_run
from caslie_tools.evaluation.rendering import render
from caslie_tools.evaluation.scores import (
    TreatmentCost,
    TreatmentScore,
    compare_treatments,
    score_treatments,
    treatment_costs,
)
from caslie_tools.evaluation.verdict import FEWEST, gate_verdict, shown, shown_interval, verdict
from caslie_tools.exceptions import DataError

REPORT_MARKDOWN: Final = "report.md"
REPORT_HTML: Final = "report.html"


class Report(FrozenModel):
    """What a run's figures say."""

    verdict: str
    """One sentence: are gated captions worth it, and where."""
    gate_verdict: str
    """One sentence on the gate itself; empty if the run cannot tell."""
    scores: tuple[TreatmentScore, ...]
    tests: tuple[PairedTest, ...]
    gate: tuple[GateQuality, ...]
    """Per task (and split), and last over all; empty if the gate was never asked."""
    costs: tuple[TreatmentCost, ...]
    examples: tuple[Example, ...]
    caveats: tuple[str, ...]
    """What the figures do not say."""
    markdown: Path
    """Where the Markdown was written."""
    html: Path
    """Where the page was written."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The heads of :attr:`rows`."""
        splits = ("split",) if _has_splits(self.scores) else ()
        return ("task", *splits, "metric", "instances", *(name for name in TREATMENTS if name in self._treatments))

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The table per task: the headline metric with its interval under each treatment."""
        groups: dict[tuple[str, str], dict[str, TreatmentScore]] = {}
        for score in self.scores:
            groups.setdefault((score.task, score.split), {})[score.treatment] = score
        rows = []
        for (task, split), of_treatment in groups.items():
            first = next(iter(of_treatment.values()))
            cells = [_cell(of_treatment.get(name)) for name in self.columns[-len(self._treatments) :]]
            splits = (split,) if _has_splits(self.scores) else ()
            most = max(score.count for score in of_treatment.values())
            rows.append((task, *splits, first.metric, str(most), *cells))
        return tuple(rows)

    @property
    def _treatments(self) -> set[str]:
        return {score.treatment for score in self.scores}


def write_report(run: Path) -> Report:
    """Computes a run's report and writes it beside the outcomes, as ``report.md`` and ``report.html``.

    Args:
        run: The run's folder.

    Raises:
        DataError: If the run's outcomes cannot be read, or the report cannot be written.
        MissingExtraError: If what the extra ``evaluation`` brings is not installed.
    """
    groups = grouped(read_outcomes(run))
    facts = read_run(run)
    tests = compare_treatments(groups)
    report = Report(
        verdict=verdict(groups),
        gate_verdict=gate_verdict(groups),
        scores=tuple(score for seed, group in enumerate(groups) for score in score_treatments(group, seed=seed)),
        tests=tests,
        gate=tuple(gate_quality(groups)),
        costs=tuple(treatment_costs(groups)),
        examples=tuple(worst_examples(groups)),
        caveats=tuple(_caveats(groups)),
        markdown=run / REPORT_MARKDOWN,
        html=run / REPORT_HTML,
    )
    plots = [headline_plot(report.scores), cost_plot(report.costs)]
    plots[1:1] = [gate_plot(report.gate[-1])] if report.gate else []
    values = {
        "report": report,
        "facts": dict(_flat(facts)),
        "usefulness": USEFULNESS,
        "splits": _has_splits(report.scores),
        "plots": plots,
    }
    try:
        report.markdown.write_text(render(REPORT_MARKDOWN, values), encoding="utf-8")
        report.html.write_text(render(REPORT_HTML, values), encoding="utf-8")
    except OSError as error:
        raise DataError(f"{run}: the report cannot be written: {error.strerror}") from error
    return report


def _caveats(groups: Sequence[Group]) -> list[str]:
    small = [group.label for group in groups if len(group.outcomes) < FEWEST]
    several = [
        group.label
        for group in groups
        if any(len(outcome.treatments["every"].captions) > 1 for outcome in group.treated("every"))
    ]
    caveats = [
        "The intervals cover the draw of the instances only: not another choice of prompts, seeds or models, and not "
        "that several instances may show the same product.",
        "A difference whose interval includes 0 may still be there: it was not shown by this many instances.",
        "An answer that differs by chance between two calls of a model counts as an effect of the caption.",
        "The reference column drops invalid answers: it compares with published numbers and is no fair score.",
        "Calls, tokens and seconds are those of each treatment as if it ran alone; tokens as far as the models tell.",
    ]
    if several:
        caveats.append(
            f"In {', '.join(several)} an instance has several captions: what is called helpful or misleading is all "
            "of them together, and the gate, which decides on each, can beat the oracle that takes all or none."
        )
    if small:
        caveats.append(f"Fewer than {FEWEST} instances, too few for a bootstrap to be trusted: {', '.join(small)}.")
    return caveats


def _cell(score: TreatmentScore | None) -> str:
    return "" if score is None else f"{shown(score.value)} ({shown_interval(score.interval)})"


def _has_splits(scores: Sequence[TreatmentScore]) -> bool:
    return len({score.split for score in scores}) > 1


def _flat(facts: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    flat: list[tuple[str, str]] = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            flat += _flat(value, f"{above}{name}.")
        else:
            told = ", ".join(map(str, value)) if isinstance(value, list) else str("" if value is None else value)
            flat += [(shortened(f"{above}{name}"), shortened(told, 400))] if told else []
    return flat
