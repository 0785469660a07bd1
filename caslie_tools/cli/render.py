"""Answers for people: tables and a few colours. Everything from a shop or a model is shown as plain text."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from caslie_tools.catalogue.indexing import IndexReport
from caslie_tools.cli.console import plain
from caslie_tools.domain import Vote
from caslie_tools.pipeline.pipeline import ImageResult
from caslie_tools.pipeline.response import Response
from caslie_tools.store import ProductHit

_FAILURES_SHOWN = 20


def show_reply(console: Console, response: Response) -> None:
    """Shows per image what became of its caption, then the answer with its citations."""
    if response.image_results:
        table = Table("image", "caption", "votes", "", title=None, expand=False)
        for result in response.image_results:
            table.add_row(plain(_shown(result)), plain(_caption(result)), _votes(result), _verdict(result))
        console.print(table)
    answer = response.answer or "no answer"
    style = "bold" if response.prediction.valid and response.prediction.answerable is not False else "yellow"
    console.print(f"[{style}]{plain(answer)}[/{style}]")
    for citation in response.prediction.citations:
        console.print(
            f"  from {plain(citation.product or 'the picture')}, {plain(citation.field)}: {plain(citation.quote)}"
        )
    if probabilities := response.prediction.probabilities:
        console.print("  " + "  ".join(f"{plain(label)} {value:.2f}" for label, value in probabilities.items()))


def show_steps(console: Console, response: Response) -> None:
    """Shows the time of each step."""
    timings: Mapping[str, float] = response.to_json()["timings_ms"]
    console.print("[dim]" + "  ".join(f"{step} {value:.0f} ms" for step, value in timings.items()) + "[/dim]")


def show_report(console: Console, report: IndexReport) -> None:
    """Shows what an index run did."""
    console.print(
        f"{report.products} products with {report.images} images in {report.seconds:.1f} s: "
        f"{report.captions_made} captions made, {report.captions_reused} reused, "
        f"{report.skipped} products unchanged, {len(report.failed)} failed"
    )
    for failure in report.failed[:_FAILURES_SHOWN]:
        console.print(f"  [yellow]{plain(failure.item)}[/yellow]: {plain(failure.reason)}")
    if len(report.failed) > _FAILURES_SHOWN:
        console.print(f"  and {len(report.failed) - _FAILURES_SHOWN} more; --json lists all")


def show_hits(console: Console, hits: Sequence[ProductHit]) -> None:
    """Shows products found."""
    table = Table("score", "id", "title", "price", "matched")
    for hit in hits:
        price = "" if hit.product.price is None else f"{hit.product.price:g}"
        matched = ", ".join(match.kind for match in hit.matched)
        table.add_row(f"{hit.score:.3f}", plain(hit.product.id), plain(hit.product.title), price, matched)
    console.print(table if hits else "no product matches")


def show_captions(console: Console, captions: Sequence[Mapping[str, Any]]) -> None:
    """Shows captions with their provenance."""
    table = Table("products", "image", "made for", "caption", "captioner")
    for caption in captions:
        made_for = caption["focus"] or f"({caption['task']})"
        products = ", ".join(caption["products"])
        table.add_row(
            *(plain(cell) for cell in (products, caption["image"][:12], made_for, caption["text"])),
            plain(caption["captioner"]),
        )
    console.print(table if captions else "no captions")


def show_facts(console: Console, facts: Mapping[str, Any]) -> None:
    """Shows what ``caslie info`` found out, one fact a line."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            console.print(f"[bold]{plain(name)}[/bold]")
            for key, item in value.items():
                console.print(f"  {plain(key)}: {plain(_fact(item))}", soft_wrap=True)
        elif name == "problems":
            for problem in value:
                console.print(f"[bold red]problem[/bold red]: {plain(problem)}", soft_wrap=True)
        else:
            console.print(f"[bold]{plain(name)}[/bold]: {plain(_fact(value))}", soft_wrap=True)


def _fact(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_fact(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value)


def _shown(result: ImageResult) -> str:
    name = str(result.image.ref)
    return name if result.image.product is None else f"{result.image.product}\n{name}"


def _caption(result: ImageResult) -> str:
    return result.caption.text if result.caption else result.error


def _votes(result: ImageResult) -> str:
    if result.decision is None:
        return ""
    votes = [f"{plain(vote.judge)} {_vote(vote)}" for vote in result.decision.votes]
    if result.decision.unasked:
        votes.append(f"[dim]{result.decision.unasked} not needed[/dim]")
    return "\n".join(votes)


def _vote(vote: Vote) -> str:
    return vote.verdict if vote.failure is None else f"[red]failed ({vote.failure.replace('_', ' ')})[/red]"


def _verdict(result: ImageResult) -> str:
    if result.caption is None:
        return "[yellow]no caption[/yellow]"
    origin = {"cache": "found", "generated": "made", "given": "given"}[result.caption.source]
    return f"{origin}, [green]kept[/green]" if result.kept else f"{origin}, [red]rejected[/red]"
