"""Selects the records that a run evaluates."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from caslie_tools.data.reading import read_records
from caslie_tools.data.records import BadRecord, Record
from caslie_tools.exceptions import InstanceError
from caslie_tools.tasks import get_task
from caslie_tools.tasks.fusion import require_complete
from caslie_tools.tasks.instances import WireFormat


@dataclass(frozen=True, kw_only=True)
class RecordSelection:
    """A dataset and the filters on it. The records are read again on each pass."""

    data: Path | str
    tasks: tuple[str, ...]
    splits: tuple[str, ...]
    limit: int | None
    trust_paths: bool
    wire_format: WireFormat
    """A record that lacks a text which this format needs is a bad record."""

    @property
    def description(self) -> str:
        """The filters, as the end of a sentence."""
        filters = {" of task ": self.tasks, " of split ": self.splits}
        return "".join(name + ", ".join(values) for name, values in filters.items() if values)

    def records(self) -> Generator[Record | BadRecord, None, None]:
        """Yields the selected records, in order. The second of two equal records is a bad record."""
        first: dict[str, int] = {}
        for record in read_records(self.data, splits=self.splits, tasks=self.tasks, trust_paths=self.trust_paths):
            if isinstance(record, BadRecord):
                yield record
            elif record.key in first:
                yield BadRecord(index=record.index, reason=f"equal to record {first[record.key]}")
            elif problem := self._problem(record):
                yield BadRecord(index=record.index, reason=problem)
            else:
                first[record.key] = record.index
                yield record
                if len(first) == self.limit:
                    return

    def _problem(self, record: Record) -> str:
        try:
            require_complete(get_task(record.task), record.instance, self.wire_format)
        except InstanceError as error:
            return str(error)
        return ""
