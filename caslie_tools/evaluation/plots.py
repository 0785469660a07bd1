"""The plots of the report, as SVG that is embedded in the page.

The colours can be distinguished by colour-blind readers (after Okabe and Ito 2008). A shape, hatch or label repeats all
information given by colour. Axes and texts have the text colour of the page, so that the plots work in light and dark
mode.
"""

import io
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, Final

from caslie_tools._optional import require
from caslie_tools.domain import FrozenModel
from caslie_tools.evaluation.caption_effects import USEFULNESS, Usefulness
from caslie_tools.evaluation.gate_quality import GateQuality
from caslie_tools.evaluation.outcomes import Treatment, sort_treatments
from caslie_tools.evaluation.treatment_scores import TreatmentCost, TreatmentScore

_INK: Final = "#010203"
"""Placeholder for the text colour of the page. Replaced after drawing."""
_STYLES: Final[dict[Treatment, tuple[str, str]]] = {
    "none": ("#7f7f7f", "o"),
    "every": ("#c77c00", "s"),
    "gated": ("#0072b2", "D"),
    "text_first": ("#332288", "P"),
    "plain": ("#009e73", "^"),
    "general": ("#56b4e9", "<"),
    "given": ("#cc79a7", "v"),
    "given_gated": ("#882255", "d"),
    "given_voted": ("#aa4499", ">"),
    "pixels": ("#d55e00", "*"),
}
"""Colour and marker of a treatment."""
_OTHER_STYLE: Final = ("#999933", "x")
"""Colour and marker of a single judge or captioner."""
_USE_COLOURS: Final[dict[Usefulness, str]] = {
    "helpful": "#0072b2",
    "redundant": "#56b4e9",
    "misleading": "#d55e00",
    "ineffective": "#7f7f7f",
}
_HATCHES: Final[dict[Usefulness, str]] = {"helpful": "", "redundant": "\\\\", "misleading": "//", "ineffective": "--"}
_STYLE: Final = {
    "svg.fonttype": "none",  # keep texts as text: smaller, searchable and in the page's font
    "svg.hashsalt": "caslie",  # the same data gives the same file
    "text.parse_math": False,  # do not interpret dollar signs in names
    "font.family": "sans-serif",
    "font.size": 9.0,
    "hatch.linewidth": 0.6,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK),
}


class Plot(FrozenModel):
    """One plot."""

    svg: str
    """An ``svg`` element with a text alternative. It can be inserted into a page without escaping."""
    caption: str
    """One sentence that describes the plot."""


def headline_plot(scores: Sequence[TreatmentScore]) -> Plot:
    """Draws the headline metric of each task and treatment, with intervals."""
    groups = list(dict.fromkeys((score.task, score.split, score.metric) for score in scores))
    splits = len({split for _, split, _ in groups}) > 1
    labels = [f"{task}{f', {split}' if splits else ''}\n({metric})" for task, split, metric in groups]
    treatments = sort_treatments(score.treatment for score in scores)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for position, treatment in enumerate(treatments):
            own = [score for score in scores if score.treatment == treatment]
            offset = min(0.16, 0.8 / len(treatments)) * (position - (len(treatments) - 1) / 2)
            axes.errorbar(
                [score.value for score in own],
                [groups.index((score.task, score.split, score.metric)) + offset for score in own],
                # A percentile interval need not contain the value itself. Error bars must not be negative.
                xerr=[
                    [max(0.0, score.value - score.interval.low) for score in own],
                    [max(0.0, score.interval.high - score.value) for score in own],
                ],
                fmt=_STYLES.get(treatment, _OTHER_STYLE)[1],
                color=_STYLES.get(treatment, _OTHER_STYLE)[0],
                markersize=5,
                capsize=2,
                elinewidth=1.2,
                label=treatment,
            )
        axes.set_yticks(range(len(groups)), [_ascii(label) for label in labels])
        axes.invert_yaxis()
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel("headline metric, with 95% interval")
        axes.grid(axis="x", color=_INK, alpha=0.15)
        _simplify(axes)

    text = "; ".join(
        f"{score.task} {score.treatment} {score.value:.2f} ({score.interval.low:.2f} to {score.interval.high:.2f})"
        for score in scores
    )
    caption = "Headline metric per task and treatment, with 95% intervals."
    return _plot(draw, name="headline", height=0.9 + 0.62 * len(groups), caption=caption, text=text)


