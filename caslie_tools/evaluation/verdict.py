"""One sentence on whether gated captions are worth it, and one on the gate, computed from the figures."""

from collections.abc import Sequence
from typing import Final

from caslie_tools.evaluation.intervals import Interval, bonferroni
from caslie_tools.evaluation.reading import Group
from caslie_tools.evaluation.scores import average, compare_pair

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


def verdict(groups: Sequence[Group]) -> str:
    """Says how gated captions do against none and all, and for which tasks they are worth it.

    A task is called worth it, or harmful, where both the interval of its difference to none and McNemar's exact test
    say so, at a level of 95% over all tasks that are called (Bonferroni).

    Args:
        groups: The run's instances by task and split.

    Raises:
        MissingExtraError: If scipy is not installed.
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
    return f"{first}, {'over' if len(groups) == 1 else 'on average over'} {scope}; {_where_worth_it(groups)}."


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


def _where_worth_it(groups: Sequence[Group]) -> str:
    called: dict[str, list[str]] = {"worth": [], "harm": [], "open": [], "few": []}
    counts = [len(group.treated("gated", "none")) for group in groups]
    level = bonferroni(max(1, sum(count >= FEWEST for count in counts)))
    for seed, (group, count) in enumerate(zip(groups, counts, strict=True)):
        if count >= FEWEST:
            test = compare_pair(group, ("gated", "none"), seed=seed, level=level)
            sign = test.interval.sign if test.p_value <= 1 - level else 0
            called[{1: "worth", -1: "harm", 0: "open"}[sign]].append(group.label)
        elif count:
            called["few"].append(group.label)
    says = {
        "worth": "worth it for {}",
        "harm": "harmful for {}",
        "open": "not shown to help for {} (at 95% over all tasks together)",
        "few": f"too few instances to tell for {{}} (under {FEWEST})",
    }
    parts = [
        says[call].format("all of them" if len(names) == len(groups) > 1 else listed(names))
        for call, names in called.items()
        if names
    ]
    return "; ".join(parts) or "without a run with none to compare with"
