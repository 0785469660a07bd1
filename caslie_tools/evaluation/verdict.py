"""One sentence on whether gated captions are worth it, and one on the gate, computed from the figures."""

from collections.abc import Sequence
from typing import Final

from caslie_tools.evaluation.intervals import Interval, PairedTest
from caslie_tools.evaluation.reading import Group
from caslie_tools.evaluation.scores import average

FEWEST: Final = 20
"""Instances below which a task's difference is not called: its bootstrap knows too few of them."""


def shown(value: float, *, sign: bool = False) -> str:
    """Returns a figure as people read it, such as ``0.71`` or ``+0.02``."""
    rounded = round(value, 2) + 0.0  # no -0.00
    return f"{rounded:+.2f}" if sign else f"{rounded:.2f}"


def shown_interval(interval: Interval, *, sign: bool = False) -> str:
    """Returns an interval likewise, such as ``0.66 to 0.76``."""
    return f"{shown(interval.low, sign=sign)} to {shown(interval.high, sign=sign)}"


def shown_p_value(value: float) -> str:
    """Returns a p-value likewise."""
    return f"{value:.3f}" if value >= 0.001 else "under 0.001"


def listed(names: Sequence[str]) -> str:
    """Returns names as a list in words: ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def verdict(groups: Sequence[Group], tests: Sequence[PairedTest]) -> str:
    """Says how gated captions do against none and all, and for which tasks they are worth it.

    Args:
        groups: The run's instances by task and split.
        tests: Every paired test of the run.
    """
    gated, none, every = (average(groups, name) for name in ("gated", "none", "every"))
    if gated is None:
        return "This run has no treatment 'gated' for every task, so it cannot say whether the gate is worth it."
    against = [
        f"{shown(other.value)} with {name}" for other, name in ((none, "none"), (every, "every caption")) if other
    ]
    tasks, splits = len({group.task.name for group in groups}), len({group.split for group in groups})
    scope = ("1 task" if tasks == 1 else f"{tasks} tasks") + (f" and {splits} splits" if splits > 1 else "")
    first = f"Gated captions: {shown(gated.value)} ({shown_interval(gated.interval)})"
    first += f" against {listed(against)}" if against else ""
    return f"{first}, {'over' if len(groups) == 1 else 'on average over'} {scope}; {_where_worth_it(groups, tests)}."


def gate_verdict(groups: Sequence[Group]) -> str:
    """Says what the gate itself adds to using every caption; empty if the run cannot tell."""
    gain = average(groups, "gated", beside="every")
    if gain is None:
        return ""
    told = {1: "better", 0: "not shown to differ (the interval includes 0)", -1: "worse"}[gain.interval.sign]
    if any(len(group.treated("gated", "every")) < FEWEST for group in groups):
        told = f"with too few instances to tell (under {FEWEST} of a task)"
    return (
        f"The gate itself, beside using every caption: {shown(gain.value, sign=True)} "
        f"({shown_interval(gain.interval, sign=True)}), {told}."
    )


def _where_worth_it(groups: Sequence[Group], tests: Sequence[PairedTest]) -> str:
    by_group = {(test.task, test.split): test for test in tests if (test.first, test.second) == ("gated", "none")}
    called: dict[str, list[str]] = {"worth": [], "harm": [], "open": [], "few": []}
    for group in groups:
        if test := by_group.get((group.task.name, group.split)):
            few = test.count < FEWEST
            call = "few" if few else {1: "worth", -1: "harm", 0: "open"}[test.interval.sign]
            called[call].append(group.label)
    says = {
        "worth": "worth it for {}",
        "harm": "harmful for {}",
        "open": "not shown to help for {} (the interval of the difference to none includes 0)",
        "few": f"too few instances to tell for {{}} (under {FEWEST})",
    }
    parts = [
        says[call].format("all of them" if len(names) == len(groups) > 1 else listed(names))
        for call, names in called.items()
        if names
    ]
    return "; ".join(parts) or "without a run with none to compare with"
