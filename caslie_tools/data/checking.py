"""Checks instruction data: every record for itself, and what shows only over records."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final, Literal, TypeAlias

from caslie_tools.data.reading import read_records
from caslie_tools.data.records import BadRecord, Record, image_location
from caslie_tools.data.statistics import RecordCounter, TaskStatistics, is_missing
from caslie_tools.domain import FrozenModel
from caslie_tools.exceptions import DataError
from caslie_tools.tasks import get_task
from caslie_tools.tasks.answers import option_text

_KNOWN_SPLIT: Final = re.compile(r"(?i)(train|val|valid|validation|dev|test)([-_ ](ind|ood))?|(ind|ood)([-_ ]test)?")

FindingKind: TypeAlias = Literal[
    "bad record",
    "broken off",
    "duplicate id",
    "duplicate record",
    "empty split",
    "leak",
    "missing image",
    "other task",
    "unknown split",
]
"""What can be wrong: a record for itself (``bad record``), the file from here on (``broken off``), or what the other
names say. A ``leak`` is one question in two splits."""


class Finding(FrozenModel):
    """One thing that is wrong."""

    kind: FindingKind
    index: int | None
    """The record's place in the source, from 0; ``None`` where it is about none of them."""
    reason: str


class DataReport(FrozenModel):
    """What a check found."""

    source: str
    records: int
    """All that were read, bad ones included."""
    usable: int
    findings: tuple[Finding, ...]
    """By index; those about no single record come last."""
    stopped: bool
    """Whether it stopped at the first finding."""
    tasks: tuple[TaskStatistics, ...]
    """The usable records by task, then split, with the lengths of their input."""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def check_data(
    source: Path | str,
    *,
    splits: Collection[str] = ("test",),
    tasks: Collection[str] = (),
    strict: bool = False,
    trust_paths: bool = False,
) -> DataReport:
    """Reads a dataset through and reports all that is wrong with it.

    Args:
        source: As for :func:`~caslie_tools.data.reading.read_records`.
        splits: Splits that must not be empty; all are checked.
        tasks: The only tasks expected, by name or abbreviation; any where it is empty.
        strict: Stop at the first finding.
        trust_paths: Whether image paths may lead out of the file's folder.

    Raises:
        DataError: If the source cannot be read at all.
        MissingExtraError: If the extra ``data`` is not installed.
        UnknownTaskError: If there is no such task.
    """
    expected = frozenset(get_task(task).name for task in tasks)
    check = _Check(read_records(source, trust_paths=trust_paths), tuple(splits), expected)
    findings: list[Finding] = []
    for finding in check.findings():
        findings.append(finding)
        if strict:
            break
    return DataReport(
        source=str(source),
        records=check.records,
        usable=check.usable,
        findings=tuple(findings),
        stopped=strict and bool(findings),
        tasks=check.tally.statistics(),
    )


class _Check:
    """One pass over the records; of each it keeps two digests and the id."""

    def __init__(self, records: Iterator[Record | BadRecord], splits: tuple[str, ...], tasks: frozenset[str]) -> None:
        self.records = self.usable = 0
        self.tally = RecordCounter()
        self._source = records
        self._splits = splits
        self._tasks = tasks
        self._per_split: Counter[str] = Counter()
        self._ids: dict[str, int] = {}
        self._keys: dict[tuple[bytes, str], int] = {}
        self._questions: dict[bytes, tuple[int, str]] = {}

    def findings(self) -> Iterator[Finding]:
        """Yields what is wrong, as it is found."""
        try:
            for record in self._source:
                self.records += 1
                if isinstance(record, BadRecord):
                    yield Finding(kind="bad record", index=record.index, reason=record.reason)
                    continue
                self.usable += 1
                self.tally.add(record)
                yield from self._looked_at(record)
        except DataError as error:
            if not self.records:
                raise
            yield Finding(kind="broken off", index=self.records, reason=str(error))
        for split in self._splits:
            if not self._per_split[split]:
                yield Finding(kind="empty split", index=None, reason=f"no usable record is in the split {split!r}")

    def _looked_at(self, record: Record) -> Iterator[Finding]:
        yield from self._split(record)
        if self._tasks and record.task not in self._tasks:
            expected = ", ".join(sorted(self._tasks))
            yield Finding(kind="other task", index=record.index, reason=f"{record.task}, where {expected} is expected")
        if record.id and (first := self._ids.setdefault(record.id, record.index)) != record.index:
            yield Finding(
                kind="duplicate id", index=record.index, reason=f"the id {record.id[:60]!r} is record {first}'s already"
            )
        yield from self._duplicates(record)
        for number, image in enumerate(record.instance.images, start=1):
            if image.ref is not None and is_missing(image.ref):
                reason = f"image {number} ({image.ref.label!r}) does not exist"
                yield Finding(kind="missing image", index=record.index, reason=reason)

    def _split(self, record: Record) -> Iterator[Finding]:
        self._per_split[record.split] += 1
        if self._per_split[record.split] > 1 or record.split in self._splits or _KNOWN_SPLIT.fullmatch(record.split):
            return
        reason = (
            f"the split {record.split[:60]!r}, here for the first time, is none of train, validation, test, test_ood"
        )
        yield Finding(kind="unknown split", index=record.index, reason=reason if record.split else "it has no split")

    def _duplicates(self, record: Record) -> Iterator[Finding]:
        key = bytes.fromhex(record.key)
        first = self._keys.setdefault((key, record.split), record.index)
        if first != record.index:
            yield Finding(kind="duplicate record", index=record.index, reason=f"the same as record {first}")
            return
        index, split = self._questions.setdefault(_question(record), (record.index, record.split))
        if split != record.split:
            reason = f"the same question as record {index}, which is in the split {split!r}"
            yield Finding(kind="leak", index=record.index, reason=reason)


def _question(record: Record) -> bytes:
    """What a record asks, whatever its wording, the order of its options or its answer."""
    instance = record.instance
    options = sorted(option_text(option) for option in instance.options)
    asked = [instance.task, instance.input, options, [image_location(image.ref, None) for image in instance.images]]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode("ascii")).digest()
