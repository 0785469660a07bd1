"""Compares two runs on the instances that both have, for example the runs of two profiles or two gates."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from caslie_tools.domain import FrozenModel
from caslie_tools.evaluation.bootstrap import TaskAnswers
from caslie_tools.evaluation.formatting import format_interval, format_number, format_p_value
from caslie_tools.evaluation.groups import OutcomeGroup, group_outcomes, treatments_of
from caslie_tools.evaluation.reading import iter_outcomes
from caslie_tools.evaluation.rendering import render_template
from caslie_tools.evaluation.scored_outcomes import OutcomeScorer, ScoredOutcome
from caslie_tools.evaluation.significance import PairedTest, adjust, paired_test
from caslie_tools.exceptions import DataError


class Comparison(FrozenModel):
    """The comparison of two runs."""

    first: str
    """Name of the first run: its folder's name. The path, if both folders have the same name."""
    second: str
    """Name of the second run."""
    common: int
    """Number of instances that both runs have. They are compared."""
    only_first: int
    """Number of instances that only the first run has."""
    only_second: int
    """Number of instances that only the second run has."""
    tests: tuple[PairedTest, ...]
    """One test per task (and split) and treatment, first minus second. The p-values are adjusted for all tests."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The column names of :attr:`rows`."""
        splits = ("split",) if self._has_splits else ()
        return ("task", *splits, "treatment", "instances", self.first, self.second, "difference", "p, adjusted")

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The tests as table rows."""
        return tuple(
            (
                test.task,
                *((test.split,) if self._has_splits else ()),
                test.treatment or "",
                str(test.count),
                format_number(test.first_value),
                format_number(test.second_value),
                f"{format_number(test.difference, sign=True)} ({format_interval(test.interval, sign=True)})",
                format_p_value(test.adjusted),
            )
            for test in self.tests
        )

    @property
    def _has_splits(self) -> bool:
        return len({test.split for test in self.tests}) > 1

    @property
    def markdown(self) -> str:
        """The comparison as Markdown."""
        return render_template("compare.md", {"comparison": self, "splits": self._has_splits})


def compare_runs(a: Path, b: Path) -> Comparison:
    """Compares two runs on the instances that both have. Instances are matched by their keys.

    Args:
        a: The first run's folder.
        b: The second run's folder. Differences are first minus second.

    Raises:
        DataError: If a run cannot be read, or if the runs have no instance and treatment in common.
        MissingExtraError: If the extra ``evaluation`` is not installed.
    """
    scorer = OutcomeScorer()
    first, second = ({outcome.key: scorer.score(outcome) for outcome in iter_outcomes(run)} for run in (a, b))
    common = [outcome for key, outcome in first.items() if key in second]
    tests = adjust([test for group in group_outcomes(common) for test in _tests(group, second, _names(a, b))])
    if not tests:
        raise DataError(f"{a} and {b} cannot be compared: they have no instance and treatment in common")
    names = _names(a, b)
    return Comparison(
        first=names[0],
        second=names[1],
        common=len(common),
        only_first=len(first) - len(common),
        only_second=len(second) - len(common),
        tests=tests,
    )


def _tests(group: OutcomeGroup, others: Mapping[str, ScoredOutcome], names: tuple[str, str]) -> Sequence[PairedTest]:
    tests = []
    for treatment in treatments_of([group]):
        mine = [one for one in group.with_treatments(treatment) if treatment in others[one.key].treatments]
        theirs = [others[one.key] for one in mine]
        if mine:
            answered = (TaskAnswers.from_outcomes(group.task, outcomes, treatment) for outcomes in (mine, theirs))
            test = paired_test(*answered, names=names, split=group.split, seed=group.seed)
            tests.append(test.model_copy(update={"treatment": treatment}))
    return tests


def _names(a: Path, b: Path) -> tuple[str, str]:
    names = (a.resolve().name, b.resolve().name)
    return names if names[0] != names[1] else (str(a), str(b))
