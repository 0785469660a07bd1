"""``caslie data build``: instruction data from a shop's own catalogue and logs."""

from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caslie_tools.cli.console import ProgressDisplay, out, plain, show_warnings, shown_progress
from caslie_tools.cli.options import AsJson, ProfileName, ShowProgress, Store

if TYPE_CHECKING:
    from caslie_tools.data.building import BuildOptions, BuildReport

_FAULTS_SHOWN = 20


class SplitBy(StrEnum):
    """What never stands in two splits."""

    PRODUCT = "product"
    USER = "user"
    QUERY = "query"
    TIME = "time"


class Pictures(StrEnum):
    """Which of a product's pictures an instance shows."""

    FIRST = "first"
    ANY = "any"
    ALL = "all"


def build(
    catalogue: Annotated[Path, typer.Argument(help="CSV or JSON Lines; pictures by path or URL.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Folder for dataset.jsonl, images/ and the data card.")],
    searches: Annotated[
        Path | None, typer.Option("--searches", help="Log: query, product, judgement?, clicked?, purchased? ...")
    ] = None,
    reviews: Annotated[Path | None, typer.Option("--reviews", help="Log: product, text, stars, image? ...")] = None,
    questions: Annotated[
        Path | None, typer.Option("--questions", help="Log: product, question, answer?, answerable? ...")
    ] = None,
    events: Annotated[
        Path | None, typer.Option("--events", help="Log: user, product, time, event? (purchase, view), basket?")
    ] = None,
    tasks: Annotated[
        list[str] | None, typer.Option("--tasks", help="Only these, such as cc,mpc; repeatable (default: all).")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the splits and of everything that is drawn.")] = 0,
    proportions: Annotated[
        str, typer.Option("--proportions", help="Shares of train, validation and test.")
    ] = "0.8,0.1,0.1",
    split_by: Annotated[
        SplitBy, typer.Option("--split-by", help="What never stands in two splits; time: test comes after train.")
    ] = SplitBy.PRODUCT,
    hold_out_category: Annotated[
        list[str] | None,
        typer.Option("--hold-out-category", help="Only the out-of-domain split gets its products; repeatable."),
    ] = None,
    options: Annotated[
        int, typer.Option("--options", min=2, max=26, help="Most options of an instance that brings its own.")
    ] = 20,
    withhold_title: Annotated[
        bool, typer.Option("--withhold-title", help="Empty titles in category_classification.")
    ] = False,
    pictures: Annotated[
        Pictures, typer.Option("--pictures", help="Of a product's pictures: the first, one by chance, or all.")
    ] = Pictures.FIRST,
    profile: ProfileName = None,
    store: Store = None,
    no_captions: Annotated[bool, typer.Option("--no-captions", help="Leave captions and votes out.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first row or picture that cannot be used.")
    ] = False,
    progress: ShowProgress = ProgressDisplay.AUTO,
    as_json: AsJson = False,
) -> dict[str, Any] | None:
    """Build instruction data from a catalogue and the logs a shop has: searches, reviews, questions, events.

    The tasks are those the logs support; the splits have no leaks, and the data card (README.md) counts them. Stopped,
    the same command makes no finished caption again.
    """
    from caslie_tools.caslie import Caslie
    from caslie_tools.data.building import build_dataset
    from caslie_tools.images.loading import ImageLoader
    from caslie_tools.settings import Settings

    given = {"searches": searches, "reviews": reviews, "questions": questions, "events": events}
    choices = _choices(
        tasks=[name.strip() for value in tasks or () for name in value.split(",") if name.strip()],
        seed=seed,
        proportions=proportions.split(","),
        split_by=split_by.value,
        hold_out_categories=hold_out_category or (),
        options=options,
        withhold_title=withhold_title,
        pictures=pictures.value,
    )
    settings = Settings.load(store=store, profile=profile)
    with (
        nullcontext() if no_captions else Caslie.open(settings=settings) as caslie,
        shown_progress(progress) as advance,
    ):
        report = build_dataset(
            catalogue,
            out_folder,
            logs={kind: path for kind, path in given.items() if path is not None},
            options=choices,
            strict=strict,
            pipeline=caslie.pipeline if caslie else None,
            profile=caslie.profile.name if caslie else "",
            loader=ImageLoader(settings.images),
            progress=advance,
        )
    if as_json:
        return {"instances": report.instances, "out": str(out_folder), **report.model_dump(mode="json")}
    _show(report, out_folder)
    return None


def _choices(**values: Any) -> "BuildOptions":
    from pydantic import ValidationError

    from caslie_tools.data.building import BuildOptions
    from caslie_tools.exceptions import DataError

    try:
        return BuildOptions(**values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = f"{first['loc'][0]}: " if first["loc"] else ""
        raise DataError(where + first["msg"].removeprefix("Value error, ")) from error


def _show(report: "BuildReport", folder: Path) -> None:
    from rich.table import Table

    table = Table("task", *next(iter(report.counts.values())))
    for task, counts in report.counts.items():
        table.add_row(task, *(str(count) for count in counts.values()))
    out.print(table)
    promised = [leak for leak in report.leaks if leak.promised]
    out.print(f"{sum(leak.kept for leak in promised)} of {len(promised)} promises about the splits are kept")
    out.print(f"{report.instances} instances; the data card: {plain(folder / 'README.md')}", soft_wrap=True)
    warnings = list(report.warnings)
    if (told := report.captions) is not None:
        out.print(f"{told.captions} captions, {told.kept} kept, {told.missing} pictures without one")
        if told.missing:
            warnings.append(f"{told.missing} pictures have no caption; the data card says why")
        if told.unjudged:
            warnings.append(f"{told.unjudged} captions have no verdict: too many judges failed")
    shown = [str(fault) for fault in report.faults[:_FAULTS_SHOWN]]
    more = len(report.faults) - len(shown)
    show_warnings([*shown, *([f"{more} more could not be used; --json lists them"] if more else []), *warnings])
