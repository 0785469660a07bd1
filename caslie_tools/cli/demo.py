"""``caslie demo``: three questions to the sample catalogue, every step shown."""

from pathlib import Path
from typing import Any

from caslie_tools.caslie import Caslie
from caslie_tools.cli.console import ProgressDisplay, out, plain, show_warnings, shown_progress
from caslie_tools.cli.render import show_reply, show_report, show_steps
from caslie_tools.sample import DEMO_QUESTIONS, catalogue_path
from caslie_tools.settings import Settings

DEMO_STORE = Path(".caslie/demo")


def run_demo(
    *, store: Path | None, profile: str | None, as_json: bool, progress: ProgressDisplay = ProgressDisplay.AUTO
) -> dict[str, Any] | None:
    """Indexes the sample catalogue if that was not done yet, and asks the demo's questions.

    Args:
        store: By default one of the demo's own.
        profile: By default the settings' one.
        as_json: Return everything as plain JSON values, and show nothing.
        progress: How indexing shows its progress.

    Raises:
        CaslieError: As indexing and asking do.
    """
    settings = Settings.load(store=store or DEMO_STORE, profile=profile)
    answers: list[dict[str, Any]] = []
    with Caslie.open(settings=settings) as caslie:
        with shown_progress(progress) as advance:
            report = caslie.index(catalogue_path(), progress=advance)
        if not as_json:
            out.print(
                f"[bold]caslie demo[/bold] · profile {plain(caslie.profile.name)} · store {plain(settings.store)}"
            )
            show_report(out, report)
        for number, asked in enumerate(DEMO_QUESTIONS, start=1):
            response = caslie.ask(asked.question, products=(asked.product,) if asked.product else (), where=asked.where)
            if as_json:
                answers.append({"question": asked.question, "note": asked.note, **response.to_json()})
                continue
            filtered = f"  (where {plain(asked.where)})" if asked.where else ""
            out.print(f"\n[bold cyan]{number}. {plain(asked.question)}[/bold cyan]{filtered}")
            out.print(f"[dim]{plain(asked.note)}[/dim]")
            show_reply(out, response)
            out.print(f"[dim]fused text: {plain(response.prediction.fused)}[/dim]")
            show_steps(out, response)
            show_warnings(response.warnings)
    return {"indexed": report.model_dump(mode="json"), "answers": answers} if as_json else None
