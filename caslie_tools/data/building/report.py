"""What a build did, in numbers: what the data card, the command and the tests read."""

from collections import Counter
from collections.abc import Sequence

from caslie_tools.data.building.checks import LeakCheck, PlacedDraft
from caslie_tools.data.building.logs import Fault
from caslie_tools.data.building.options import SPLITS, BuildOptions, Split
from caslie_tools.data.building.shop import LeftOut
from caslie_tools.domain import FrozenModel
from caslie_tools.tasks import TASKS


class Source(FrozenModel):
    """A file the data were built from."""

    role: str
    """``catalogue``, ``searches``, ``reviews``, ``questions`` or ``events``."""
    name: str
    sha256: str
    """SHA-256 (hex) of its bytes."""
    rows: int
    """Rows that could be used."""


class CaptionReport(FrozenModel):
    """What EC3 and CQE told of the pictures."""

    profile: str
    captioners: tuple[str, ...]
    captions: int
    kept: int
    unjudged: int
    """Captions without a verdict, because judges failed."""
    missing: int
    """Places with a picture and no caption."""
    errors: dict[str, int]
    """Why there is none, and how often."""


class BuildReport(FrozenModel):
    """What a build did."""

    options: BuildOptions
    sources: tuple[Source, ...]
    counts: dict[str, dict[Split, int]]
    """Instances by task and split."""
    labels: dict[str, dict[Split, dict[str, int]]]
    """Right answers by task and split; of an open question whether it has an answer."""
    weak: dict[str, int]
    """By task: instances whose answer was concluded from behaviour."""
    pictures: int
    """Different pictures that are shown."""
    unpictured: dict[str, int]
    """By task: instances without any picture."""
    leaks: tuple[LeakCheck, ...]
    left_out: dict[str, dict[str, int]]
    """By task and reason: what gave no instance."""
    faults: tuple[Fault, ...]
    """Rows and pictures that could not be used, in the order of the sources."""
    captions: CaptionReport | None = None
    warnings: tuple[str, ...] = ()

    @property
    def instances(self) -> int:
        """How many there are."""
        return sum(sum(splits.values()) for splits in self.counts.values())


def report_of(
    placed: Sequence[PlacedDraft],
    left_out: Sequence[LeftOut],
    *,
    options: BuildOptions,
    sources: Sequence[Source],
    faults: Sequence[Fault],
    leaks: Sequence[LeakCheck],
) -> BuildReport:
    """Counts what was built."""
    tasks = [name for name in TASKS if any(one.draft.task == name for one in placed)]
    splits = [split for split in SPLITS if split != "ood" or options.hold_out_categories]
    counts = Counter((one.draft.task, one.split) for one in placed)
    labels = Counter((one.draft.task, one.split, _label(one)) for one in placed)
    missing = Counter((left.task, left.reason) for left in left_out)
    warnings = [f"{task}: the {split} split is empty" for task in tasks for split in splits if not counts[task, split]]
    warnings += [f"{leak.what}: {leak.in_common} in more than one split" for leak in leaks if not leak.kept]
    return BuildReport(
        options=options,
        sources=tuple(sources),
        counts={task: {split: counts[task, split] for split in splits} for task in tasks},
        labels={
            task: {
                split: {
                    label: count
                    for (name, where, label), count in sorted(labels.items())
                    if (name, where) == (task, split)
                }
                for split in splits
            }
            for task in tasks
        },
        weak={task: weak for task in tasks if (weak := _count(placed, task, weak=True))},
        pictures=len({picture for one in placed for picture, _ in one.draft.pictures if picture}),
        unpictured={task: bare for task in tasks if (bare := _count(placed, task, bare=True))},
        leaks=tuple(leaks),
        left_out={
            task: {reason: count for (name, reason), count in sorted(missing.items()) if name == task}
            for task in sorted({name for name, _ in missing})
        },
        faults=tuple(faults),
        warnings=tuple(warnings),
    )


def _label(one: PlacedDraft) -> str:
    if TASKS[one.draft.task].is_open:
        return "answered" if one.draft.output else "not answerable"
    return one.draft.output


def _count(placed: Sequence[PlacedDraft], task: str, *, weak: bool = False, bare: bool = False) -> int:
    return sum(
        one.draft.task == task
        and (not weak or one.draft.weak)
        and (not bare or not any(picture for picture, _ in one.draft.pictures))
        for one in placed
    )
