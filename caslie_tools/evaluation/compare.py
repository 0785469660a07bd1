"""Compares two runs, such as those of two profiles or two gates, on the instances they have in common."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from caslie_tools.domain import FrozenModel
from caslie_tools.evaluation.answers import Answered
from caslie_tools.evaluation.intervals import PairedTest, adjust, paired_test
from caslie_tools.evaluation.outcomes import TREATMENTS, Outcome
from caslie_tools.evaluation.reading import Group, grouped, read_outcomes
from caslie_tools.evaluation.rendering import render
from caslie_tools.evaluation.verdict import shown, shown_interval, shown_p_value
from caslie_tools.exceptions import DataError


class Comparison(FrozenModel):
    """Two runs against each other."""

    first: str
    """What the first run is called: its folder's name, or the path if both have one name."""
    second: str
    common: int
    """Instances that both have, and that are compared."""
    only_first: int
    """Instances that only the first run has."""
    only_second: int
    tests: tuple[PairedTest, ...]
    """Per task (and split) and treatment that both have, first minus second; adjusted for how many they are."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The heads of :attr:`rows`."""
        splits = ("split",) if self._has_splits else ()
        return ("task", *splits, "treatment", "instances", self.first, self.second, "difference", "p, adjusted")

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The tests in short."""
        return tuple(
            (
                test.task,
                *((test.split,) if self._has_splits else ()),
                test.treatment or "",
                str(test.count),
                shown(test.first_value),
                shown(test.second_value),
                f"{shown(test.difference, sign=True)} ({shown_interval(test.interval, sign=True)})",
                shown_p_value(test.adjusted),
            )
            for test in self.tests
        )

    @property
    def _has_splits(self) -> bool:
        return len({test.split for test in self.tests}) > 1

    @property
    def markdown(self) -> str:
        """The comparison for people."""
        return render("compare.md", {"comparison": self, "splits": self._has_splits})


def compare_runs(a: Path, b: Path) -> Comparison:
    """Compares two runs on the instances, told by their keys, that both have.

    Args:
        a: The first run's folder.
        b: The second's; differences are first minus second.

    Raises:
        DataError: If a run cannot be read, or they have no instance and treatment in common.
        MissingExtraError: If what the extra ``evaluation`` brings is not installed.
    """
    first, second = ({outcome.key: outcome for outcome in read_outcomes(run)} for run in (a, b))
    common = [outcome for key, outcome in first.items() if key in second]
    tests = adjust(
        [test for seed, group in enumerate(grouped(common)) for test in _tests(group, second, _names(a, b), seed)]
    )
    if not tests:
        raise DataError(f"{a} and {b} have no instance and treatment in common: there is nothing to compare")
    names = _names(a, b)
    return Comparison(
        first=names[0],
        second=names[1],
        common=len(common),
        only_first=len(first) - len(common),
        only_second=len(second) - len(common),
        tests=tests,
    )


def _tests(group: Group, others: Mapping[str, Outcome], names: tuple[str, str], seed: int) -> Sequence[PairedTest]:
    tests = []
    for treatment in TREATMENTS:
        mine = [one for one in group.treated(treatment) if treatment in others[one.key].treatments]
        theirs = [others[one.key] for one in mine]
        if mine:
            answered = (Answered.of(group.task, outcomes, treatment) for outcomes in (mine, theirs))
            test = paired_test(*answered, names=names, split=group.split, seed=seed)
            tests.append(test.model_copy(update={"treatment": treatment}))
    return tests


def _names(a: Path, b: Path) -> tuple[str, str]:
    names = (a.resolve().name, b.resolve().name)
    return names if names[0] != names[1] else (str(a), str(b))
