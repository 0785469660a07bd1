"""Texts that several commands print: an answer, its timings, the report of indexing, skipped records."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from caslie_tools.cli.console import first_lines, out, plain, show_table, show_warnings

if TYPE_CHECKING:
    from caslie_tools.catalogue.reports import IndexPreview, IndexReport
    from caslie_tools.data.records import BadRecord
    from caslie_tools.domain import Vote
    from caslie_tools.pipeline.pipeline import ImageResult
    from caslie_tools.pipeline.response import Response


def show_response(response: "Response", *, explain: bool = False) -> None:
    """Prints the answer, its citations and the warnings.

    Args:
        response: The response.
        explain: Also print the caption and the votes of each image, and the model calls.
    """
    style = "bold" if response.prediction.valid and response.prediction.answerable is not False else "yellow"
    out.print(f"[{style}]{plain(response.answer or 'no answer')}[/{style}]")
    for citation in response.prediction.citations:
        source = f"{plain(citation.product or 'the image')}, {plain(citation.field)}"
        out.print(f"  from {source}: {plain(citation.quote)}")
    if probabilities := response.prediction.probabilities:
        out.print("  " + "  ".join(f"{plain(label)} {value:.2f}" for label, value in probabilities.items()))
    if explain:
        _explain(response)
    show_warnings(response.warnings)


def _explain(response: "Response") -> None:
    if (text := response.text_answer) is not None:
        looked = "no picture was looked at" if text.is_enough else "so the pictures were looked at"
        out.print(f"confidence from text alone {text.confidence:.3f}, {text.threshold:.3f} needed: {looked}")
    if response.image_results:
        show_table(
            ("image", "caption", "votes", "result"),
            (
                (plain(_image(result)), plain(_caption(result)), _votes(result), _outcome(result))
                for result in response.image_results
            ),
        )
    if (usage := response.usage).calls:
        cost = "" if usage.cost is None else f", cost {usage.cost:.4g}"
        tokens = f"{usage.prompt_tokens} tokens sent, {usage.completion_tokens} received"
        out.print(f"[dim]{usage.calls} model calls, {tokens}{cost}[/dim]")


def show_timings(response: "Response") -> None:
    """Prints how long each step took."""
    timings: dict[str, float] = response.to_json()["timings_ms"]
    out.print("[dim]" + "  ".join(f"{step} {value:.0f} ms" for step, value in timings.items()) + "[/dim]")


def show_index_report(report: "IndexReport") -> None:
    """Prints what an indexing run did."""
    removed = f", {len(report.removed)} removed" if report.removed else ""
    out.print(
        f"{report.products} products with {report.images} images in {report.seconds:.1f} s: "
        f"{report.captions_made} captions generated, {report.captions_reused} reused, "
        f"{report.skipped} products unchanged{removed}, {len(report.failed)} failed"
    )
    if report.captions_removed:
        out.print(f"  {report.captions_removed} captions were removed: out of date, or not used for a long time")
    _show_reading(report)


def show_index_preview(preview: "IndexPreview") -> None:
    """Prints what an indexing run would change."""
    out.print(
        f"{len(preview.new)} products are new, {len(preview.changed)} changed, {preview.unchanged} unchanged, "
        f"{len(preview.removed)} to be removed, {len(preview.failed)} failed. Nothing was written"
    )
    for state, ids in (("new", preview.new), ("changed", preview.changed), ("remove", preview.removed)):
        for line in first_lines(f"{state}: {plain(product)}" for product in ids):
            out.print(f"  {line}")
    _show_reading(preview)


def _show_reading(report: "IndexReport | IndexPreview") -> None:
    if report.format is not None and (facts := "; ".join(report.format.describe())):
        out.print(f"  read {plain(facts)}", soft_wrap=True)
    for line in first_lines(f"[yellow]{plain(item.item)}[/yellow]: {plain(item.reason)}" for item in report.failed):
        out.print(f"  {line}")
    if report.not_removed:
        out.print(f"  [yellow]{plain(report.not_removed)}[/yellow]", soft_wrap=True)


def show_skipped_records(records: "Iterable[BadRecord]") -> None:
    """Prints a warning for each invalid record of a dataset."""
    show_warnings(first_lines(f"record {record.index} was skipped: {record.reason}" for record in records))


def _image(result: "ImageResult") -> str:
    name = str(result.image.ref)
    return name if result.image.product is None else f"{result.image.product}\n{name}"


def _caption(result: "ImageResult") -> str:
    if result.caption is None:
        return result.error
    claims = result.decision.claims if result.decision else ()
    removed = [f"removed as false: {claim.text}" for claim in claims if not claim.kept]
    return "\n".join([result.caption.text, *removed])


def _votes(result: "ImageResult") -> str:
    if result.decision is None:
        return ""
    votes = [f"{plain(vote.judge)} {_vote(vote)}" for vote in result.decision.votes]
    if result.decision.skipped_judges:
        votes.append(f"[dim]{result.decision.skipped_judges} not needed[/dim]")
    return "\n".join(votes)


def _vote(vote: "Vote") -> str:
    return vote.verdict if vote.failure is None else f"[red]failed ({vote.failure.replace('_', ' ')})[/red]"


def _outcome(result: "ImageResult") -> str:
    if result.caption is None:
        return "[yellow]no caption[/yellow]"
    origin = {"cache": "cached", "generated": "generated", "given": "given"}[result.caption.source]
    return f"{origin}, [green]kept[/green]" if result.kept else f"{origin}, [red]rejected[/red]"
