"""Evaluates a profile's models on instruction data, under several treatments at once; stopped, it goes on."""

import asyncio
import hashlib
import json
import time
from collections.abc import Collection, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from caslie_tools._concurrency import requested_by, run_together
from caslie_tools._version import __version__
from caslie_tools.data.reading import read_records
from caslie_tools.data.records import BadRecord, Record
from caslie_tools.domain import FrozenModel, ProgressCallback
from caslie_tools.evaluation.journal import Journal, Run
from caslie_tools.evaluation.outcomes import TREATMENTS, Outcome, Treatment
from caslie_tools.evaluation.treatments import Resolve, Trial
from caslie_tools.exceptions import DataError, EndpointUnavailableError, InputError, ModelError
from caslie_tools.pipeline.pipeline import Pipeline
from caslie_tools.roles.language_model import LanguageModel
from caslie_tools.roles.prompts import EC3_PROMPT_VERSION
from caslie_tools.tasks import get_task

if TYPE_CHECKING:
    from caslie_tools.caslie import Caslie

PATIENCE: Final = 10
"""Instances in a row that may fail before a run stops."""

_WITHOUT_EFFECT: Final = {
    "urls",
    "api_key",
    "timeout_seconds",
    "max_concurrency",
    "max_attempts",
    "max_response_bytes",
    "breaker_failures",
    "breaker_seconds",
}
"""A role's settings that say how its model is reached, not what it answers."""


class RunReport(FrozenModel):
    """What a run did; the outcomes are in its folder."""

    folder: Path
    instances: int
    """Good records that were selected."""
    resumed: int
    """Of them, those that had their outcome before."""
    bad: tuple[BadRecord, ...]
    """Records that cannot be used, in the data's order."""
    unavailable: tuple[int, ...]
    """Indexes of records that have no outcome because a model could not be reached; the next run tries them again."""
    notes: tuple[str, ...]
    seconds: float


async def evaluate(
    data: Path | str,
    caslie: "Caslie",
    out: Path,
    *,
    treatments: Collection[Treatment] = TREATMENTS,
    tasks: Collection[str] = (),
    splits: Collection[str] = (),
    limit: int | None = None,
    images: Path | None = None,
    strict: bool = False,
    trust_paths: bool = False,
    progress: ProgressCallback | None = None,
) -> RunReport:
    """Evaluates on instruction data, one line of outcomes per instance.

    A run whose folder exists goes on where it was, and refuses to on anything else. Its outcomes are the same however
    often it was stopped, and in whatever order its instances were finished, if the models answer the same to the same;
    only what was cached, and what it took, differs.

    Args:
        data: See :func:`~caslie_tools.data.reading.read_records`.
        caslie: Store, models and limits. Captions are kept in the store.
        out: The run's folder.
        treatments: Those that are wanted.
        tasks: Only these, by name or the paper's abbreviation; all where it is empty.
        splits: Only these; all where it is empty.
        limit: At most so many instances, the first ones.
        images: Folder of images that were fetched before, for data whose images are URLs.
        strict: Stop at a bad record, before anything is evaluated, instead of leaving it out.
        trust_paths: Whether the data may name images outside of its folder; for data of your own.
        progress: Told of every finished instance.

    Raises:
        DataError: If the data cannot be read, nothing is selected, or a record is bad and that is not allowed.
        InputError: If the folder holds a run on something else, or a treatment is unknown.
        EndpointUnavailableError: If a model cannot be reached for instance after instance.
        ModelError: If none of the first instances can be answered, or none at all.
        StoreError: If the store cannot be written.
    """
    started = time.monotonic()
    wanted = tuple(name for name in TREATMENTS if name in treatments)
    if not wanted or len(wanted) != len(set(treatments)):
        raise InputError(f"the treatments are {', '.join(TREATMENTS)}; choose at least one of them")
    selection = _Selection(
        data=data,
        tasks=tuple(dict.fromkeys(get_task(task).name for task in tasks)),
        splits=tuple(splits),
        limit=limit,
        trust_paths=trust_paths,
    )
    trial = Trial(caslie.pipeline, wanted, await asyncio.to_thread(_resolver, images))
    run, bad = await asyncio.to_thread(_describe, selection, caslie, trial, images)
    if bad and strict:
        raise DataError(f"{data}: record {bad[0].index} is bad, one of {len(bad)}: {bad[0].reason}")
    if not run.instances:
        raise DataError(f"{data}: there is nothing to evaluate on{selection.described}; see caslie data stats")
    journal = await asyncio.to_thread(Journal, out, run)
    resumed = len(journal.done)
    under_way = _UnderWay(trial, journal, run.instances, progress or (lambda *_: None))
    with requested_by(id(under_way)):
        await under_way.go_through(selection.records())
    notes = []
    if "given" in wanted and under_way.without_captions:
        notes.append(f"{under_way.without_captions} instances have no captions of their own: no treatment 'given'")
    return RunReport(
        folder=out,
        instances=run.instances,
        resumed=resumed,
        bad=bad,
        unavailable=tuple(sorted(under_way.unavailable)),
        notes=tuple(notes),
        seconds=round(time.monotonic() - started, 3),
    )


