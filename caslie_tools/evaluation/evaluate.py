"""Evaluates the models of a profile on instruction data, under several treatments. Interrupted runs can be resumed."""

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from caslie_tools._concurrency import requested_by, run_together
from caslie_tools.data.records import BadRecord, Record
from caslie_tools.domain import FrozenModel, ProgressCallback
from caslie_tools.evaluation.caption_costs import CaptionCosts
from caslie_tools.evaluation.outcome_log import OutcomeLog
from caslie_tools.evaluation.outcomes import DEFAULT_TREATMENTS, Outcome, Treatment
from caslie_tools.evaluation.products import ImageResolver
from caslie_tools.evaluation.run_description import describe_run
from caslie_tools.evaluation.selection import RecordSelection
from caslie_tools.evaluation.treatments import TreatmentRunner, expand_treatments
from caslie_tools.exceptions import DataError, EndpointUnavailableError, ModelError
from caslie_tools.pipeline.failed_votes import describe_failures
from caslie_tools.tasks import get_task

if TYPE_CHECKING:
    from caslie_tools.caslie import Caslie

MAX_CONSECUTIVE_FAILURES: Final = 10
"""Number of failed instances in a row after which a run stops."""


_LACKING: Final[Mapping[Treatment, str]] = {
    "given": "have no captions",
    "given_gated": "have no captions",
    "given_voted": "have no captions or no votes",
    "pixels": "have more images than the vision predictor accepts",
}


class RunReport(FrozenModel):
    """The result of a run. The outcomes are in its folder."""

    folder: Path
    instances: int
    """Number of selected records that are usable."""
    resumed: int
    """Number of instances that had an outcome before this run."""
    bad: tuple[BadRecord, ...]
    """Records that cannot be used, in the order of the data."""
    unavailable: tuple[int, ...]
    """Indexes of records without an outcome because a model could not be reached. The next run tries them again."""
    notes: tuple[str, ...]
    seconds: float


async def evaluate(
    data: Path | str,
    caslie: "Caslie",
    out: Path,
    *,
    treatments: Collection[Treatment] = DEFAULT_TREATMENTS,
    tasks: Collection[str] = (),
    splits: Collection[str] = (),
    limit: int | None = None,
    images: Path | None = None,
    strict: bool = False,
    trust_paths: bool = False,
    leave_one_out: bool = True,
    command: str = "",
    progress: ProgressCallback | None = None,
) -> RunReport:
    """Evaluates instruction data, and writes one outcome per instance into a folder.

    If the folder already holds a run, that run is resumed. A run with other data, models or settings is refused. If
    the models give the same answers to the same inputs, the outcomes depend neither on interruptions nor on the order
    in which instances finish. The costs of an interrupted run include the captions that it made before. Only the number
    of cached captions may differ, if several instances share a caption.

    Args:
        data: See :func:`~caslie_tools.data.reading.read_records`.
        caslie: Store, models and limits. The store keeps the captions.
        out: The run's folder.
        treatments: The treatments to evaluate: see :func:`~caslie_tools.evaluation.treatments.expand_treatments`.
        tasks: Evaluate only these tasks, by name or abbreviation. Empty: all.
        splits: Evaluate only these splits. Empty: all.
        limit: Maximum number of instances. The first ones are used.
        images: Folder of images that were fetched before, for data whose images are URLs.
        strict: Stop at a bad record before anything is evaluated. Otherwise bad records are left out.
        trust_paths: Whether the data may name images outside of its folder. Use it only for your own data.
        leave_one_out: Whether an instance with several captions is also answered without each of them, so that each
            caption has an effect of its own. It takes one more answer per caption.
        command: The command that starts the run, for the report.
        progress: Called after every finished instance.

    Raises:
        DataError: If the data cannot be read, if no record is selected or, with ``strict``, if a record is bad.
        InputError: If the folder holds a run on other data, models or settings, or if a treatment is unknown.
        EndpointUnavailableError: If a model cannot be reached for :data:`MAX_CONSECUTIVE_FAILURES` instances in a row,
            or if no instance has an outcome because of it.
        ModelError: If the first :data:`MAX_CONSECUTIVE_FAILURES` instances cannot be answered or, with fewer
            instances, if all of them cannot be answered.
        StoreError: If the store cannot be written.
    """
    started = time.monotonic()
    resolve = await asyncio.to_thread(_image_resolver, images)
    expanded = expand_treatments(tuple(treatments), caslie.pipeline)
    selection = RecordSelection(
        data=data,
        tasks=tuple(dict.fromkeys(get_task(task).name for task in tasks)),
        splits=tuple(splits),
        limit=limit,
        trust_paths=trust_paths,
        wire_format=caslie.pipeline.settings.wire_format,
    )
    run, bad = await asyncio.to_thread(
        describe_run,
        selection,
        caslie,
        treatments=expanded,
        images=images,
        leave_one_out=leave_one_out,
        command=command,
    )
    if bad and strict:
        raise DataError(f"{data}: {len(bad)} bad records; the first is record {bad[0].index}: {bad[0].reason}")
    if not run.instances:
        raise DataError(f"{data}: there are no records{selection.description}; see caslie data stats")
    log = await asyncio.to_thread(OutcomeLog, out, run)
    costs = await asyncio.to_thread(CaptionCosts, out, log.done)
    runner, resumed = (
        TreatmentRunner(caslie.pipeline, expanded, resolve, costs, leave_one_out=leave_one_out),
        len(log.done),
    )
    evaluation = _Evaluation(runner, log, run.instances, progress or (lambda *_: None))
    with requested_by(id(evaluation)):
        await evaluation.run(selection.records())
    return RunReport(
        folder=out,
        instances=run.instances,
        resumed=resumed,
        bad=bad,
        unavailable=tuple(sorted(evaluation.unavailable)),
        notes=tuple(f"{count} records {remark}" for remark, count in evaluation.remarks.items()),
        seconds=round(time.monotonic() - started, 3),
    )


