"""Writes the report of a run, as Markdown and as one self-contained HTML page without scripts.

The report has the conclusions, the scores, plots, the quality of the gate, the costs, mistakes of the gate, the
description of the run, and the limits of the figures. It is computed from the run's folder alone, and equal outcomes
give an equal report. Captions and answers come from models and shops, so the templates escape all values.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from caslie_tools._text import shortened
from caslie_tools.domain import FrozenModel
from caslie_tools.evaluation.caption_effects import NEEDED, USEFULNESS
from caslie_tools.evaluation.clusters import count_clusters
from caslie_tools.evaluation.conclusions import Conclusion, draw_conclusions, reason_left_out
from caslie_tools.evaluation.formatting import format_interval, format_number
from caslie_tools.evaluation.gate_mistakes import GateMistake, WorstMistakes
from caslie_tools.evaluation.gate_quality import GateQuality, gate_quality, total_gate_quality
from caslie_tools.evaluation.groups import OutcomeGroup, group_outcomes
from caslie_tools.evaluation.jury_quality import JuryQuality, jury_quality
from caslie_tools.evaluation.outcomes import Outcome, describe_treatment, sort_treatments
from caslie_tools.evaluation.plots import cost_plot, gate_plot, headline_plot
from caslie_tools.evaluation.reading import iter_outcomes, read_run_description
from caslie_tools.evaluation.rendering import render_template
from caslie_tools.evaluation.scored_outcomes import ScoredOutcome
from caslie_tools.evaluation.significance import PairedTest
from caslie_tools.evaluation.treatment_scores import (
    CostTotals,
    TreatmentCost,
    TreatmentScore,
    compare_treatments,
    score_treatments,
)
from caslie_tools.exceptions import DataError

REPORT_MARKDOWN: Final = "report.md"
REPORT_HTML: Final = "report.html"

MIN_CLUSTERS: Final = 20
"""With fewer different products or users, the report says that the bootstrap is not reliable."""


class Report(FrozenModel):
    """The figures and conclusions of a run."""

    conclusions: tuple[Conclusion, ...]
    """One per split: are gated captions worth it, and is the gate?"""
    scores: tuple[TreatmentScore, ...]
    tests: tuple[PairedTest, ...]
    gate: tuple[GateQuality, ...]
    """The gate's quality per task (and split). Empty if the run lacks a treatment for it."""
    gate_totals: tuple[GateQuality, ...]
    """The gate's quality per split, over the tasks that take part in the conclusions."""
    jury: tuple[JuryQuality, ...]
    """The jury's quality per split, over the tasks that take part in the conclusions."""
    costs: tuple[TreatmentCost, ...]
    examples: tuple[GateMistake, ...]
    """The worst mistakes of the gate."""
    caveats: tuple[str, ...]
    """Limits of the figures."""
    markdown: Path
    """Path of the Markdown file."""
    html: Path
    """Path of the HTML page."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The column names of :attr:`rows`."""
        splits = ("split",) if _has_splits(self.scores) else ()
        return ("task", *splits, "metric", "instances", *sort_treatments(self._treatments))

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The table of scores: for each task, the headline metric with its interval under each treatment."""
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
    """Computes a run's report, and writes ``report.md`` and ``report.html`` into the run's folder.

    Args:
        run: The run's folder.

    Raises:
        DataError: If the run's outcomes cannot be read, or the report cannot be written.
        MissingExtraError: If the extra ``evaluation`` is not installed.
    """
    costs, mistakes = CostTotals(), WorstMistakes()
    groups = group_outcomes(_collect(run, costs, mistakes))
    judged = [group for group in groups if not reason_left_out(group)]
    facts = read_run_description(run)
    tests = compare_treatments(groups)
    report = Report(
        conclusions=draw_conclusions(groups),
        scores=tuple(score for group in groups for score in score_treatments(group)),
        tests=tests,
        gate=tuple(gate_quality(groups)),
        gate_totals=tuple(total_gate_quality(judged)),
        jury=tuple(jury_quality(judged)),
        costs=tuple(costs.totals()),
        examples=tuple(mistakes.mistakes()),
        caveats=tuple(_caveats(groups)),
        markdown=run / REPORT_MARKDOWN,
        html=run / REPORT_HTML,
    )
    plots = [headline_plot(report.scores), cost_plot(report.costs)]
    plots[1:1] = [gate_plot(quality, number) for number, quality in enumerate(report.gate_totals)]
    values = {
        "report": report,
        "facts": dict(_flat(facts)),
        "origin": _origin(facts),
        "treatments": {name: describe_treatment(name) for name in sort_treatments(s.treatment for s in report.scores)},
        "usefulness": USEFULNESS,
        "splits": _has_splits(report.scores),
        "plots": plots,
    }
    try:
        report.markdown.write_text(render_template(REPORT_MARKDOWN, values), encoding="utf-8")
        report.html.write_text(render_template(REPORT_HTML, values), encoding="utf-8")
    except OSError as error:
        raise DataError(f"{run}: the report cannot be written: {error.strerror}") from error
    return report


def _collect(run: Path, costs: CostTotals, mistakes: WorstMistakes) -> Iterator[Outcome]:
    """Yields the outcomes of a run one by one, so that they need not fit into memory together."""
    for outcome in iter_outcomes(run):
        costs.add(outcome)
        mistakes.add(outcome)
        yield outcome


def _origin(facts: Mapping[str, Any]) -> dict[str, str]:
    """Returns the date, the version and the command of a run, as far as its description has them."""
    versions = facts.get("versions")
    version = versions.get("caslie-tools") if isinstance(versions, Mapping) else None
    found = {
        "date": facts.get("started"),
        "version": version and f"caslie-tools {version}",
        "command": facts.get("command"),
    }
    return {name: shortened(str(value), 400) for name, value in found.items() if value}


def _caveats(groups: Sequence[OutcomeGroup]) -> list[str]:
    clusters = {group.label: count_clusters([outcome.names for outcome in group.outcomes]) for group in groups}
    small = [f"{label} ({count})" for label, count in clusters.items() if count < MIN_CLUSTERS]
    unnamed = [group.label for group in groups if not all(outcome.names for outcome in group.outcomes)]
    several = [
        group.label for group in groups if any(outcome.treatments["every"].fused > 1 for outcome in _judged(group))
    ]
    unknown = [
        group.label
        for group in groups
        if any(outcome.treatments["every"].fused > 1 and not outcome.captions for outcome in _judged(group))
    ]
    caveats = [
        "The intervals cover only the random choice of products. They do not cover other prompts, seeds or models.",
        "If the interval of a difference includes 0, the difference may still exist. This number of instances does not "
        "show it.",
        "If a model answers differently by chance, the difference counts as an effect of the caption.",
        "The reference scoring drops invalid answers. Use it only for comparisons with published numbers.",
        "Calls, tokens and seconds are given for each treatment as if it ran alone. Tokens are those that the models "
        "report.",
    ]
    if several:
        caveats.append(
            f"In {', '.join(several)}, instances have several captions. The effect of a caption is then that of "
            "leaving it out. Captions that say the same count as redundant, although one of them may be needed."
        )
    if unknown:
        caveats.append(
            f"In {', '.join(unknown)}, leaving out single captions was not evaluated, so the effect of captions is not "
            "known."
        )
    if unnamed:
        caveats.append(
            f"In {', '.join(unnamed)}, some outcomes name no product. Each of these instances counts as independent of "
            "all others, so intervals and p-values may be too small."
        )
    if small:
        caveats.append(
            f"Fewer than {MIN_CLUSTERS} different products or users, too few for a reliable bootstrap: "
            f"{', '.join(small)}."
        )
    return caveats


def _judged(group: OutcomeGroup) -> Sequence[ScoredOutcome]:
    """Returns the outcomes with an answer under each treatment that the gate is judged by."""
    outcomes = group.with_treatments(*NEEDED)
    return [outcome for outcome in outcomes if not any(outcome.treatments[name].failed for name in NEEDED)]


def _cell(score: TreatmentScore | None) -> str:
    return "" if score is None else f"{format_number(score.value)} ({format_interval(score.interval)})"


def _has_splits(scores: Sequence[TreatmentScore]) -> bool:
    return len({score.split for score in scores}) > 1


def _flat(facts: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    flat: list[tuple[str, str]] = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            flat += _flat(value, f"{above}{name}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str("" if value is None else value)
            flat += [(shortened(f"{above}{name}"), shortened(text, 400))] if text else []
    return flat