@dataclass(frozen=True, kw_only=True)
class _Selection:
    """The records that are evaluated on, read anew each time."""

    data: Path | str
    tasks: tuple[str, ...]
    splits: tuple[str, ...]
    limit: int | None
    trust_paths: bool

    @property
    def described(self) -> str:
        """What it is restricted to, as the end of a sentence."""
        restrictions = {" of task ": self.tasks, " of split ": self.splits}
        return "".join(name + ", ".join(those) for name, those in restrictions.items() if those)

    def records(self) -> Generator[Record | BadRecord, None, None]:
        """Yields them in their order; of equal records only the first one is good."""
        first: dict[str, int] = {}
        for record in read_records(self.data, splits=self.splits, tasks=self.tasks, trust_paths=self.trust_paths):
            if isinstance(record, BadRecord):
                yield record
            elif record.key in first:
                yield BadRecord(index=record.index, reason=f"equal to record {first[record.key]}")
            else:
                first[record.key] = record.index
                yield record
                if len(first) == self.limit:
                    return


def _describe(
    selection: _Selection, caslie: "Caslie", trial: Trial, images: Path | None
) -> tuple[Run, tuple[BadRecord, ...]]:
    """Reads all records once."""
    digest = hashlib.sha256()
    bad: list[BadRecord] = []
    instances = 0
    for record in selection.records():
        if isinstance(record, BadRecord):
            bad.append(record)
            continue
        instances += 1
        products = [image.product for image in record.instance.images]  # which captioners are told
        told = [record.index, record.key, record.split, record.captions, products]
        digest.update(json.dumps(told).encode() + b"\n")
    pipeline, stats = trial.pipeline, caslie.store.stats()
    gate = pipeline.cqe.gate
    run = Run(
        data=Path(selection.data).name if Path(selection.data).exists() else str(selection.data),
        data_sha256=digest.hexdigest(),
        instances=instances,
        bad=tuple(f"record {record.index}: {record.reason}" for record in bad),
        tasks=selection.tasks,
        splits=selection.splits,
        limit=selection.limit,
        treatments=trial.treatments,
        profile=caslie.profile.name,
        captioners=pipeline.ec3.identities,
        judges=tuple(judge.get_name() for judge in pipeline.cqe.judges),
        predictor=pipeline.unim3.predictor.get_name(),
        models=_models(caslie.pipeline),
        settings={
            "wire_format": pipeline.settings.wire_format,
            "quorum": pipeline.cqe.quorum,
            "max_images": pipeline.settings.max_images,
            "gate": None if gate is None else hashlib.sha256(gate.model_dump_json().encode()).hexdigest(),
        },
        store={"products": stats.products, "images": stats.images},
        images=None if images is None else str(images),
        versions={"caslie-tools": __version__, "captioning prompt": EC3_PROMPT_VERSION},
    )
    return run, tuple(bad)


