"""Two ways to let models on endpoints judge captions: the reference's, and ours. Both through the same client."""

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
"""Reads the servers' own counters; empty where they have none."""


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """How a jury is asked."""

    name: str
    free: bool = False
    """Every judge is asked and generates freely, in place of waves of constrained votes that stop early."""
    captions: int
    """Under way at once."""
    votes: int
    """Under way at once, over all captions."""


REFERENCE = Strategy(name="reference", free=True, captions=1, votes=1)
"""All judges, one after the other, one caption after the other, answers generated in full."""


@dataclass
class Usage:
    """What was asked of the servers, as their answers count it."""

    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def add(self, answer: Completion) -> None:
        """Counts one answer."""
        self.calls += 1
        self.prompt_tokens += answer.prompt_tokens or 0
        self.cached_tokens += answer.cached_tokens or 0
        self.completion_tokens += answer.completion_tokens or 0


class MeteredEndpoint(Endpoint):
    """An endpoint that adds up what its chats cost."""

    def __init__(self, settings: EndpointJudgeSettings) -> None:
        super().__init__(settings)
        self.usage = Usage()

    async def chat(self, *args: Any, **kwargs: Any) -> Completion:
        """Asks, and counts."""
        answer = await super().chat(*args, **kwargs)
        self.usage.add(answer)
        return answer


def free_judge(endpoint: MeteredEndpoint, settings: EndpointJudgeSettings) -> Judge:
    """Makes the reference's judge: it generates freely, and its words are read; neither yes nor no abstains.

    Where two of the reference's judges sample, all of these take the likeliest token, so that votes can be compared.
    """

    async def vote(request: JudgeRequest) -> Vote:
        prompt = judge_prompt(request.context, request.caption)
        answer = await endpoint.chat(text_message(prompt), max_tokens=FREE_TOKENS)
        return Vote(judge=settings.name, verdict=parse_yes_no(answer.text) or "abstain", reason=answer.text)

    return RunnableLambda(vote, name=settings.name)


def constrained_judge(endpoint: MeteredEndpoint, settings: EndpointJudgeSettings) -> Judge:
    """Makes a judge as every profile of endpoints has it."""
    return ModelJudge(EndpointLanguageModel(endpoint), name=settings.name)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What came of a strategy."""

    strategy: Strategy
    decisions: Sequence[GateDecision]
    usage: Usage
    seconds: float
    cache_lookups: int | None
    """Prompt tokens the servers looked up in their prefix caches, and ``None`` where they do not tell."""
    cache_hits: int | None
    """Those of them found there."""

    @property
    def failed(self) -> int:
        """Votes that failed, for example by running out of time."""
        return sum(vote.reason.startswith("failed:") for one in self.decisions for vote in one.votes)


async def run(
    strategy: Strategy,
    jury: Sequence[EndpointJudgeSettings],
    requests: Sequence[JudgeRequest],
    *,
    warm_up: JudgeRequest,
    counters: Counters = dict,
) -> Run:
    """Lets a jury decide about every caption, on connections that one other caption has opened."""
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

    def grown(name: str) -> int | None:
        return round(after[name] - before[name]) if name in after else None

    return Run(
        strategy=strategy,
        decisions=decisions,
        usage=usage,
        seconds=seconds,
        cache_lookups=grown("vllm:prefix_cache_queries_total"),
        cache_hits=grown("vllm:prefix_cache_hits_total"),
    )
