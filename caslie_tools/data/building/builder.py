"""Builds instruction data from a shop's catalogue and logs: reads, drafts, places in splits, captions, writes."""

import asyncio
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from caslie_tools._concurrency import run_sync
from caslie_tools.data.building.captions import CaptionedImage, caption_records
from caslie_tools.data.building.card import data_card
from caslie_tools.data.building.catalogue_tasks import category_classification
from caslie_tools.data.building.checks import PlacedDraft, leak_checks
from caslie_tools.data.building.event_tasks import product_relation_prediction, sequential_recommendation
from caslie_tools.data.building.options import SPLITS, BuildOptions
from caslie_tools.data.building.pictures import PictureShelf, remove_others
from caslie_tools.data.building.question_tasks import answerability_prediction, product_qa
from caslie_tools.data.building.report import BuildReport, CaptionReport, report_of
from caslie_tools.data.building.review_tasks import sentiment_analysis
from caslie_tools.data.building.search_tasks import multiclass_product_classification, product_substitute_identification
from caslie_tools.data.building.shop import Draft, LeftOut, Shop
from caslie_tools.data.building.sources import read_shop
from caslie_tools.data.building.splits import Splitter
from caslie_tools.data.files import replacing
from caslie_tools.data.records import Record, read_record
from caslie_tools.data.writing import write_records
from caslie_tools.domain import ProgressCallback
from caslie_tools.exceptions import DataError, InstanceError
from caslie_tools.images.loading import ImageLoader
from caslie_tools.pipeline.pipeline import Pipeline
from caslie_tools.tasks import TASKS
from caslie_tools.tasks.answers import option_label, option_text

DATASET = "dataset.jsonl"
CARD = "README.md"

Drafter: TypeAlias = Callable[[Shop, Splitter, BuildOptions], Iterator[Draft | LeftOut]]

DRAFTERS: Mapping[str, tuple[str, Drafter]] = {
    "answerability_prediction": ("questions", answerability_prediction),
    "category_classification": ("", category_classification),
    "product_relation_prediction": ("events", product_relation_prediction),
    "product_substitute_identification": ("searches", product_substitute_identification),
    "multiclass_product_classification": ("searches", multiclass_product_classification),
    "sentiment_analysis": ("reviews", sentiment_analysis),
    "sequential_recommendation": ("events", sequential_recommendation),
    "product_qa": ("questions", product_qa),
}
"""By task: the log it needs beside the catalogue, and what drafts its instances."""


