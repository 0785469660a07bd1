"""Two strategies for judging captions with models on endpoints: the reference's and ours. Both use the same client."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableLambda

from caslie_tools import CQE, JudgeRequest, ModelJudge, Vote
from caslie_tools.backends.endpoints.endpoint import Endpoint
from caslie_tools.backends.endpoints.language_model import EndpointLanguageModel, text_message
from caslie_tools.backends.endpoints.responses import Completion
from caslie_tools.backends.endpoints.settings import EndpointJudgeSettings
from caslie_tools.domain import GateDecision
from caslie_tools.roles.interfaces import Judge
from caslie_tools.roles.prompts import judge_prompt
from caslie_tools.tasks.answers import parse_yes_no

FREE_TOKENS = 16
"""Most tokens of a free response: enough for yes or no with a few words around it."""

Counters = Callable[[], Mapping[str, float]]
"""Returns the servers' own counters. The mapping is empty if the servers have no counters."""


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A way of asking a jury."""

    name: str
    free: bool = False
    """Whether all judges are asked and generate freely. If false, votes are constrained and asked in waves that stop
    early."""
    captions: int
    """Number of captions that are judged at the same time."""
    votes: int
    """Number of votes that are cast at the same time, over all captions."""


REFERENCE = Strategy(name="reference", free=True, captions=1, votes=1)
"""Asks all judges, one after another, one caption after another. Responses are generated freely."""


@dataclass
class Usage:
    """Number of calls and tokens, as reported in the servers' responses."""

    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def add(self, completion: Completion) -> None:
        """Adds one response."""
        self.calls += 1
        self.prompt_tokens += completion.prompt_tokens or 0
        self.cached_tokens += completion.cached_tokens or 0
        self.completion_tokens += completion.completion_tokens or 0


class MeteredEndpoint(Endpoint):
    """An endpoint that records its usage."""

    def __init__(self, settings: EndpointJudgeSettings) -> None:
        super().__init__(settings)
        self.usage = Usage()

    async def chat(self, *args: Any, **kwargs: Any) -> Completion:
        """Sends a chat request and records its usage."""
        completion = await super().chat(*args, **kwargs)
        self.usage.add(completion)
        return completion


def free_judge(endpoint: MeteredEndpoint, settings: EndpointJudgeSettings) -> Judge:
    """Returns the reference's judge, which generates freely. A response without yes or no is an abstention.

    Two of the reference's judges sample. Here all judges use greedy decoding, so that votes can be compared.
    """

    async def vote(request: JudgeRequest) -> Vote:
        prompt = judge_prompt(request.context, request.caption)
        completion = await endpoint.chat(text_message(prompt), max_tokens=FREE_TOKENS)
        return Vote(judge=settings.name, verdict=parse_yes_no(completion.text) or "abstain", reason=completion.text)

    return RunnableLambda(vote, name=settings.name)


def constrained_judge(endpoint: MeteredEndpoint, settings: EndpointJudgeSettings) -> Judge:
    """Returns a judge as profiles with endpoints use it."""
    return ModelJudge(EndpointLanguageModel(endpoint), name=settings.name)


@dataclass(frozen=True, kw_only=True)
class Run:
    """The result of a strategy."""

    strategy: Strategy
    decisions: Sequence[GateDecision]
    usage: Usage
    seconds: float
    cache_lookups: int | None
    """Prompt tokens that the servers looked up in their prefix caches, or ``None`` if they do not report it."""
    cache_hits: int | None
    """Prompt tokens that were in the prefix caches, or ``None`` if the servers do not report it."""

    @property
    def failed(self) -> int:
        """Number of votes that failed, for example because of a timeout."""
        return sum(vote.failure is not None for decision in self.decisions for vote in decision.votes)


async def run(
    strategy: Strategy,
    jury: Sequence[EndpointJudgeSettings],
    requests: Sequence[JudgeRequest],
    *,
    warm_up: JudgeRequest,
    counters: Counters = dict,
) -> Run:
    """Judges all captions.

    Args:
        strategy: The strategy.
        jury: Settings of the judges.
        requests: The captions.
        warm_up: A further caption, which is judged first to open the connections. It is not measured.
        counters: Returns the servers' own counters.
    """
    endpoints = [MeteredEndpoint(settings) for settings in jury]
    make = free_judge if strategy.free else constrained_judge
    judges = [make(endpoint, settings) for endpoint, settings in zip(endpoints, jury, strict=True)]
    gate = CQE(judges, early_stop=not strategy.free, max_concurrency=strategy.votes)
    try:
        await gate.ainvoke(warm_up, ask_all=True)
        usage = Usage()
        for endpoint in endpoints:
            endpoint.usage = usage
        before = counters()
        started = time.perf_counter()
        decisions = await gate.abatch(list(requests), {"max_concurrency": strategy.captions})
        seconds = time.perf_counter() - started
        after = counters()
    finally:
        for endpoint in endpoints:
            await endpoint.aclose()

    def increase(name: str) -> int | None:
        return round(after[name] - before[name]) if name in after else None

    return Run(
        strategy=strategy,
        decisions=decisions,
        usage=usage,
        seconds=seconds,
        cache_lookups=increase("vllm:prefix_cache_queries_total"),
        cache_hits=increase("vllm:prefix_cache_hits_total"),
    )
