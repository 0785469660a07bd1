"""``caslie data stats``: counts the records of a dataset."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from caslie_tools.cli.console import plain, show_table
from caslie_tools.cli.options import AsJson, Dataset, Splits, Tasks, TrustPaths
from caslie_tools.cli.render import show_skipped_records
from caslie_tools.cli.runner import Document

if TYPE_CHECKING:
    from caslie_tools.data.statistics import TaskStatistics


def stats(
    source: Dataset,
    split: Splits = None,
    tasks: Tasks = None,
    trust_paths: TrustPaths = False,
    as_json: AsJson = False,
) -> Document | None:
    """Count the records of a dataset, by task and split."""
    from caslie_tools.data.statistics import data_statistics

    statistics = data_statistics(source, splits=split or (), tasks=tasks or (), trust_paths=trust_paths)
    if as_json:
        return statistics.model_dump(mode="json")
    show_task_statistics(statistics.tasks)
    show_skipped_records(statistics.bad)
    return None


def show_task_statistics(tasks: "Iterable[TaskStatistics]") -> None:
    """Prints one line per task and split."""
    show_table(
        ("task", "split", "records", "options", "images", "missing", "captions", "characters", "answers"),
        (
            (
                plain(part.task),
                plain(part.split),
                str(part.records),
                _range(part.options),
                _range(part.images),
                str(part.missing_images),
                str(part.captions),
                f"{part.characters.median} (95%: {part.characters.p95}, max: {part.characters.most})",
                plain(", ".join(f"{answer} {count}" for answer, count in part.answers.items())),
            )
            for part in tasks
        ),
    )


def _range(counts: Mapping[int, int]) -> str:
    smallest, largest = min(counts), max(counts)
    return str(smallest) if smallest == largest else f"{smallest} to {largest}"