def _models(pipeline: Pipeline) -> dict[str, str]:
    roles: dict[str, Any] = {
        f"captioner {place}": model for place, model in enumerate(pipeline.ec3.captioners, start=1)
    }
    roles |= {f"judge {place}": model for place, model in enumerate(pipeline.cqe.judges, start=1)}
    roles |= {"predictor": pipeline.unim3.predictor}
    models = {role: getattr(each, "model", None) for role, each in roles.items()}
    return {
        role: hashlib.sha256(model.settings.model_dump_json(exclude=_WITHOUT_EFFECT).encode()).hexdigest()
        for role, model in models.items()
        if isinstance(model, LanguageModel) and model.settings is not None
    }


def _resolver(images: Path | None) -> Resolve | None:
    if images is None:
        return None
    from caslie_tools.data.image_cache import ImageCache

    return ImageCache.open(images).resolve


class _UnderWay:
    """One run's instances: several at once, each written down as it is finished."""

    def __init__(self, trial: Trial, journal: Journal, total: int, progress: ProgressCallback) -> None:
        self.unavailable: list[int] = []
        """Indexes of records for which a model could not be reached."""
        self.without_captions = 0
        self._trial = trial
        self._journal = journal
        self._total = total
        self._progress = progress
        self._done = len(journal.done)
        self._out_of_reach: list[EndpointUnavailableError] = []
        """What was said of the latest instances in a row for which a model could not be reached."""
        self._unanswered: list[Outcome] = []
        """The first instances, while none of them could be answered: not written down before one can."""
        self._answered = False

    async def go_through(self, records: Generator[Record | BadRecord, None, None]) -> None:
        """Evaluates all records that have no outcome yet."""
        loop = asyncio.get_running_loop()
        settings = self._trial.pipeline.settings
        turn = asyncio.Lock()
        with ThreadPoolExecutor(max_workers=1) as reader:  # reading may take its time, as from the hub

            async def work() -> None:
                while True:
                    async with turn:
                        record = await loop.run_in_executor(reader, next, records, None)
                    if record is None:
                        return
                    if isinstance(record, Record):
                        self.without_captions += record.captions is None
                        if record.key not in self._journal.done:
                            await self._evaluate(record)

            try:
                # Enough to keep every model busy: their own bounds hold all the same.
                await run_together(
                    work() for _ in range(max(settings.max_parallel_images, settings.max_parallel_votes))
                )
            finally:
                reader.submit(records.close)
        if self._unanswered and not self._journal.done:
            raise self._unanswerable()
        await self._write(self._unanswered)
        if self._out_of_reach and not self._journal.done:
            raise self._gone(self._out_of_reach[-1])

    async def _evaluate(self, record: Record) -> None:
        try:
            outcome = await self._trial.run(record)
        except EndpointUnavailableError as error:
            self.unavailable.append(record.index)
            self._out_of_reach.append(error)
            if len(self._out_of_reach) >= PATIENCE:
                raise self._gone(error) from error
            return
        self._out_of_reach.clear()
        failures = [treated.error for treated in outcome.treatments.values() if treated.error]
        self._answered = self._answered or len(failures) < len(outcome.treatments) or not failures
        self._unanswered.append(outcome)
        if self._answered:
            waiting, self._unanswered = self._unanswered, []
            await self._write(waiting)
        elif len(self._unanswered) >= PATIENCE:
            raise self._unanswerable()

    async def _write(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            await asyncio.to_thread(self._journal.append, outcome)
            self._done += 1
            self._progress("evaluating", f"{outcome.task} {outcome.index}", self._done, self._total)

    def _unanswerable(self) -> ModelError:
        *_, error = (treated.error for treated in self._unanswered[-1].treatments.values())
        return ModelError(
            f"none of the first {len(self._unanswered)} instances could be answered, most recently: {error}; "
            "they are not written down"
        )

    def _gone(self, error: Exception) -> EndpointUnavailableError:
        return EndpointUnavailableError(
            f"a model cannot be reached, for {len(self.unavailable)} instances, most recently: {error}; "
            "what was done stays done: run the same again to go on"
        )
