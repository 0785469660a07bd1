"""Draws the conclusions of a run, one sentence each: are gated captions worth it, and is the gate itself?

There is one conclusion per split, because the splits of a dataset differ on purpose. A task takes no part in it if it
has too few instances, or if its right answers are all the same.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from caslie_tools.domain import FrozenModel
from caslie_tools.evaluation.formatting import format_interval, format_number, join_names
from caslie_tools.evaluation.groups import OutcomeGroup
from caslie_tools.evaluation.outcomes import Treatment
from caslie_tools.evaluation.significance import bonferroni
from caslie_tools.evaluation.treatment_scores import average_headline, compare_pair

MIN_INSTANCES: Final = 20
"""A task with fewer instances is reported, but takes no part in the conclusions."""


class Conclusion(FrozenModel):
    """The conclusions about one split."""

    split: str
    captions: str
    """Are gated captions worth it, and for which tasks?"""
    gate: str
    """Is the gate better than using all captions? Empty if the run lacks a treatment for it."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """The sentences that are not empty."""
        return tuple(sentence for sentence in (self.captions, self.gate) if sentence)


def draw_conclusions(groups: Sequence[OutcomeGroup]) -> tuple[Conclusion, ...]:
    """Returns the conclusions about each split.

    A treatment counts as better or worse for a task if two criteria agree: the interval of the difference and the exact
    paired test, both at a level of 95% over all tasks of the conclusion together (Bonferroni).

    Args:
        groups: The outcomes of a run by task and split.

    Raises:
        MissingExtraError: If scipy is not installed.
    """
    splits = sorted({group.split for group in groups})
    return tuple(
        _conclusion(split, [group for group in groups if group.split == split], several=len(splits) > 1)
        for split in splits
    )


def reason_left_out(group: OutcomeGroup) -> str:
    """Returns why a task takes no part in the conclusions. Empty if it does."""
    if len(group.outcomes) < MIN_INSTANCES:
        return f"fewer than {MIN_INSTANCES} instances"
    answers = {outcome.gold for outcome in group.outcomes}
    if len(answers) == 1 and not group.task.is_open:
        return f"all right answers are {answers.pop()!r}"
    return ""


def _conclusion(split: str, groups: Sequence[OutcomeGroup], *, several: bool) -> Conclusion:
    start = f"Split {split or '(none)'}: " if several else ""
    left_out = {group.task.name: reason for group in groups if (reason := reason_left_out(group))}
    judged = [group for group in groups if group.task.name not in left_out]
    if not judged:
        reasons = join_names([f"{task} ({reason})" for task, reason in left_out.items()])
        return Conclusion(split=split, captions=f"{start}There is no conclusion: {reasons}.", gate="")
    captions = _captions(judged)
    if left_out:
        names = join_names([f"{task} ({reason})" for task, reason in left_out.items()])
        captions += f" Not counted: {names}."
    return Conclusion(split=split, captions=start + captions, gate=_with_start(start, _gate(judged)))


def _with_start(start: str, sentence: str) -> str:
    return start + sentence if sentence else ""


def _captions(groups: Sequence[OutcomeGroup]) -> str:
    gated, none, every = (average_headline(groups, name) for name in ("gated", "none", "every"))
    if gated is None:
        return "This run does not have the treatment 'gated' for every task, so there is no conclusion about the gate."
    others = [
        f"{format_number(other.value)} with {name}"
        for other, name in ((none, "no captions"), (every, "all captions"))
        if other
    ]
    sentence = f"Gated captions: {format_number(gated.value)} ({format_interval(gated.interval)})"
    sentence += f", compared with {join_names(others)}" if others else ""
    scope = "over 1 task" if len(groups) == 1 else f"on average over {len(groups)} tasks"
    labels = {1: "worth it for {}", -1: "harmful for {}", 0: "not shown to help for {}"}
    by_task = _by_task(groups, ("gated", "none"), labels) or "no conclusion, because the run lacks the treatment 'none'"
    return f"{sentence}, {scope}; {by_task}."


def _gate(groups: Sequence[OutcomeGroup]) -> str:
    gain = average_headline(groups, "gated", minus="every")
    if gain is None:
        return ""
    labels = {1: "better for {}", -1: "worse for {}", 0: "no difference shown for {}"}
    return (
        f"The gate, compared with using all captions: {format_number(gain.value, sign=True)} "
        f"({format_interval(gain.interval, sign=True)}){'' if len(groups) == 1 else ' on average'}; "
        f"{_by_task(groups, ('gated', 'every'), labels)}."
    )


def _by_task(groups: Sequence[OutcomeGroup], pair: tuple[Treatment, Treatment], labels: Mapping[int, str]) -> str:
    """Returns for which tasks the first treatment is better, worse or neither. Empty if no task has both."""
    common = {group.task.name: len(group.with_treatments(*pair)) for group in groups}
    tested = [group for group in groups if common[group.task.name] >= MIN_INSTANCES]
    level = bonferroni(max(1, len(tested)))
    found: dict[int, list[str]] = {sign: [] for sign in labels}
    for group in tested:
        test = compare_pair(group, pair, level=level)
        found[test.interval.sign if test.p_value <= 1 - level else 0].append(group.task.name)
    parts = [
        labels[sign].format("all of them" if len(names) == len(groups) > 1 else join_names(names))
        for sign, names in found.items()
        if names
    ]
    if found[0]:
        parts[-1] += " (at 95% over all tasks together)"
    few = [task for task, count in common.items() if 0 < count < MIN_INSTANCES]
    if few:
        parts.append(f"too few instances with both treatments for {join_names(few)} (fewer than {MIN_INSTANCES})")
    return "; ".join(parts)
