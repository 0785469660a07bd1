"""Measures a whole question: latency per step, overhead of the graph, saved judge calls, and import time.

python benchmarks/main_job.py [--profile embedded] [--requests 300]
"""

import argparse
import asyncio
import operator
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.runnables import RunnableLambda
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from machine import heading
from rich.console import Console
from rich.table import Table
from typing_extensions import TypedDict

from caslie_tools import CQE, Caslie, JudgeRequest, Models, Profile, QueryContext, Settings, Vote
from caslie_tools.domain import Answer, CaptionDraft
from caslie_tools.sample import DEMO_QUESTIONS, catalogue_path

console = Console()
STEPS = ("validate", "retrieve", "caption", "gate", "review", "predict", "save_captions", "total")
QUESTIONS = [
    *((asked.question, asked.product, asked.where) for asked in DEMO_QUESTIONS),
    ("What colour is it?", "fjord-jacket", None),
    ("Is there a light for my bike that survives rain?", None, None),
    ("How many watts does it deliver?", None, "price<100"),
]


def percentile(values: Sequence[float], share: float) -> float:
    """Returns a percentile by the nearest-rank method. ``share`` is between 0 and 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]


def latency_per_step(profile: str) -> None:
    """Asks each question twice: first without cached captions for it, then with them."""
    with tempfile.TemporaryDirectory() as folder, Caslie.open(Path(folder) / "store", profile=profile) as caslie:
        report = caslie.index(catalogue_path())
        rows: dict[str, dict[str, list[float]]] = {"cold": defaultdict(list), "cached": defaultdict(list)}
        images = made = 0
        for state in rows:
            for question, product, where in QUESTIONS:
                response = caslie.ask(question, products=(product,) if product else (), where=where)
                for step, milliseconds in response.to_json()["timings_ms"].items():
                    rows[state][step].append(milliseconds)
                if state == "cold":
                    images += len(response.image_results)
                    made += sum(
                        result.caption is not None and result.caption.source == "generated"
                        for result in response.image_results
                    )
    table = Table("milliseconds per question", *STEPS, title=f"Latency per step, profile {profile}")
    for state, timings in rows.items():
        table.add_row(f"{state}, median", *(f"{statistics.median(timings[step]):.1f}" for step in STEPS))
        table.add_row(f"{state}, worst", *(f"{max(timings[step]):.1f}" for step in STEPS))
    console.print(table)
    console.print(
        f"{len(QUESTIONS)} questions, {images} images, {made} captions generated when cold. The times of caption and "
        "gate are summed over a question's images, which are processed in parallel. Indexing "
        f"{report.products} products with {report.images} images before that took {report.seconds:.1f} s, including "
        "the loading of the models.\n"
    )


class BareState(TypedDict, total=False):
    """The state of a graph of the same shape."""

    question: str
    image_results: Annotated[list[int], operator.add]
    answer: str


class BareImage(TypedDict, total=False):
    """One branch of the bare graph."""

    index: int
    image_results: Annotated[list[int], operator.add]


class BareOutput(TypedDict, total=False):
    """The result of a branch."""

    image_results: Annotated[list[int], operator.add]


def bare_graph(branches: int) -> Any:
    """Returns a graph with the same nodes and edges as ours, whose nodes do nothing. It shows the cost of LangGraph."""

    async def nothing(state: Any) -> dict[str, Any]:
        return {"answer": "yes"}

    async def result(state: BareImage) -> BareImage:
        return {"index": state["index"]}

    async def judged(state: BareImage) -> BareImage:
        return {"image_results": [state["index"]]}

    inner = StateGraph(BareImage, output_schema=BareOutput)
    inner.add_node("caption", result)
    inner.add_node("gate", judged)
    inner.add_edge(START, "caption")
    inner.add_conditional_edges("caption", lambda state: "gate", ["gate", END])
    inner.add_edge("gate", END)
    outer = StateGraph(BareState)
    for name in ("validate", "retrieve", "review", "predict", "save_captions"):
        outer.add_node(name, nothing)
    outer.add_node("image", inner.compile(), input_schema=BareImage)
    outer.add_edge(START, "validate")
    outer.add_edge("validate", "retrieve")
    outer.add_conditional_edges(
        "retrieve", lambda state: [Send("image", {"index": index}) for index in range(branches)], ["image", "predict"]
    )
    for before, after in (
        ("image", "review"),
        ("review", "predict"),
        ("predict", "save_captions"),
        ("save_captions", END),
    ):
        outer.add_edge(before, after)
    return outer.compile()


def instant(answer: Any, name: str) -> RunnableLambda[Any, Any]:
    """Returns a model that responds at once."""

    async def at_once(request: Any) -> Any:
        return answer

    return RunnableLambda(at_once, name=name)


def instant_profile() -> Profile:
    """Returns a profile of models that respond at once, so that only our own time is measured."""
    models = Models(
        captioners=[instant(CaptionDraft(text="A red mug of 350 ml."), "captioner")],
        judges=[instant(Vote(judge=f"judge-{number}", verdict="yes"), f"judge-{number}") for number in range(5)],
        predictor=instant(Answer(text="yes", answerable=True), "predictor"),
    )
    return Profile(name="instant", embeddings=DeterministicFakeEmbedding(size=384), models=lambda store: models)


async def timed(request: Callable[[], Awaitable[object]]) -> float:
    """Returns the time of a request in milliseconds."""
    started = time.perf_counter()
    await request()
    return (time.perf_counter() - started) * 1000


async def overhead(requests: int) -> None:
    """Compares our graph, with instant models and a real store, to a bare LangGraph graph of the same shape."""
    with Caslie.open(tempfile.mkdtemp(), profile=instant_profile(), settings=Settings()) as caslie:
        await caslie.aindex(catalogue_path())
        response = await caslie.aask("Which bottle holds 750 ml?")  # generates the captions; later requests reuse them
        branches = len(response.image_results)
        bare = bare_graph(branches)
        ours: list[float] = []
        baseline: list[float] = []
        for number in range(requests + 20):
            pair = (
                await timed(lambda: bare.ainvoke({"question": "?"})),
                await timed(lambda: caslie.aask("Which bottle holds 750 ml?")),
            )
            if number >= 20:  # warm-up
                baseline.append(pair[0])
                ours.append(pair[1])
    table = Table("milliseconds per request", "p50", "p99", title=f"Overhead without model time, {branches} images")
    for name, values in (("bare LangGraph graph of the same shape", baseline), ("caslie, captions cached", ours)):
        table.add_row(name, f"{percentile(values, 0.5):.2f}", f"{percentile(values, 0.99):.2f}")
    table.add_row(
        "difference",
        f"{percentile(ours, 0.5) - percentile(baseline, 0.5):.2f}",
        f"{percentile(ours, 0.99) - percentile(baseline, 0.99):.2f}",
    )
    console.print(table)
    console.print(
        f"{requests} requests each, alternating. The requests to caslie include the product search, the lookup of "
        "captions (SQLite), the votes of instant judges, fusion and validation.\n"
    )


class Jury:
    """Five judges with given verdicts for each caption. Counts the calls."""

    def __init__(self, verdicts: Sequence[Sequence[Any]]) -> None:
        self.verdicts = verdicts
        self.calls = 0

    def vote(self, request: JudgeRequest, position: int) -> Vote:
        """Returns the given verdict for a caption. The text of the caption is its number."""
        self.calls += 1
        return Vote(judge=str(position), verdict=self.verdicts[int(request.caption)][position])

    async def decide(self, *, early_stop: bool) -> list[bool]:
        """Returns for each caption whether it is kept."""
        judges = [RunnableLambda(partial(self.vote, position=position), name=str(position)) for position in range(5)]
        gate = CQE(judges, early_stop=early_stop)
        context = QueryContext(task="product_qa")
        requests = [JudgeRequest(context=context, caption=str(number)) for number in range(len(self.verdicts))]
        return [(await gate.ainvoke(request)).kept for request in requests]


async def judge_calls(captions: int) -> None:
    """Compares stopping early with asking the full jury, for the same judges and captions."""
    table = Table(
        "judge agrees with",
        "calls, full jury",
        "calls, early stop",
        "expected",
        "saved",
        "same verdict",
        title="Judge calls per caption, jury of five",
    )
    for agreement in (0.6, 0.8, 0.95):
        generator = random.Random(20)  # noqa: S311 (a simulation, seeded so that it repeats)
        verdicts = [["yes" if generator.random() < agreement else "no" for _ in range(5)] for _ in range(captions)]
        early, full = Jury(verdicts), Jury(verdicts)
        decisions = [await early.decide(early_stop=True), await full.decide(early_stop=False)]
        same = sum(a == b for a, b in zip(*decisions, strict=True))
        table.add_row(
            f"the majority, P = {agreement}",
            f"{full.calls / captions:.2f}",
            f"{early.calls / captions:.2f}",
            f"{expected_calls(agreement):.2f}",
            f"{1 - early.calls / full.calls:.0%}",
            f"{same} of {captions}",
        )
    console.print(table)
    console.print()


def expected_calls(agreement: float) -> float:
    """Returns the expected number of votes until three of five judges agree."""

    def remaining(yes: int, no: int) -> float:
        if yes == 3 or no == 3:
            return 0.0
        return 1 + agreement * remaining(yes + 1, no) + (1 - agreement) * remaining(yes, no + 1)

    return remaining(0, 0)


def import_time() -> None:
    """Measures the time of imports, each in a new interpreter."""
    table = Table("milliseconds, best of 7", "import", title="Import time")
    statements = (
        "pass",
        "import caslie_tools",
        "from langgraph.graph import StateGraph",
        "from caslie_tools import Caslie",
    )
    for statement in statements:
        times = []
        for _ in range(7):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True)  # noqa: S603 (our own statements)
            times.append((time.perf_counter() - started) * 1000)
        table.add_row("bare interpreter" if statement == "pass" else statement, f"{min(times):.0f}")
    console.print(table)


def main() -> None:
    """Parses the command line and runs all measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--profile", default="embedded")
    parser.add_argument("--requests", type=int, default=300)
    arguments = parser.parse_args()
    console.print(heading(), soft_wrap=True)
    latency_per_step(arguments.profile)
    asyncio.run(overhead(arguments.requests))
    asyncio.run(judge_calls(2000))
    import_time()


if __name__ == "__main__":
    main()