async def abuild_dataset(
    catalogue: Path,
    out: Path,
    *,
    logs: Mapping[str, Path] | None = None,
    options: BuildOptions | None = None,
    strict: bool = False,
    pipeline: Pipeline | None = None,
    profile: str = "",
    about: str = "",
    loader: ImageLoader | None = None,
    progress: ProgressCallback | None = None,
) -> BuildReport:
    """Writes ``dataset.jsonl``, ``images/`` and the data card ``README.md`` into a folder.

    Args:
        catalogue: See :func:`~caslie_tools.catalogue.reading.read_catalogue`. The column ``group`` names a
            group of variants.
        out: The folder; what a build wrote there before is replaced.
        logs: Files by kind: ``searches``, ``reviews``, ``questions``, ``events``; see
            :mod:`caslie_tools.data.building.logs`.
        options: The choices.
        strict: Stop at the first row or picture that cannot be used, instead of reporting it.
        pipeline: Makes the captions and votes; without one there are none.
        profile: The name of the models in ``pipeline``, for the card.
        about: What the card says of where the data come from.
        loader: Reads pictures; by default within the default limits.
        progress: Told of every finished record that is captioned.

    Raises:
        CatalogueError: If the catalogue cannot be read at all.
        DataError: If a log cannot be read at all or is missing for a task, nothing could be built, or, when strict,
            something cannot be used.
        EndpointUnavailableError: If a captioner or a judge cannot be reached; the captions made by then are kept.
        StoreError: If the store of captions cannot be written.
    """
    options, logs = options or BuildOptions(), logs or {}
    tasks = _supported(options, logs)
    await asyncio.to_thread(out.mkdir, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pictures-", dir=out) as folder:
        shelf = PictureShelf(loader or ImageLoader(), Path(folder))
        shop, sources, faults = await read_shop(catalogue, logs, options, shelf, strict=strict)
        splits = Splitter(shop, options)
        _check_held_out(options, shop, splits)
        placed, left_out = _draft(tasks, shop, splits, options)
        await asyncio.to_thread(shelf.hand_over, _shown(placed), out)
        records, unfit = _records(placed, shelf, out)
    if not records:
        raise DataError(f"{catalogue.name}: nothing could be built of it; the logs name no product of the catalogue")
    placed = [one for one in placed if one.key not in unfit]
    report = report_of(
        placed,
        [*left_out, *unfit.values()],
        options=options,
        sources=sources,
        faults=faults,
        leaks=leak_checks(placed, shop, splits, options),
    )
    if pipeline is not None:
        captioned = await caption_records(records, pipeline, progress=progress)
        records = [_with_captions(record, images) for record, images in zip(records, captioned, strict=True)]
        report = report.model_copy(update={"captions": _caption_report(captioned, pipeline, profile)})
    await asyncio.to_thread(write_records, records, out / DATASET)
    await asyncio.to_thread(_write_card, data_card(report, about=about), out / CARD)
    await asyncio.to_thread(remove_others, _shown(placed), out)
    return report


def build_dataset(catalogue: Path, out: Path, **choices: Any) -> BuildReport:
    """Synchronous twin of :func:`abuild_dataset`."""
    return run_sync(abuild_dataset(catalogue, out, **choices))


def _supported(options: BuildOptions, logs: Mapping[str, Path]) -> list[str]:
    for task in options.tasks:
        if task not in DRAFTERS:
            raise DataError(f"{task} cannot be built from logs; choose from {', '.join(DRAFTERS)}")
        needed, _ = DRAFTERS[task]
        if needed and needed not in logs:
            raise DataError(
                f"{task} is built from a log of {needed}, and there is none; pass it, or leave the task out"
            )
    return [task for task in options.tasks or DRAFTERS if not DRAFTERS[task][0] or DRAFTERS[task][0] in logs]


def _check_held_out(options: BuildOptions, shop: Shop, splits: Splitter) -> None:
    if options.hold_out_categories and not any(splits.holds_out(category) for category in shop.categories):
        raise DataError(
            f"no product is of the category {options.hold_out_categories[0]!r}; write it as the catalogue does"
        )


def _draft(
    tasks: Sequence[str], shop: Shop, splits: Splitter, options: BuildOptions
) -> tuple[list[PlacedDraft], list[LeftOut]]:
    """Returns the instances in the order they are written in, no two alike, and what gave none."""
    placed: dict[str, list[PlacedDraft]] = defaultdict(list)
    left_out: list[LeftOut] = []
    for task in tasks:
        for draft in DRAFTERS[task][1](shop, splits, options):
            if isinstance(draft, LeftOut):
                left_out.append(draft)
            elif isinstance(split := splits.place(draft), LeftOut):
                left_out.append(split)
            else:
                one = PlacedDraft(draft=draft, split=split)
                placed[one.key].append(one)
    alone = [_agreed(alike, left_out) for alike in placed.values()]
    order = {task: number for number, task in enumerate(TASKS)}
    chosen = [one for one in alone if one is not None]
    return sorted(chosen, key=lambda one: (SPLITS.index(one.split), order[one.draft.task], one.key)), left_out


def _agreed(alike: Sequence[PlacedDraft], left_out: list[LeftOut]) -> PlacedDraft | None:
    """Returns one of the instances that ask the same: the one that has the answer of most, if one answer has."""
    task = alike[0].draft.task
    answers = Counter(_answer(one.draft) for one in alike).most_common(2)
    if len(answers) == 2 and answers[0][1] == answers[1][1]:
        left_out += [LeftOut(task=task, reason="as many alike have another answer")] * len(alike)
        return None
    left_out += [LeftOut(task=task, reason="another one asks the same")] * (len(alike) - 1)
    return min((one for one in alike if _answer(one.draft) == answers[0][0]), key=lambda one: one.draft.products)


def _answer(draft: Draft) -> str:
    texts = {option_label(option): option_text(option) for option in draft.options}
    return texts.get(draft.output, draft.output)


def _records(placed: Sequence[PlacedDraft], shelf: PictureShelf, out: Path) -> tuple[list[Record], dict[str, LeftOut]]:
    """Returns the instances as records, and those that do not fit their task, by key."""
    records: list[Record] = []
    unfit: dict[str, LeftOut] = {}
    for one in placed:
        draft = one.draft
        pictures = draft.pictures if any(picture for picture, _ in draft.pictures) else ()
        raw = {
            "id": one.key[:16],
            "instruction": TASKS[draft.task].instruction,
            "input": draft.input,
            "options": draft.options,
            "output": draft.output,
            "task": draft.task,
            "split": one.split,
            "images": [None if picture is None else shelf.path(picture) for picture, _ in pictures],
            "products": [product for _, product in pictures],
        }
        try:
            records.append(read_record(len(records), raw, base=out))
        except InstanceError as error:
            unfit[one.key] = LeftOut(task=draft.task, reason=str(error))
    return records, unfit


def _shown(placed: Iterable[PlacedDraft]) -> set[str]:
    return {picture for one in placed for picture, _ in one.draft.pictures if picture}


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
    with replacing(path) as file:
        file.write(text.encode("utf-8"))