def gate_plot(quality: GateQuality, number: int = 0) -> Plot:
    """Draws the effect of the captions on the answer, for kept and for rejected captions.

    Args:
        quality: The quality to draw.
        number: Number of the plot among those of one page.
    """
    sides = {"kept": quality.kept, "rejected": quality.rejected}

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        left = [0] * len(sides)
        for use in USEFULNESS:
            width = [counts[use] for counts in sides.values()]
            _bars(axes, list(sides), width, left, colour=_USE_COLOURS[use], hatch=_HATCHES[use], label=use)
            left = [before + more for before, more in zip(left, width, strict=True)]
        axes.invert_yaxis()
        axes.set_xlabel("captions")
        _simplify(axes)

    text = "; ".join(
        f"{side}: " + ", ".join(f"{counts[use]} {use}" for use in USEFULNESS) for side, counts in sides.items()
    )
    caption = f"Effect of the captions on the answer, by the gate's decision ({quality.scope})."
    return _plot(draw, name=f"gate-{number}", height=1.8, caption=caption, text=text)


def cost_plot(costs: Sequence[TreatmentCost]) -> Plot:
    """Draws the model calls and the seconds per instance and treatment."""
    names = [cost.treatment for cost in costs]
    calls = {
        "captioner": [cost.captioner_calls / cost.count for cost in costs],
        "judge": [cost.judge_calls / cost.count for cost in costs],
        "predictor": [cost.predictor_calls / cost.count for cost in costs],
    }
    seconds = [cost.seconds / cost.count for cost in costs]
    styles = {"captioner": ("#0072b2", ""), "judge": ("#c77c00", "//"), "predictor": ("#7f7f7f", "\\\\")}
    totals = [sum(of_roles) for of_roles in zip(*calls.values(), strict=True)]

    def draw(figure: Any) -> None:
        first, second = figure.subplots(1, 2, sharey=True)
        left = [0.0] * len(costs)
        for role, width in calls.items():
            colour, hatch = styles[role]
            _bars(first, names, width, left, colour=colour, hatch=hatch, label=role)
            left = [before + more for before, more in zip(left, width, strict=True)]
        first.set_xlabel("model calls per instance")
        first.invert_yaxis()
        _simplify(first)
        second.barh(names, seconds, color=[_STYLES.get(name, _OTHER_STYLE)[0] for name in names])
        second.set_xlabel("seconds per instance")
        _simplify(second, legend=False)

    text = "; ".join(
        f"{name}: {total:.2f} calls, {took:.2f} s" for name, total, took in zip(names, totals, seconds, strict=True)
    )
    caption = "Model calls and seconds per instance and treatment."
    return _plot(draw, name="cost", height=0.9 + 0.3 * len(costs), caption=caption, text=text)


def _bars(
    axes: Any,
    names: Sequence[str],
    width: Sequence[float],
    left: Sequence[float],
    *,
    colour: str,
    hatch: str,
    label: str,
) -> None:
    style = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.5}
    axes.barh(names, width, left=left, label=label, **style)


def _simplify(axes: Any, *, legend: bool = True) -> None:
    axes.patch.set_alpha(0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if legend:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=5, frameon=False)


def _plot(draw: Callable[[Any], None], *, name: str, height: float, caption: str, text: str) -> Plot:
    """Returns the plot that ``draw`` draws. ``text`` is its text alternative, ``height`` is in inches."""
    matplotlib = require("matplotlib", "evaluation", "Drawing the report's plots")
    figures = require("matplotlib.figure", "evaluation", "Drawing the report's plots")
    written = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        # Without pyplot, so that no display is needed and no state is shared with the calling program.
        figure = figures.Figure(figsize=(7.2, height), layout="constrained")
        figure.patch.set_alpha(0)
        draw(figure)
        figure.savefig(written, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    # Several plots share a page, so ids get a prefix. SVG inside HTML needs no namespaces.
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    end = svg.index(">")
    svg = re.sub(r' (xmlns(:\w+)?|version|width|height)="[^"]*"', "", svg[:end]) + svg[end:]
    label = escape(f"{caption} {text}", quote=True)
    return Plot(svg=svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1).strip(), caption=caption)


def _ascii(label: str) -> str:
    """Returns a label in characters that every font has."""
    return label.encode("ascii", "replace").decode("ascii")
