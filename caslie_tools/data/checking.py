"""Checks instruction data: each record by itself, and the dataset as a whole."""

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
    "one option",
    "other task",
    "unknown split",
]
"""Kinds of findings. ``bad record``: the record is not valid by itself. ``broken off``: the file stops being JSON.
``leak``: the same question is in two splits. ``one option``: any answer is right."""


class Finding(FrozenModel):
    """One problem in a dataset."""

    kind: FindingKind
    index: int | None
    """The record's position in the source, from 0. ``None`` if the finding is not about one record."""
    reason: str


class DataReport(FrozenModel):
    """The result of a check."""

    source: str
    records: int
    """Number of records read, including bad records."""
    usable: int
    findings: tuple[Finding, ...]
    """By index. Findings that are not about one record come last."""
    stopped: bool
    """Whether the check stopped at the first finding."""
    tasks: tuple[TaskStatistics, ...]
    """Statistics of the usable records, by task and split."""

    @property
    def passed(self) -> bool:
        """Whether there are no findings."""
        return not self.findings


def check_data(
    source: Path | str,
    *,
    splits: Collection[str] = ("test",),
    tasks: Collection[str] = (),
    strict: bool = False,
    trust_paths: bool = False,
) -> DataReport:
    """Reads a whole dataset and reports all problems.

    Args:
        source: As for :func:`~caslie_tools.data.reading.read_records`.
        splits: Splits that must not be empty. Records of other splits are checked too.
        tasks: The expected tasks, by name or abbreviation. Empty: any task.
        strict: Stop at the first finding.
        trust_paths: Whether image paths may lead out of the file's folder.

    Raises:
        DataError: If the source cannot be read at all.
        MissingExtraError: If the extra ``data`` is not installed.
        UnknownTaskError: If a task does not exist.
    """
    expected = frozenset(get_task(task).name for task in tasks)
    check = _Checker(read_records(source, trust_paths=trust_paths), tuple(splits), expected)
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
        tasks=check.counter.statistics(),
    )


class _Checker:
    """Checks all records in one pass. It keeps two hashes and the id of each record."""

    def __init__(self, records: Iterator[Record | BadRecord], splits: tuple[str, ...], tasks: frozenset[str]) -> None:
        self.records = self.usable = 0
        self.counter = RecordCounter()
        self._source = records
        self._splits = splits
        self._tasks = tasks
        self._per_split: Counter[str] = Counter()
        self._ids: dict[str, int] = {}
        self._keys: dict[tuple[bytes, str], int] = {}
        self._questions: dict[bytes, tuple[int, str]] = {}

    def findings(self) -> Iterator[Finding]:
        """Yields the findings in the order in which the records are read."""
        try:
            for record in self._source:
                self.records += 1
                if isinstance(record, BadRecord):
                    yield Finding(kind="bad record", index=record.index, reason=record.reason)
                    continue
                self.usable += 1
                self.counter.add(record)
                yield from self._check_record(record)
        except DataError as error:
            if not self.records:
                raise
            yield Finding(kind="broken off", index=self.records, reason=str(error))
        for split in self._splits:
            if not self._per_split[split]:
                yield Finding(kind="empty split", index=None, reason=f"the split {split!r} has no usable record")

    def _check_record(self, record: Record) -> Iterator[Finding]:
        yield from self._check_split(record)
        if self._tasks and record.task not in self._tasks:
            expected = ", ".join(sorted(self._tasks))
            reason = f"its task is {record.task}, but {expected} is expected"
            yield Finding(kind="other task", index=record.index, reason=reason)
        if record.id and (first := self._ids.setdefault(record.id, record.index)) != record.index:
            reason = f"record {first} has the same id {record.id[:60]!r}"
            yield Finding(kind="duplicate id", index=record.index, reason=reason)
        if len(get_task(record.task).labels(record.instance)) == 1:
            reason = "it has only one option, so any answer is right"
            yield Finding(kind="one option", index=record.index, reason=reason)
        yield from self._check_duplicates(record)
        for number, image in enumerate(record.instance.images, start=1):
            if image.ref is not None and is_missing(image.ref):
                reason = f"image {number} ({image.ref.label!r}) does not exist"
                yield Finding(kind="missing image", index=record.index, reason=reason)

    def _check_split(self, record: Record) -> Iterator[Finding]:
        self._per_split[record.split] += 1
        if self._per_split[record.split] > 1 or record.split in self._splits or _KNOWN_SPLIT.fullmatch(record.split):
            return
        reason = (
            f"the split {record.split[:60]!r} is not one of train, validation, test, test_ood; this is its first record"
        )
        yield Finding(
            kind="unknown split", index=record.index, reason=reason if record.split else "the record has no split"
        )

    def _check_duplicates(self, record: Record) -> Iterator[Finding]:
        key = bytes.fromhex(record.key)
        first = self._keys.setdefault((key, record.split), record.index)
        if first != record.index:
            yield Finding(kind="duplicate record", index=record.index, reason=f"equal to record {first}")
            return
        index, split = self._questions.setdefault(question_hash(record), (record.index, record.split))
        if split != record.split:
            reason = f"the same question as record {index}, which is in the split {split!r}"
            yield Finding(kind="leak", index=record.index, reason=reason)


def question_hash(record: Record) -> bytes:
    """Returns the SHA-256 of a record's question, without the instruction, the order of the options and the answer."""
    instance = record.instance
    options = sorted(option_text(option) for option in instance.options)
    asked = [instance.task, instance.input, options, [image_location(image.ref, None) for image in instance.images]]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode("ascii")).digest()
