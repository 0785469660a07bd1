"""Counts the records of a dataset, per task and split."""

import json
import math
from array import array
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from caslie_tools.data.reading import read_records
from caslie_tools.data.records import BadRecord, Record
from caslie_tools.domain import FrozenModel, ImageRef
from caslie_tools.tasks import get_task


class Quantiles(FrozenModel):
    """The distribution of a length, in characters."""

    least: int
    median: int
    p95: int
    """The 95th percentile."""
    most: int


class TaskStatistics(FrozenModel):
    """Statistics of the records of one task in one split."""

    task: str
    split: str
    records: int
    options: dict[int, int]
    """Number of records, by their number of options."""
    images: dict[int, int]
    """Number of records, by their number of images. Missing images count."""
    missing_images: int
    """Number of images that are null, or a local file that does not exist."""
    captions: int
    """Number of images with a caption."""
    answers: dict[str, int]
    """Number of records, by right answer. For open questions: ``answered`` and ``unanswered``."""
    characters: Quantiles
    """Length of the input as JSON text, the form in which a tuned model receives it."""


class DataStatistics(FrozenModel):
    """Statistics of a dataset."""

    records: int
    """Number of usable records."""
    bad: tuple[BadRecord, ...]
    tasks: tuple[TaskStatistics, ...]
    """By task, then split."""


class RecordCounter:
    """Counts records one by one, per task and split."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, str], _TaskCounter] = {}

    def add(self, record: Record) -> None:
        """Counts one record."""
        self._parts.setdefault((record.task, record.split), _TaskCounter()).add(record)

    def statistics(self) -> tuple[TaskStatistics, ...]:
        """Returns the statistics, by task, then split."""
        return tuple(part.statistics(task, split) for (task, split), part in sorted(self._parts.items()))


def data_statistics(
    source: Path | str, *, splits: Collection[str] = (), tasks: Collection[str] = (), trust_paths: bool = False
) -> DataStatistics:
    """Reads a whole dataset and counts its records. The arguments are those of ``read_records``.

    Raises:
        DataError: If the source cannot be read, or stops being JSON.
    """
    counter, bad, usable = RecordCounter(), [], 0
    for record in read_records(source, splits=splits, tasks=tasks, trust_paths=trust_paths):
        if isinstance(record, BadRecord):
            bad.append(record)
        else:
            counter.add(record)
            usable += 1
    return DataStatistics(records=usable, bad=tuple(bad), tasks=counter.statistics())


def is_missing(ref: ImageRef | None) -> bool:
    """Whether an image is null, or a local file that does not exist. URLs are not checked."""
    return ref is None or (ref.path is not None and not ref.path.is_file())


class _TaskCounter:
    """Counts the records of one task in one split."""

    def __init__(self) -> None:
        self.options: Counter[int] = Counter()
        self.images: Counter[int] = Counter()
        self.answers: Counter[str] = Counter()
        self.missing_images = 0
        self.captions = 0
        self.lengths = array("Q")

    def add(self, record: Record) -> None:
        instance = record.instance
        self.options[len(instance.options)] += 1
        self.images[len(instance.images)] += 1
        self.missing_images += sum(is_missing(image.ref) for image in instance.images)
        self.captions += sum(caption is not None for caption in record.captions or ())
        is_open = get_task(record.task).is_open
        self.answers[record.output if not is_open else "answered" if record.output else "unanswered"] += 1
        self.lengths.append(len(json.dumps(instance.input, ensure_ascii=False)))

    def statistics(self, task: str, split: str) -> TaskStatistics:
        return TaskStatistics(
            task=task,
            split=split,
            records=len(self.lengths),
            options=dict(sorted(self.options.items())),
            images=dict(sorted(self.images.items())),
            missing_images=self.missing_images,
            captions=self.captions,
            answers=dict(sorted(self.answers.items())),
            characters=_quantiles(self.lengths),
        )


def _quantiles(lengths: "array[int]") -> Quantiles:
    ordered = sorted(lengths)
    last = len(ordered) - 1
    # Nearest-rank quantiles, so that each is a length that occurs.
    return Quantiles(
        least=ordered[0],
        median=ordered[last // 2],
        p95=ordered[math.ceil(0.95 * len(ordered)) - 1],
        most=ordered[last],
    )
