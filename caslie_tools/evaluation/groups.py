"""Groups outcomes by task and split."""

from collections.abc import Iterable
from dataclasses import dataclass

from caslie_tools.evaluation.outcomes import Outcome, Treatment, sort_treatments
from caslie_tools.evaluation.scored_outcomes import OutcomeScorer, ScoredOutcome
from caslie_tools.tasks import TASKS, Task, get_task


@dataclass(frozen=True)
class OutcomeGroup:
    """The outcomes of one task and split."""

    task: Task
    split: str
    outcomes: tuple[ScoredOutcome, ...]
    """In the order of the data."""
    label: str
    """The name of the group in reports: the task and, if there are several splits, the split."""
    seed: int = 0
    """Seed of the group's resamples. Each group of a run has another one."""

    def with_treatments(self, *treatments: Treatment) -> tuple[ScoredOutcome, ...]:
        """Returns the outcomes that have all of these treatments."""
        return tuple(outcome for outcome in self.outcomes if all(name in outcome.treatments for name in treatments))


def treatments_of(groups: Iterable[OutcomeGroup]) -> list[Treatment]:
    """Returns the treatments that any outcome has, in the order of reports."""
    return sort_treatments(name for group in groups for outcome in group.outcomes for name in outcome.treatments)


def group_outcomes(outcomes: Iterable[Outcome | ScoredOutcome]) -> list[OutcomeGroup]:
    """Returns the outcomes by task and split. Tasks are in the order of :data:`~caslie_tools.tasks.TASKS`.

    Raises:
        UnknownTaskError: If a task is unknown.
    """
    scorer = OutcomeScorer()
    groups: dict[tuple[str, str], list[ScoredOutcome]] = {}
    for outcome in outcomes:
        scored = scorer.score(outcome) if isinstance(outcome, Outcome) else outcome
        groups.setdefault((scored.task, scored.split), []).append(scored)
    order, several = list(TASKS), len({split for _, split in groups}) > 1
    return [
        OutcomeGroup(
            task=get_task(task),
            split=split,
            outcomes=tuple(sorted(groups[task, split], key=lambda one: (one.index, one.key))),
            label=f"{task}, {split}" if several else task,
            seed=seed,
        )
        for seed, (task, split) in enumerate(sorted(groups, key=lambda group: (order.index(group[0]), group[1])))
    ]
