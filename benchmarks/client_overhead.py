"""Measures the time that our client adds to a judge's call, compared to a bare HTTP client with the same requests."""

import asyncio
import http.client
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

from judge_strategies import Counters

from caslie_tools import JudgeRequest, ModelJudge
from caslie_tools.backends.endpoints.endpoint import Endpoint
from caslie_tools.backends.endpoints.language_model import EndpointLanguageModel
from caslie_tools.backends.endpoints.settings import EndpointJudgeSettings
from caslie_tools.testing import FaultyServer

SERVER_SECONDS = "vllm:e2e_request_latency_seconds_sum"
_Request = TypeVar("_Request")
SERVER_REQUESTS = "vllm:e2e_request_latency_seconds_count"


@dataclass
class Timings:
    """Times of calls in seconds, one number per call."""

    wall: list[float] = field(default_factory=list)
    """Elapsed time of the call."""
    server: list[float] = field(default_factory=list)
    """Time that the server reports, from the arrival of a request to its last token."""
    processor: list[float] = field(default_factory=list)
    """Processor time of the client's process."""

    @property
    def outside(self) -> list[float]:
        """Time outside the server's own measurement: in the client, in sockets and in the server's HTTP layer."""
        return [wall - server for wall, server in zip(self.wall, self.server, strict=True)]


async def overhead(
    settings: EndpointJudgeSettings, requests: Sequence[JudgeRequest], *, warm_up: JudgeRequest, counters: Counters
) -> tuple[Timings, Timings]:
    """Sends every other request through our client and the rest through the bare client, one request at a time.

    Each prompt is sent only once, so the prefix cache never contains a whole prompt.

    Returns:
        The timings of our client and those of the bare client.
    """
    endpoint = Endpoint(settings)
    judge = ModelJudge(EndpointLanguageModel(endpoint))
    bare = BareClient(settings)
    bodies = await sent_bodies(settings, [*requests, warm_up])
    ours, baseline = Timings(), Timings()
    try:
        await judge.ainvoke(warm_up)
        await bare.post(bodies[-1])
        for number, (request, body) in enumerate(zip(requests, bodies, strict=False)):
            if number % 2:
                await _timed(bare.post, body, baseline, counters)
            else:
                await _timed(judge.ainvoke, request, ours, counters)
    finally:
        bare.close()
        await endpoint.aclose()
    return ours, baseline


async def sent_bodies(settings: EndpointJudgeSettings, requests: Sequence[JudgeRequest]) -> list[bytes]:
    """Returns the request bodies that our judge sends, recorded by a test server without a model."""
    async with FaultyServer(models={settings.model: settings.context_length}) as server:
        endpoint = Endpoint(settings.model_copy(update={"urls": (server.url,), "api_key": None}))
        judge = ModelJudge(EndpointLanguageModel(endpoint))
        for request in requests:
            await judge.ainvoke(request)
        await endpoint.aclose()
        return [json.dumps(received.body).encode() for received in server.requests]


class BareClient:
    """A minimal client: the standard library's HTTP client on one connection. It does not parse the response."""

    def __init__(self, settings: EndpointJudgeSettings) -> None:
        parts = urlsplit(settings.urls[0])
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        self._path = f"{parts.path}/chat/completions"
        self._headers = {"Content-Type": "application/json"}
        if settings.api_key is not None:
            self._headers["Authorization"] = f"Bearer {settings.api_key.get_secret_value()}"

    async def post(self, body: bytes) -> bytes:
        """Sends one request. It blocks the event loop, which has no other work during the measurement."""
        self._connection.request("POST", self._path, body, self._headers)
        return self._connection.getresponse().read()

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()


async def _timed(
    send: Callable[[_Request], Awaitable[object]], request: _Request, timings: Timings, counters: Counters
) -> None:
    before = counters()
    processor, started = time.process_time(), time.perf_counter()
    await send(request)
    timings.wall.append(time.perf_counter() - started)
    timings.processor.append(time.process_time() - processor)
    after = counters()
    while (
        after[SERVER_REQUESTS] == before[SERVER_REQUESTS]
    ):  # the server updates its counters shortly after the response
        await asyncio.sleep(0.01)
        after = counters()
    timings.server.append(after[SERVER_SECONDS] - before[SERVER_SECONDS])
