"""How much runs at once, whichever way the graph is called."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig

from caslie_tools.domain import ImageRef, Verdict
from caslie_tools.graphs import Context, build_graph
from caslie_tools.graphs.run import CaslieGraph
from caslie_tools.roles.interfaces import CaptionRequest
from caslie_tools.store import CaptionStore
from tests.doubles import FunctionCaptioner, FunctionJudge, draw_picture
from tests.graphs.pipelines import pipeline_with

CONFIGS: list[RunnableConfig | None] = [
    None,
    {"max_concurrency": 1000},
    {"configurable": {"max_concurrency": 1000}},
]


class Gathering:
    """Lets nobody go on before so many have come, and then lets those who wait crowd in."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.inside = 0
        self.peak = 0
        self.complete = asyncio.Event()

    async def join(self) -> None:
        self.inside += 1
        self.peak = max(self.peak, self.inside)
        if self.inside == self.size:
            self.complete.set()
        await self.complete.wait()
        for _ in range(50):
            await asyncio.sleep(0)
        self.inside -= 1


class Crowd:
    """A graph with so many places for pictures and votes, and requests of several pictures, all different."""

    def __init__(self, store: CaptionStore, *, pictures: int = 3, votes: int = 5) -> None:
        self.captions = Gathering(pictures)
        self.votes = Gathering(votes)
        self.captioner = FunctionCaptioner(self.caption)
        self.judges = [FunctionJudge(self.vote, name=f"judge-{number}") for number in range(4)]
        pipeline = pipeline_with(
            store,
            captioners=[self.captioner],
            judges=self.judges,
            max_parallel_images=pictures,
            max_parallel_votes=votes,
            early_stop=False,
        )
        self.graph: CaslieGraph = build_graph(pipeline)
        self.requests: list[Any] = [
            {
                "task": "sr",
                "record": {"input": [f"{item}: mug" for item in range(6)], "options": ["A: pot", "B: pan"]},
                "images": [ImageRef(data=draw_picture(f"{number} {item}", size=(16, 16))) for item in range(8)],
            }
            for number in range(3)
        ]

    async def caption(self, request: object) -> str:
        await self.captions.join()
        return "Something."

    async def vote(self, request: object) -> Verdict:
        await self.votes.join()
        return "yes"

    def check(self, states: list[Any]) -> None:
        assert [len(state["image_results"]) for state in states] == [8] * len(states)
        assert self.captioner.calls == 8 * len(states)
        assert sum(judge.calls for judge in self.judges) == 4 * 8 * len(states)
        assert self.captions.peak == self.captions.size
        assert self.votes.peak == self.votes.size


@pytest.fixture
def crowd(store: CaptionStore) -> Crowd:
    return Crowd(store)


@pytest.mark.parametrize("config", CONFIGS)
async def test_one_request(crowd: Crowd, config: RunnableConfig | None) -> None:
    crowd.check([await crowd.graph.ainvoke(crowd.requests[0], config)])


@pytest.mark.parametrize("config", CONFIGS)
async def test_several_requests_at_once(crowd: Crowd, config: RunnableConfig | None) -> None:
    crowd.check(await asyncio.gather(*(crowd.graph.ainvoke(request, config) for request in crowd.requests)))


@pytest.mark.parametrize("config", CONFIGS)
async def test_an_asynchronous_batch(crowd: Crowd, config: RunnableConfig | None) -> None:
    crowd.check(await crowd.graph.abatch(crowd.requests, config))


@pytest.mark.parametrize("config", CONFIGS)
def test_synchronously(crowd: Crowd, config: RunnableConfig | None) -> None:
    crowd.check([crowd.graph.invoke(crowd.requests[0], config)])


@pytest.mark.parametrize("config", CONFIGS)
def test_a_synchronous_batch(crowd: Crowd, config: RunnableConfig | None) -> None:
    crowd.check(crowd.graph.batch(crowd.requests, config))


def test_threads_that_ask_at_once(crowd: Crowd) -> None:
    with ThreadPoolExecutor(3) as threads:
        crowd.check(list(threads.map(crowd.graph.invoke, crowd.requests)))


async def test_synchronously_inside_a_running_loop(crowd: Crowd) -> None:
    crowd.check([crowd.graph.invoke(crowd.requests[0])])


def test_one_at_a_time_if_so_set(store: CaptionStore) -> None:
    crowd = Crowd(store, pictures=1, votes=1)
    crowd.check([crowd.graph.invoke(crowd.requests[0])])


@pytest.mark.virtual_time
async def test_a_question_is_not_behind_all_the_pictures_of_another(store: CaptionStore) -> None:
    order: list[str] = []
    started, go_on = asyncio.Event(), asyncio.Event()

    async def caption(request: CaptionRequest) -> str:
        order.append(request.context.known)
        started.set()
        await go_on.wait()
        return "Something."

    graph = build_graph(pipeline_with(store, captioners=[FunctionCaptioner(caption)], max_parallel_images=1))

    def ask(title: str, pictures: int) -> asyncio.Task[Any]:
        images = [ImageRef(data=draw_picture(f"{title} {number}", size=(16, 16))) for number in range(pictures)]
        options = [f"{letter}: {title} {number}" for number, letter in enumerate("ABCDEFGH")]
        record = {"input": ["1: mug"], "options": options[: pictures - 1]}
        request: Any = {"task": "sr", "record": record, "images": images}
        return asyncio.create_task(graph.ainvoke(request, context=Context()))

    large = ask("large", 8)
    await started.wait()
    small = ask("small", 3)
    await asyncio.sleep(1)  # until the small one's pictures wait as well
    go_on.set()
    await asyncio.gather(large, small)
    last_of_small = max(number for number, focus in enumerate(order) if "small" in focus)
    assert last_of_small <= 6  # in turn, where first come first served had put all eight before
