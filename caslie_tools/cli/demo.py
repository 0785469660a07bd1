"""``caslie demo``: three questions to the sample catalogue, every step shown."""

from pathlib import Path
from typing import Any

from caslie_tools.caslie import Caslie
from caslie_tools.cli.console import err, out, plain, print_json, progress_bar
from caslie_tools.cli.render import show_reply, show_report, show_steps
from caslie_tools.sample import DEMO_QUESTIONS, catalogue_path
from caslie_tools.settings import Settings

DEMO_STORE = Path(".caslie/demo")


def run_demo(*, store: Path | None, profile: str | None, as_json: bool) -> None:
    """Indexes the sample catalogue if that was not done yet, and asks the demo's questions.

    Raises:
        CaslieError: As indexing and asking do.
    """
    settings = Settings.load(store=store or DEMO_STORE, profile=profile)
    answers: list[dict[str, Any]] = []
    with Caslie.open(settings=settings) as caslie:
        with progress_bar(quiet=as_json) as progress:
            report = caslie.index(catalogue_path(), progress=progress)
        if not as_json:
            out.print(
                f"[bold]caslie demo[/bold] · profile {plain(caslie.profile.name)} · store {plain(settings.store)}"
            )
            show_report(out, report)
        for number, asked in enumerate(DEMO_QUESTIONS, start=1):
            reply = caslie.ask(asked.question, products=(asked.product,) if asked.product else (), where=asked.where)
            answers.append({"question": asked.question, "note": asked.note, **reply.to_json()})
            if as_json:
                continue
            filtered = f"  (where {plain(asked.where)})" if asked.where else ""
            out.print(f"\n[bold cyan]{number}. {plain(asked.question)}[/bold cyan]{filtered}")
            out.print(f"[dim]{plain(asked.note)}[/dim]")
            show_reply(out, reply)
            out.print(f"[dim]fused text: {plain(reply.prediction.fused)}[/dim]")
            show_steps(out, reply)
            for warning in reply.warnings:
                err.print(f"[yellow]warning:[/yellow] {plain(warning)}")
    if as_json:
        print_json({"indexed": report.model_dump(mode="json"), "answers": answers})
