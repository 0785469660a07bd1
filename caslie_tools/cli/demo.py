"""``caslie demo``: three questions about the sample catalogue."""

from pathlib import Path
from typing import Annotated, Any

import typer

from caslie_tools.cli.console import out, plain
from caslie_tools.cli.opening import open_caslie
from caslie_tools.cli.options import AsJson, ProfileName, ShowProgress
from caslie_tools.cli.progress import ProgressDisplay, show_progress
from caslie_tools.cli.render import show_index_report, show_response, show_timings
from caslie_tools.cli.runner import Document

DEMO_STORE = Path(".caslie/demo")


def demo(
    store: Annotated[
        Path | None, typer.Option("--store", help=f"Folder of the demo's store. Default: {DEMO_STORE}.")
    ] = None,
    profile: ProfileName = None,
    progress: ShowProgress = ProgressDisplay.AUTO,
    as_json: AsJson = False,
) -> Document | None:
    """Index a sample catalogue and answer three questions about it, step by step.

    The first run indexes the catalogue. Later runs reuse its store.
    """
    from caslie_tools.sample import DEMO_QUESTIONS, catalogue_path

    answers: list[dict[str, Any]] = []
    with open_caslie(store or DEMO_STORE, profile) as caslie:
        with show_progress(progress) as advance:
            report = caslie.index(catalogue_path(), progress=advance)
        if not as_json:
            profile_name, folder = plain(caslie.profile.name), plain(caslie.settings.store)
            out.print(f"[bold]caslie demo[/bold] · profile {profile_name} · store {folder}")
            show_index_report(report)
        for number, asked in enumerate(DEMO_QUESTIONS, start=1):
            response = caslie.ask(asked.question, products=(asked.product,) if asked.product else (), where=asked.where)
            if as_json:
                answers.append({"question": asked.question, "note": asked.note, **response.to_json()})
                continue
            condition = f"  (where {plain(asked.where)})" if asked.where else ""
            out.print(f"\n[bold cyan]{number}. {plain(asked.question)}[/bold cyan]{condition}")
            out.print(f"[dim]{plain(asked.note)}[/dim]")
            show_response(response, explain=True)
            out.print(f"[dim]fused text: {plain(response.prediction.fused)}[/dim]")
            show_timings(response)
    return {"indexed": report.model_dump(mode="json"), "answers": answers} if as_json else None
