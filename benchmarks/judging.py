"""Judging captions: the reference's strategy against ours, same prompts, same servers, in one run.

``python benchmarks/judging.py [--simulated] [--real] [--captions N]``; both parts when neither is named.

The reference asks five judges one after the other, one caption after the other, and lets each generate up to 16
tokens, which are then read. Ours constrains each vote to yes or no, asks in waves that stop early, and has several
captions under way. Both use the same prompts and the same client, and take the likeliest token. ``--simulated`` runs on
servers whose service time is stated (``simulated_fleet.py``), ``--real`` on a vLLM on the processor, with one tiny
model under five names; ``--profile NAME`` in its place on the judges of a profile, on whatever serves them.
"""

import argparse
import asyncio
import random
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import median

from agreement import compare
from client_overhead import Timings, overhead
from judge_strategies import REFERENCE, Counters, Run, Strategy, run
from machine import heading
from main_job import expected_calls
from rich.console import Console
from rich.table import Column, Table
from simulated_fleet import Service, simulated_fleet

from caslie_tools import JudgeRequest, Settings
from caslie_tools.backends.endpoints.settings import EndpointJudgeSettings
from caslie_tools.catalogue.reading import read_catalogue
from caslie_tools.domain import Product
from caslie_tools.profiles.toml import load_profile_settings
from caslie_tools.sample import DEMO_QUESTIONS, catalogue_path
from caslie_tools.sample.draw import DRAWINGS
from caslie_tools.tasks import PRODUCT_QA, product_question

console = Console(width=110)
DEFAULTS = Settings.model_fields
ONE_BY_ONE = Strategy(name="ours", captions=1, votes=1)
BY_DEFAULT = Strategy(
    name="ours, by default",
    captions=DEFAULTS["max_parallel_images"].default,
    votes=DEFAULTS["max_parallel_votes"].default,
)
WIDE = Strategy(name="ours", captions=16, votes=40)
QUESTIONS = (
    *(asked.question for asked in DEMO_QUESTIONS),
    "What colour is it?",
    "How much does it weigh?",
    "Is it made of wool?",
    "Can I take it out in the rain?",
    "What does the label say?",
    "How long is the warranty?",
    "Where does it come from?",
)


def judge_requests(captions: int, seed: int) -> list[JudgeRequest]:
    """Draws that many pairs of a sample picture's caption and a question, none of them twice, and one more."""
    products = [row for row in read_catalogue(catalogue_path()) if isinstance(row, Product)]
    told = {drawing.file: (drawing.colour, ", ".join(drawing.facts) or "nothing") for drawing in DRAWINGS}
    pairs = [
        JudgeRequest(
            context=PRODUCT_QA.places(product_question(question, [product]))[0].context,
            caption=f"{product.title} in {told[image.label][0]}. The label says: {told[image.label][1]}.",
        )
        for question in QUESTIONS
        for product in products
        for image in product.images
    ]
    if captions >= len(pairs):
        raise SystemExit(f"there are {len(pairs) - 1} different pairs of caption and question; ask for at most those")
    return random.Random(seed).sample(pairs, captions + 1)  # noqa: S311 (a choice that repeats, no secret)