def _unjudged(outcome: Outcome) -> Iterator[str]:
    """Yields a remark for each jury that failed as a whole on a caption."""
    for treated in outcome.treatments.values():
        for caption in treated.captions:
            if caption.votes and all(vote.failure is not None for vote in caption.votes):
                yield f"have captions that no judge could judge: {describe_failures(caption.votes)}"


def _image_resolver(images: Path | None) -> ImageResolver | None:
    if images is None:
        return None
    from caslie_tools.data.image_cache import ImageCache

    return ImageCache.open(images).resolve


class _Evaluation:
    """Evaluates the instances of one run, several at the same time, and writes each outcome when it is finished."""

    def __init__(self, runner: TreatmentRunner, log: OutcomeLog, total: int, progress: ProgressCallback) -> None:
        self.unavailable: list[int] = []
        """Indexes of records for which a model could not be reached."""
        self.remarks: Counter[str] = Counter()
        """What is special about records, and the number of such records."""
        self._runner = runner
        self._log = log
        self._total = total
        self._progress = progress
        self._done = len(log.done)
        self._consecutive_unavailable: list[EndpointUnavailableError] = []
        """The errors of the latest instances in a row for which a model could not be reached."""
        self._unanswered: list[Outcome] = []
        """The first instances, as long as all of them failed. They are written only after one is answered."""
        self._answered = False

    async def run(self, records: Generator[Record | BadRecord, None, None]) -> None:
        """Evaluates all records that have no outcome yet."""
        loop = asyncio.get_running_loop()
        settings = self._runner.pipeline.settings
        turn = asyncio.Lock()
        with ThreadPoolExecutor(max_workers=1) as reader:  # reading may block, for example while downloading

            async def work() -> None:
                while True:
                    async with turn:
                        record = await loop.run_in_executor(reader, next, records, None)
                    if record is None:
                        return
                    if isinstance(record, Record):
                        self.remarks.update(self._remarks(record))
                        if record.key not in self._log.done:
                            await self._evaluate(record)

            try:
                # Enough workers to keep every model busy. The pipeline's own limits still apply.
                await run_together(
                    work() for _ in range(max(settings.max_parallel_images, settings.max_parallel_votes))
                )
            finally:
                reader.submit(records.close)
        if self._unanswered and not self._log.done:
            raise self._nothing_answered()
        await self._write(self._unanswered)
        if self._consecutive_unavailable and not self._log.done:
            raise self._unreachable(self._consecutive_unavailable[-1])

    def _remarks(self, record: Record) -> Iterator[str]:
        for treatment in self._runner.lacking(record):
            yield f"{_LACKING[treatment]}, so they lack the treatment {treatment!r}"
        if len(self._runner.pipeline.labels(record.instance)) == 1:
            yield "have only one option, so their answers are right by themselves"
        if record.instance.images and any(each.note for each in self._runner.pipeline.contexts(record.instance)):
            yield "have texts that were cut for captioners and judges, to fit into the context length of their models"

    async def _evaluate(self, record: Record) -> None:
        try:
            outcome = await self._runner.run(record)
        except EndpointUnavailableError as error:
            self.unavailable.append(record.index)
            self._consecutive_unavailable.append(error)
            if len(self._consecutive_unavailable) >= MAX_CONSECUTIVE_FAILURES:
                raise self._unreachable(error) from error
            return
        self._consecutive_unavailable.clear()
        self.remarks.update(set(_unjudged(outcome)))
        failures = [treated.error for treated in outcome.treatments.values() if treated.error]
        self._answered = self._answered or len(failures) < len(outcome.treatments) or not failures
        self._unanswered.append(outcome)
        if self._answered:
            waiting, self._unanswered = self._unanswered, []
            await self._write(waiting)
        elif len(self._unanswered) >= MAX_CONSECUTIVE_FAILURES:
            raise self._nothing_answered()

    async def _write(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            await asyncio.to_thread(self._log.append, outcome)
            self._done += 1
            self._progress("evaluating", f"{outcome.task} {outcome.index}", self._done, self._total)

    def _nothing_answered(self) -> ModelError:
        *_, error = (treated.error for treated in self._unanswered[-1].treatments.values())
        return ModelError(
            f"none of the first {len(self._unanswered)} instances could be answered, so no outcome is written; the "
            f"last error: {error}"
        )

    def _unreachable(self, error: Exception) -> EndpointUnavailableError:
        return EndpointUnavailableError(
            f"a model cannot be reached, for {len(self.unavailable)} instances; the last error: {error}; the finished "
            "outcomes are kept, run the same command again to resume"
        )
