"""Compares two strategies for judging captions: the reference's and ours, with the same prompts and servers in one run.

``python benchmarks/judging.py [--simulated] [--real] [--profile NAME] [--captions N]``

The reference asks five judges one after another, one caption after another. Each judge generates up to 16 tokens, from
which the vote is parsed. Our strategy constrains each vote to yes or no, asks in waves that stop early, and judges
several captions at the same time. Both use the same prompts, the same client and greedy decoding.

``--simulated`` runs on simulated servers with configured service times (``simulated_fleet.py``). ``--real`` runs on a
vLLM server without a GPU, which serves one tiny model under five names. By default, both parts run. ``--profile NAME``
runs on the judges of a profile instead.
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
    """Draws distinct pairs of a caption and a question: one pair for the warm-up, then ``captions`` pairs to measure.

    The captions describe the images of the sample catalogue.
    """
    products = [row for row in read_catalogue(catalogue_path()) if isinstance(row, Product)]
    shown = {drawing.file: (drawing.colour, ", ".join(drawing.facts) or "nothing") for drawing in DRAWINGS}
    pairs = [
        JudgeRequest(
            context=PRODUCT_QA.places(product_question(question, [product]))[0].context,
            caption=f"{product.title} in {shown[image.label][0]}. The label says: {shown[image.label][1]}.",
        )
        for question in QUESTIONS
        for product in products
        for image in product.images
    ]
    if captions >= len(pairs):
        raise SystemExit(
            f"there are only {len(pairs) - 1} distinct pairs of a caption and a question; pass a smaller --captions"
        )
    return random.Random(seed).sample(pairs, captions + 1)  # noqa: S311 (a repeatable choice, no secret)


async def compare_strategies(
    servers: str,
    jury: Sequence[EndpointJudgeSettings],
    requests: Sequence[JudgeRequest],
    strategies: Sequence[Strategy],
    *,
    counters: Counters = dict,
    clear_cache: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Runs our strategies and then the reference's, and prints the results.

    Args:
        servers: Description of the servers, for the title of the table.
        jury: Settings of the judges.
        requests: The captions. The first caption is the warm-up.
        strategies: Our strategies.
        counters: Returns the servers' own counters.
        clear_cache: Clears the prefix caches between strategies.
    """
    warm_up, *judged = requests
    runs: list[Run] = []
    for strategy in (*strategies, REFERENCE):
        if runs and clear_cache is not None:
            await clear_cache()
        runs.append(await run(strategy, jury, judged, warm_up=warm_up, counters=counters))
    *ours, reference = runs
    print_runs(f"{len(judged)} captions judged on {servers}", [reference, *ours])
    for result in ours:
        found = compare(reference.decisions, result.decisions)
        console.print(
            f"{_label(result)}: {reference.seconds / result.seconds:.1f} times the reference's throughput; verdicts "
            f"equal in {found.same} of {found.captions}, {found.by_abstentions} differ only by abstentions, "
            f"{found.by_votes} by a vote; of {found.votes} votes that a judge cast in both, {found.same_votes} are "
            "equal."
        )


def print_runs(title: str, runs: Sequence[Run]) -> None:
    """Prints the cost of the strategies."""
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
    """Compares the strategies on five simulated servers."""
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
    """Compares the strategies on a vLLM server without a GPU, which serves one tiny model under five names."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.vllm import environment, fleet

    if not environment.interpreter().is_file() or not environment.MODELS.is_dir():
        console.print("The real part is skipped because vLLM is not built. Run `make test-vllm` to build it.")
        return
    with fleet.text_server() as server:

        async def clear_cache() -> None:
            await asyncio.to_thread(server.restart)

        jury = [
            EndpointJudgeSettings(urls=(f"{server.url}/v1",), model=name, api_key=server.api_key)
            for name in fleet.JUDGES
        ]
        await compare_strategies(
            "a real vLLM", jury, requests, (ONE_BY_ONE, BY_DEFAULT), counters=server.metrics, clear_cache=clear_cache
        )
        console.print(
            "The server is restarted before each strategy, so that no strategy finds the prefixes of another.\n"
        )
        await clear_cache()
        warm_up, *judged = requests
        print_overhead(*await overhead(jury[0], judged, warm_up=warm_up, counters=server.metrics))


def print_overhead(ours: Timings, bare: Timings) -> None:
    """Prints the time that our client adds to a call."""
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
    """Compares the strategies on the judges of a profile."""
    judges = load_profile_settings(name).judges
    jury = [judge for judge in judges if isinstance(judge, EndpointJudgeSettings) and not judge.sees_image]
    if not jury:
        raise SystemExit(f"the profile {name} has no judge on an endpoint that judges without the image")
    await compare_strategies(f"the judges of the profile {name}", jury, requests, (BY_DEFAULT, WIDE))
    console.print(
        "The prefix caches of the servers were not cleared. The reference ran last and gained most from them.\n"
    )


async def main() -> None:
    """Parses the command line and runs the selected parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--simulated", action="store_true", help="run only the simulated part")
    parser.add_argument("--real", action="store_true", help="run only the part on a vLLM server without a GPU")
    parser.add_argument("--profile", help="run only on the judges of this profile")
    parser.add_argument("--captions", type=int, help="number of captions; default 200, or 60 on real servers")
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
