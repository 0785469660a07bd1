"""The report of a build, in numbers. The data card and the command are written from it."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from caslie_tools.data.building.drafts import LeftOut, PlacedDraft
from caslie_tools.data.building.leaks import LeakCheck
from caslie_tools.data.building.logs import SourceFault
from caslie_tools.data.building.options import SPLITS, BuildOptions, Split
from caslie_tools.domain import FrozenModel
from caslie_tools.tasks import TASKS


class Source(FrozenModel):
    """A file that the dataset was built from."""

    role: str
    """``catalogue``, ``searches``, ``reviews``, ``questions`` or ``events``."""
    name: str
    sha256: str
    """SHA-256 (hex) of the file."""
    rows: int
    """Number of rows used."""


class CaptionReport(FrozenModel):
    """The captions (EC3) and their verdicts (CQE), in numbers."""

    profile: str
    captioners: tuple[str, ...]
    captions: int
    kept: int
    """Captions that the jury keeps."""
    unjudged: int
    """Captions without a verdict, because too many judges failed."""
    missing: int
    """Pictures without a caption."""
    errors: dict[str, int]
    """Number of pictures without a caption, by reason."""


PLACEHOLDER: Final = "a picture shared by this many products is a placeholder"
"""The reason of a fault that is no failure: the build leaves out such pictures by choice."""


class BuildReport(FrozenModel):
    """The result of a build, in numbers."""

    options: BuildOptions
    sources: tuple[Source, ...]
    counts: dict[str, dict[Split, int]]
    """Number of instances, by task and split."""
    labels: dict[str, dict[Split, dict[str, int]]]
    """Number of right answers, by task and split. For open questions: whether they have an answer."""
    weak: dict[str, int]
    """Number of instances whose answer was inferred from behaviour, by task."""
    pictures: int
    """Number of different pictures in the dataset."""
    unpictured: dict[str, int]
    """Number of instances without a picture, by task."""
    leaks: tuple[LeakCheck, ...]
    left_out: dict[str, dict[str, int]]
    """Number of candidates that yield no instance, by task and reason."""
    faults: tuple[SourceFault, ...]
    """Rows and pictures that cannot be used, in the order of the sources."""
    captions: CaptionReport | None = None
    warnings: tuple[str, ...] = ()

    @property
    def instances(self) -> int:
        """The total number of instances."""
        return sum(sum(splits.values()) for splits in self.counts.values())

    @property
    def failures(self) -> int:
        """The number of rows, values, pictures and captions that failed."""
        uncaptioned = 0 if self.captions is None else self.captions.missing + self.captions.unjudged
        return uncaptioned + sum(fault.reason != PLACEHOLDER for fault in self.faults)


def make_build_report(
    placed: Sequence[PlacedDraft],
    left_out: Sequence[LeftOut],
    *,
    options: BuildOptions,
    sources: Sequence[Source],
    faults: Sequence[SourceFault],
    leaks: Sequence[LeakCheck],
    captions: CaptionReport | None = None,
) -> BuildReport:
    """Counts what was built, and returns the report."""
    tasks = [name for name in TASKS if any(item.draft.task == name for item in placed)]
    splits = [split for split in SPLITS if split != "ood" or options.hold_out_categories]
    counts = Counter((item.draft.task, item.split) for item in placed)
    labels = Counter((item.draft.task, item.split, _label(item)) for item in placed)
    missing = Counter((left.task, left.reason) for left in left_out)
    warnings = [f"{task}: the {split} split is empty" for task in tasks for split in splits if not counts[task, split]]
    warnings += [f"leak: {leak.in_common} {leak.what} in more than one split" for leak in leaks if not leak.kept]
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
        pictures=len({picture for item in placed for picture, _ in item.draft.pictures if picture}),
        unpictured={task: count for task in tasks if (count := _count(placed, task, unpictured=True))},
        leaks=tuple(leaks),
        left_out={
            task: {reason: count for (name, reason), count in sorted(missing.items()) if name == task}
            for task in sorted({name for name, _ in missing})
        },
        faults=tuple(faults),
        captions=captions,
        warnings=tuple(warnings),
    )


def _label(item: PlacedDraft) -> str:
    if TASKS[item.draft.task].is_open:
        return "answered" if item.draft.output else "not answerable"
    return item.draft.output


def _count(placed: Sequence[PlacedDraft], task: str, *, weak: bool = False, unpictured: bool = False) -> int:
    return sum(
        item.draft.task == task
        and (not weak or item.draft.weak)
        and (not unpictured or not any(picture for picture, _ in item.draft.pictures))
        for item in placed
    )
