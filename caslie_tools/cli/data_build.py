"""``caslie data build``: builds instruction data from the catalogue and the logs of a shop."""

from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caslie_tools.cli.console import first_lines, out, plain, show_table, show_warnings
from caslie_tools.cli.opening import open_caslie
from caslie_tools.cli.options import AsJson, Catalogue, ProfileName, ShowProgress, Store, Tasks, TrustPaths
from caslie_tools.cli.progress import ProgressDisplay, show_progress
from caslie_tools.cli.reading import Columns, DecimalMark, Delimiter, Encoding, reading_options
from caslie_tools.cli.runner import Document, report_failures

if TYPE_CHECKING:
    from caslie_tools.data.building import BuildOptions, BuildReport

_LOGS = "Logs (CSV or JSON Lines; columns marked ? are optional)"
_DATA = "Data"
_CAPTIONS = "Captions"


class SplitBy(StrEnum):
    """What must not occur in two splits."""

    PRODUCT = "product"
    USER = "user"
    QUERY = "query"
    TIME = "time"


class Pictures(StrEnum):
    """Which images of a product an instance has."""

    FIRST = "first"
    ANY = "any"
    ALL = "all"


def build(
    catalogue: Catalogue,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder for dataset.jsonl, images/ and the data card.")],
    searches: Annotated[
        Path | None,
        typer.Option(
            "--searches",
            help="Columns: query, product, judgement?, clicked?, purchased?, user?, time?.",
            rich_help_panel=_LOGS,
        ),
    ] = None,
    reviews: Annotated[
        Path | None,
        typer.Option("--reviews", help="Columns: product, text, stars, user?, time?, image?.", rich_help_panel=_LOGS),
    ] = None,
    questions: Annotated[
        Path | None,
        typer.Option(
            "--questions", help="Columns: product, question, answer?, answerable?, user?, time?.", rich_help_panel=_LOGS
        ),
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option(
            "--events", help="Columns: user, product, time, event? (purchase or view), basket?.", rich_help_panel=_LOGS
        ),
    ] = None,
    columns: Columns = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    decimal: DecimalMark = None,
    trust_paths: TrustPaths = False,
    tasks: Tasks = None,
    seed: Annotated[
        int, typer.Option("--seed", help="Seed of all random choices, splits included.", rich_help_panel=_DATA)
    ] = 0,
    proportions: Annotated[
        str,
        typer.Option("--proportions", help="Proportions of train, validation and test.", rich_help_panel=_DATA),
    ] = "0.8,0.1,0.1",
    split_by: Annotated[
        SplitBy,
        typer.Option(
            "--split-by",
            help="What must not occur in two splits. With time, test follows train in time.",
            rich_help_panel=_DATA,
        ),
    ] = SplitBy.PRODUCT,
    hold_out_category: Annotated[
        list[str] | None,
        typer.Option(
            "--hold-out-category",
            help="A category whose products are only in the out-of-domain split. Repeatable.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    options: Annotated[
        int,
        typer.Option(
            "--options",
            min=2,
            max=26,
            help="Maximum number of answer options, for tasks without fixed options.",
            rich_help_panel=_DATA,
        ),
    ] = 20,
    withhold_title: Annotated[
        bool,
        typer.Option(
            "--withhold-title", help="Leave the titles in category_classification empty.", rich_help_panel=_DATA
        ),
    ] = False,
    pictures: Annotated[
        Pictures,
        typer.Option(
            "--pictures",
            help="Which images of a product an instance has: the first, a random one, or all.",
            rich_help_panel=_DATA,
        ),
    ] = Pictures.FIRST,
    profile: ProfileName = None,
    store: Store = None,
    no_captions: Annotated[
        bool, typer.Option("--no-captions", help="Write no captions and no votes.", rich_help_panel=_CAPTIONS)
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first row or image that cannot be used.")
    ] = False,
    progress: ShowProgress = ProgressDisplay.AUTO,
    as_json: AsJson = False,
) -> tuple[Document | None, int]:
    """Build instruction data from a catalogue and the logs of a shop.

    The logs decide which tasks are built. The data card (README.md) reports whether the splits share products, users
    or queries. Run the command again to resume an interrupted run; finished captions are reused. The exit code is 1 if
    a row, a value, a picture or a caption failed; the dataset is complete without them.
    """
    from caslie_tools.data.building import build_dataset
    from caslie_tools.images.loading import ImageLoader
    from caslie_tools.settings import Settings

    logs = {"searches": searches, "reviews": reviews, "questions": questions, "events": events}
    reading = reading_options(columns, encoding, delimiter, decimal, trust_paths=trust_paths)
    build_options = _build_options(
        tasks=tasks or (),
        seed=seed,
        proportions=proportions.split(","),
        split_by=split_by.value,
        hold_out_categories=hold_out_category or (),
        options=options,
        withhold_title=withhold_title,
        pictures=pictures.value,
    )
    with nullcontext() if no_captions else open_caslie(store, profile) as caslie, show_progress(progress) as advance:
        report = build_dataset(
            catalogue,
            out_folder,
            logs={kind: path for kind, path in logs.items() if path is not None},
            options=build_options,
            reading=reading,
            strict=strict,
            pipeline=caslie.pipeline if caslie else None,
            profile=caslie.profile.name if caslie else "",
            loader=ImageLoader(Settings.load().images),
            progress=advance,
        )
    if not as_json:
        _show(report, out_folder)
    document = {"instances": report.instances, "out": str(out_folder), **report.model_dump(mode="json")}
    return document if as_json else None, report_failures(report.failures)


def _build_options(**values: Any) -> "BuildOptions":
    from pydantic import ValidationError

    from caslie_tools.data.building import BuildOptions
    from caslie_tools.exceptions import DataError

    try:
        return BuildOptions(**values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        option = f"{first['loc'][0]}: " if first["loc"] else ""
        raise DataError(option + first["msg"].removeprefix("Value error, ")) from error


def _show(report: "BuildReport", folder: Path) -> None:
    show_table(
        ("task", *next(iter(report.counts.values()))),
        ((task, *(str(count) for count in counts.values())) for task, counts in report.counts.items()),
    )
    promised = [leak for leak in report.leaks if leak.promised]
    out.print(f"{sum(leak.kept for leak in promised)} of {len(promised)} guarantees about the splits hold")
    out.print(f"{report.instances} instances; see the data card {plain(folder / 'README.md')}", soft_wrap=True)
    show_warnings(first_lines(str(fault) for fault in report.faults))
    show_warnings(report.warnings)
    if (made := report.captions) is not None:
        out.print(f"{made.captions} captions, {made.kept} kept; {made.missing} images without a caption")
        if made.missing:
            show_warnings([f"{made.missing} images have no caption; the data card lists the reasons"])
        if made.unjudged:
            show_warnings([f"{made.unjudged} captions have no verdict, because too many judges failed"])
