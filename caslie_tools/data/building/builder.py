"""Builds instruction data from a shop's catalogue and logs: reads, drafts, splits, captions and writes."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from caslie_tools._concurrency import run_sync
from caslie_tools.catalogue.format import ReadingOptions
from caslie_tools.data.atomic_write import atomic_write
from caslie_tools.data.building.captions import CaptionedImage, caption_records
from caslie_tools.data.building.data_card import render_data_card
from caslie_tools.data.building.drafts import LeftOut, PlacedDraft
from caslie_tools.data.building.leaks import check_leaks
from caslie_tools.data.building.options import BuildOptions
from caslie_tools.data.building.picture_files import PictureStaging, remove_stale_pictures
from caslie_tools.data.building.placing import place_drafts
from caslie_tools.data.building.report import BuildReport, CaptionReport, make_build_report
from caslie_tools.data.building.seeded_random import pseudonym
from caslie_tools.data.building.shop_data import ShopData
from caslie_tools.data.building.shop_reader import read_shop_data
from caslie_tools.data.building.splits import Splitter
from caslie_tools.data.building.task_builders import TASK_BUILDERS
from caslie_tools.data.records import Record, read_record
from caslie_tools.data.writing import write_records
from caslie_tools.domain import ProgressCallback
from caslie_tools.exceptions import DataError, InstanceError
from caslie_tools.images.loading import ImageLoader
from caslie_tools.pipeline.pipeline import Pipeline
from caslie_tools.tasks import TASKS

DATASET_FILE = "dataset.jsonl"
CARD_FILE = "README.md"


async def abuild_dataset(
    catalogue: Path,
    out: Path,
    *,
    logs: Mapping[str, Path] | None = None,
    options: BuildOptions | None = None,
    reading: ReadingOptions | None = None,
    strict: bool = False,
    pipeline: Pipeline | None = None,
    profile: str = "",
    about: str = "",
    loader: ImageLoader | None = None,
    progress: ProgressCallback | None = None,
) -> BuildReport:
    """Writes ``dataset.jsonl``, ``images/`` and the data card ``README.md`` into a folder.

    Args:
        catalogue: See :func:`~caslie_tools.catalogue.reading.read_catalogue`. The column ``group`` holds the group of
            variants that a product belongs to.
        out: The output folder. The files of an earlier build in it are replaced.
        logs: Files by kind of log: ``searches``, ``reviews``, ``questions``, ``events``. See
            :mod:`caslie_tools.data.building.logs`.
        options: The options of the build.
        reading: What is known about the catalogue file.
        strict: Stop at the first row or picture that cannot be used. Otherwise the report lists it.
        pipeline: Makes the captions and votes. Without a pipeline, the dataset has none.
        profile: The name of the pipeline's profile, for the card.
        about: A text about the origin of the data, for the card.
        loader: Reads pictures. Default: a loader with the default limits.
        progress: Called while records are captioned.

    Raises:
        CatalogueError: If the catalogue cannot be read at all.
        DataError: If a log cannot be read at all, if a requested task lacks its log, if no instance can be built or,
            with ``strict``, if a row or picture cannot be used.
        EndpointUnavailableError: If a captioner or a judge cannot be reached. The captions made so far stay in the
            store.
        StoreError: If the store of captions cannot be written.
    """
    options, logs = options or BuildOptions(), logs or {}
    tasks = _supported_tasks(options, logs)
    await asyncio.to_thread(out.mkdir, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pictures-", dir=out) as folder:
        staging = PictureStaging(loader or ImageLoader(), Path(folder))
        shop, sources, faults = await read_shop_data(catalogue, logs, options, staging, strict=strict, reading=reading)
        splits = Splitter(shop, options)
        _check_held_out(options, shop, splits)
        placed, left_out = place_drafts(tasks, shop, splits, options)
        await asyncio.to_thread(staging.move_to, out, _used_pictures(placed))
        records, invalid = make_records(placed, staging.path, out, options)
    if not records:
        raise DataError(f"{catalogue.name}: no instance can be built from it; check that the logs use its product ids")
    placed = [item for item in placed if item.key not in invalid]
    captions = None
    if pipeline is not None:
        captioned = await caption_records(records, pipeline, progress=progress)
        records = [_with_captions(record, images) for record, images in zip(records, captioned, strict=True)]
        captions = _caption_report(captioned, pipeline, profile)
    await asyncio.to_thread(write_records, records, out / DATASET_FILE)
    report = make_build_report(
        placed,
        [*left_out, *invalid.values()],
        options=options,
        sources=sources,
        faults=faults,
        leaks=await asyncio.to_thread(check_leaks, out / DATASET_FILE, shop, splits, options),
        captions=captions,
    )
    await asyncio.to_thread(_write_card, render_data_card(report, about=about), out / CARD_FILE)
    await asyncio.to_thread(remove_stale_pictures, out, _used_pictures(placed))
    return report


def build_dataset(catalogue: Path, out: Path, **choices: Any) -> BuildReport:
    """Synchronous twin of :func:`abuild_dataset`."""
    return run_sync(abuild_dataset(catalogue, out, **choices))


def _supported_tasks(options: BuildOptions, logs: Mapping[str, Path]) -> list[str]:
    """Returns the tasks to build: the requested tasks, or all whose log is given."""
    for task in options.tasks:
        if task not in TASK_BUILDERS:
            raise DataError(f"{task} cannot be built from logs; choose from {', '.join(TASK_BUILDERS)}")
        log = TASK_BUILDERS[task].log
        if log is not None and log not in logs:
            raise DataError(f"{task} needs a log of {log}, which is not given; pass the log, or leave the task out")
    supported = [task for task, builder in TASK_BUILDERS.items() if builder.log is None or builder.log in logs]
    return [task for task in supported if task in options.tasks] if options.tasks else supported


def _check_held_out(options: BuildOptions, shop: ShopData, splits: Splitter) -> None:
    if options.hold_out_categories and not any(splits.is_held_out_category(category) for category in shop.categories):
        raise DataError(
            f"no product is in the category {options.hold_out_categories[0]!r}; write its name as in the catalogue"
        )


def make_records(
    placed: Sequence[PlacedDraft], picture_path: Callable[[str], str], out: Path, options: BuildOptions
) -> tuple[list[Record], dict[str, LeftOut]]:
    """Returns the instances as records, and, by key, the instances that are not valid for their task.

    Args:
        placed: The instances.
        picture_path: Returns the path of a picture, given by its SHA-256 (hex), relative to the folder.
        out: The folder of the dataset.
        options: The options of the build.
    """
    records: list[Record] = []
    invalid: dict[str, LeftOut] = {}
    for item in placed:
        draft = item.draft
        pictures = draft.pictures if any(picture for picture, _ in draft.pictures) else ()
        raw = {
            "id": item.key[:16],
            "instruction": TASKS[draft.task].instruction,
            "input": draft.input,
            "options": draft.options or TASKS[draft.task].fixed_options,
            "output": draft.output,
            "task": draft.task,
            "split": item.split,
            "images": [None if picture is None else picture_path(picture) for picture, _ in pictures],
            "products": [product for _, product in pictures] or draft.products,
            "users": [pseudonym(options.seed, user) for user in draft.users],
            "time": None if draft.time is None else draft.time.isoformat(),
        }
        try:
            records.append(read_record(len(records), raw, base=out))
        except InstanceError as error:
            invalid[item.key] = LeftOut(task=draft.task, reason=str(error))
    return records, invalid


def _used_pictures(placed: Iterable[PlacedDraft]) -> set[str]:
    return {picture for item in placed for picture, _ in item.draft.pictures if picture}


def _with_captions(record: Record, images: Sequence[CaptionedImage]) -> Record:
    if not images:
        return record
    captions, kept = tuple(image.caption for image in images), tuple(image.kept for image in images)
    return record.model_copy(update={"captions": captions, "kept": kept})


def _caption_report(captioned: Sequence[Sequence[CaptionedImage]], pipeline: Pipeline, profile: str) -> CaptionReport:
    images = [image for of_record in captioned for image in of_record]
    return CaptionReport(
        profile=profile,
        captioners=pipeline.ec3.identities,
        captions=sum(image.caption is not None for image in images),
        kept=sum(image.kept is True for image in images),
        unjudged=sum(image.caption is not None and image.kept is None for image in images),
        missing=sum(bool(image.error) for image in images),
        errors=dict(sorted(Counter(image.error for image in images if image.error).items())),
    )


def _write_card(text: str, path: Path) -> None:
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))
