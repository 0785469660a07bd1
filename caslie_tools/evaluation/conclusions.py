"""Draws the conclusions of a run, one sentence each: are gated captions worth it, and is the gate itself?"""

from collections.abc import Sequence
from typing import Final

from caslie_tools.evaluation.formatting import format_interval, format_number, join_names
from caslie_tools.evaluation.groups import OutcomeGroup
from caslie_tools.evaluation.significance import bonferroni
from caslie_tools.evaluation.treatment_scores import average_headline, compare_pair

MIN_INSTANCES: Final = 20
"""A task with fewer instances is not judged: a bootstrap of so few instances is not reliable."""


def captions_conclusion(groups: Sequence[OutcomeGroup]) -> str:
    """Returns a sentence that compares gated captions with none and all, and names the tasks where they are worth it.

    Gated captions count as worth it, or as harmful, for a task if two criteria agree: the interval of the difference
    to ``none`` and McNemar's exact test, both at a level of 95% over all judged tasks together (Bonferroni).

    Args:
        groups: The outcomes of a run by task and split.

    Raises:
        MissingExtraError: If scipy is not installed.
    """
    gated, none, every = (average_headline(groups, name) for name in ("gated", "none", "every"))
    if gated is None:
        return "This run does not have the treatment 'gated' for every task, so there is no conclusion about the gate."
    others = [
        f"{format_number(other.value)} with {name}"
        for other, name in ((none, "no captions"), (every, "all captions"))
        if other
    ]
    tasks, splits = len({group.task.name for group in groups}), len({group.split for group in groups})
    scope = ("1 task" if tasks == 1 else f"{tasks} tasks") + (f" and {splits} splits" if splits > 1 else "")
    sentence = f"Gated captions: {format_number(gated.value)} ({format_interval(gated.interval)})"
    sentence += f", compared with {join_names(others)}" if others else ""
    return f"{sentence}, {'over' if len(groups) == 1 else 'on average over'} {scope}; {_worth_by_task(groups)}."


def gate_conclusion(groups: Sequence[OutcomeGroup]) -> str:
    """Returns a sentence that compares the gate with using all captions. Empty if a task lacks one of the two."""
    gain = average_headline(groups, "gated", minus="every")
    if gain is None:
        return ""
    judged = {1: "better", 0: "no difference shown (the interval includes 0)", -1: "worse"}[gain.interval.sign]
    if any(len(group.with_treatments("gated", "every")) < MIN_INSTANCES for group in groups):
        judged = f"too few instances for a conclusion (a task has fewer than {MIN_INSTANCES})"
    return (
        f"The gate, compared with using all captions: {format_number(gain.value, sign=True)} "
        f"({format_interval(gain.interval, sign=True)}), {judged}."
    )


def _worth_by_task(groups: Sequence[OutcomeGroup]) -> str:
    labels: dict[str, list[str]] = {"worth": [], "harm": [], "open": [], "few": []}
    counts = [len(group.with_treatments("gated", "none")) for group in groups]
    level = bonferroni(max(1, sum(count >= MIN_INSTANCES for count in counts)))
    for seed, (group, count) in enumerate(zip(groups, counts, strict=True)):
        if count >= MIN_INSTANCES:
            test = compare_pair(group, ("gated", "none"), seed=seed, level=level)
            sign = test.interval.sign if test.p_value <= 1 - level else 0
            labels[{1: "worth", -1: "harm", 0: "open"}[sign]].append(group.label)
        elif count:
            labels["few"].append(group.label)
    texts = {
        "worth": "worth it for {}",
        "harm": "harmful for {}",
        "open": "not shown to help for {} (at 95% over all tasks together)",
        "few": f"too few instances for {{}} (fewer than {MIN_INSTANCES})",
    }
    parts = [
        texts[result].format("all of them" if len(names) == len(groups) > 1 else join_names(names))
        for result, names in labels.items()
        if names
    ]
    return "; ".join(parts) or "no conclusion, because the run lacks the treatment 'none'"