async def compare_strategies(
    where: str,
    jury: Sequence[EndpointJudgeSettings],
    requests: Sequence[JudgeRequest],
    strategies: Sequence[Strategy],
    *,
    counters: Counters = dict,
    forget: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Runs our strategies, then the reference's, and prints what came of each; ``forget`` empties prefix caches."""
    warm_up, *judged = requests
    runs: list[Run] = []
    for strategy in (*strategies, REFERENCE):
        if runs and forget is not None:
            await forget()
        runs.append(await run(strategy, jury, judged, warm_up=warm_up, counters=counters))
    *ours, reference = runs
    print_runs(f"{len(judged)} captions judged on {where}", [reference, *ours])
    for one in ours:
        found = compare(reference.decisions, one.decisions)
        console.print(
            f"{_label(one)}: {reference.seconds / one.seconds:.1f} times the reference's throughput; verdicts equal in "
            f"{found.same} of {found.captions}, {found.by_abstentions} differ only by abstentions, {found.by_votes} by "
            f"a vote; of {found.votes} votes that a judge cast in both, {found.same_votes} are equal."
        )


def print_runs(title: str, runs: Sequence[Run]) -> None:
    """Prints what the strategies cost."""
    columns = (
        "seconds",
        "captions\na second",
        "calls",
        "calls a\ncaption",
        "tokens\nin",
        "of them\ncached",
        "tokens\nout",
    )
    strategy = Column("strategy:\ncaptions, votes at once", no_wrap=True)
    table = Table(strategy, *columns, "abstained", title=title)
    for one in runs:
        captions = len(one.decisions)
        table.add_row(
            _label(one),
            f"{one.seconds:.1f}",
            f"{captions / one.seconds:.2f}",
            str(one.usage.calls),
            f"{one.usage.calls / captions:.2f}",
            f"{one.usage.prompt_tokens:,}",
            f"{one.usage.cached_tokens:,}",
            f"{one.usage.completion_tokens:,}",
            str(sum(decision.abstentions for decision in one.decisions)),
        )
    console.print(table)
    for one in runs:
        if one.cache_lookups:
            console.print(
                f"{_label(one)}: by the server's own counters {one.cache_hits:,} of {one.cache_lookups:,} prompt "
                "tokens were cached."
            )
        if one.failed:
            console.print(f"{_label(one)}: {one.failed} votes failed; they count as abstentions.")


def _label(one: Run) -> str:
    return f"{one.strategy.name}: {one.strategy.captions}, {one.strategy.votes}"


async def simulated(requests: Sequence[JudgeRequest], seed: int) -> None:
    """Five servers that only take time."""
    service = Service(seed=seed)
    names = [f"judge-{number}" for number in range(1, 6)]
    with simulated_fleet(names, service) as urls:
        jury = [EndpointJudgeSettings(urls=(url,), model=name) for name, url in urls.items()]
        await compare_strategies("a simulated fleet", jury, requests, (BY_DEFAULT, WIDE))
    console.print(
        f"Five servers with {service.places} places each; a request takes {service.prompt_token_seconds * 1000:g} ms a "
        f"word of its prompt and {service.generated_token_seconds * 1000:g} ms a token of its answer, two tokens free "
        f"or constrained; no prefix cache. Judges agree with the majority view with P = {service.agreement}: stopping "
        f"early is expected to take {expected_calls(service.agreement):.2f} calls.\n"
    )


async def real(requests: Sequence[JudgeRequest]) -> None:
    """A real vLLM on the processor, one tiny model under five names."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.vllm import environment, fleet

    if not environment.interpreter().is_file() or not environment.MODELS.is_dir():
        console.print("No vLLM here to run the real part on: `make test-vllm` builds one.")
        return
    with fleet.text_server() as server:

        async def forget() -> None:
            await asyncio.to_thread(server.restart)

        jury = [
            EndpointJudgeSettings(urls=(f"{server.url}/v1",), model=name, api_key=server.api_key)
            for name in fleet.JUDGES
        ]
        await compare_strategies(
            "a real vLLM", jury, requests, (ONE_BY_ONE, BY_DEFAULT), counters=server.metrics, forget=forget
        )
        console.print("The server is started anew before each strategy, so that none finds the other's prefixes.\n")
        await forget()
        warm_up, *judged = requests
        print_overhead(*await overhead(jury[0], judged, warm_up=warm_up, counters=server.metrics))


def print_overhead(ours: Timings, bare: Timings) -> None:
    """Prints what our client adds to a call."""
    columns = ("calls", "wall", "server's\nown", "outside\nof it", "share of\nserver's own", "client's\nprocessor")
    table = Table("ms per call, median", *columns, title="What the client adds, one call at a time")
    for name, timings in (("our judge", ours), ("bare client", bare)):
        table.add_row(
            name,
            str(len(timings.wall)),
            *(f"{median(values) * 1000:.1f}" for values in (timings.wall, timings.server, timings.outside)),
            f"{median(timings.outside) / median(timings.server):.1%}",
            f"{median(timings.processor) * 1000:.2f}",
        )
    console.print(table)
    added = median(ours.outside) - median(bare.outside)
    console.print(
        f"Ours takes {added * 1000:.1f} ms more than the bare client, {added / median(ours.server):.1%} of the "
        "server's own time."
    )


async def profile(name: str, requests: Sequence[JudgeRequest]) -> None:
    """The judges of a profile, wherever they are served."""
    judges = load_profile_settings(name).judges
    jury = [judge for judge in judges if isinstance(judge, EndpointJudgeSettings) and not judge.sees_image]
    if not jury:
        raise SystemExit(f"the profile {name} has no judge of texts on an endpoint")
    await compare_strategies(f"the judges of the profile {name}", jury, requests, (BY_DEFAULT, WIDE))
    console.print("Nothing emptied the servers' prefix caches: the reference came last and gained most by them.\n")


async def main() -> None:
    """Prints all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--simulated", action="store_true", help="only servers whose service time is stated")
    parser.add_argument("--real", action="store_true", help="only a vLLM on the processor")
    parser.add_argument("--profile", help="only the judges of this profile")
    parser.add_argument("--captions", type=int, help="200, or 60 on real servers")
    parser.add_argument("--seed", type=int, default=20)
    arguments = parser.parse_args()
    everything = not (arguments.simulated or arguments.real or arguments.profile)
    console.print(heading(), soft_wrap=True)
    if arguments.simulated or everything:
        await simulated(judge_requests(arguments.captions or 200, arguments.seed), arguments.seed)
    if arguments.real or everything:
        await real(judge_requests(arguments.captions or 60, arguments.seed))
    if arguments.profile:
        await profile(arguments.profile, judge_requests(arguments.captions or 60, arguments.seed))


if __name__ == "__main__":
    asyncio.run(main())
