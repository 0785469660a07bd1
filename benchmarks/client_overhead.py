"""What our client adds to a judge's call, beside a bare HTTP client that sends the very same bytes."""

import asyncio
import http.client
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from judge_strategies import Counters

from caslie_tools import JudgeRequest, ModelJudge
from caslie_tools.backends.endpoints.endpoint import Endpoint
from caslie_tools.backends.endpoints.language_model import EndpointLanguageModel
from caslie_tools.backends.endpoints.settings import EndpointJudgeSettings
from caslie_tools.testing import FaultyServer

SERVER_SECONDS = "vllm:e2e_request_latency_seconds_sum"
SERVER_REQUESTS = "vllm:e2e_request_latency_seconds_count"


@dataclass
class Timings:
    """One number per call, in seconds."""

    wall: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)
    """As the server measures it, from a request's arrival to its last token."""
    processor: list[float] = field(default_factory=list)
    """Of the client's process."""

    @property
    def outside(self) -> list[float]:
        """Spent outside of what the server measures: in the client, in sockets and in the server's HTTP layer."""
        return [wall - server for wall, server in zip(self.wall, self.server, strict=True)]


async def overhead(
    settings: EndpointJudgeSettings, requests: Sequence[JudgeRequest], *, warm_up: JudgeRequest, counters: Counters
) -> tuple[Timings, Timings]:
    """Sends every other request through our client, the rest through the bare one, one at a time.

    No prompt is sent twice, so none is found whole in the prefix cache.

    Returns:
        Ours, and the bare client's.
    """
    endpoint = Endpoint(settings)
    judge = ModelJudge(EndpointLanguageModel(endpoint))
    bare = BareClient(settings)
    bodies = await sent_bodies(settings, [*requests, warm_up])
    ours, floor = Timings(), Timings()
    try:
        await judge.ainvoke(warm_up)
        await bare.post(bodies[-1])
        for number, (request, body) in enumerate(zip(requests, bodies, strict=False)):
            if number % 2:
                await _timed(lambda body=body: bare.post(body), floor, counters)  # type: ignore[misc]
            else:
                await _timed(lambda request=request: judge.ainvoke(request), ours, counters)  # type: ignore[misc]
    finally:
        bare.close()
        await endpoint.aclose()
    return ours, floor


async def sent_bodies(settings: EndpointJudgeSettings, requests: Sequence[JudgeRequest]) -> list[bytes]:
    """Returns the bodies that our judge sends, as a server that has no model receives them."""
    async with FaultyServer(models={settings.model: settings.context_length}) as server:
        endpoint = Endpoint(settings.model_copy(update={"urls": (server.url,), "api_key": None}))
        judge = ModelJudge(EndpointLanguageModel(endpoint))
        for request in requests:
            await judge.ainvoke(request)
        await endpoint.aclose()
        return [json.dumps(received.body).encode() for received in server.requests]


class BareClient:
    """The least there is: the standard library's client on one connection, the body made beforehand, no answer read."""

    def __init__(self, settings: EndpointJudgeSettings) -> None:
        parts = urlsplit(settings.urls[0])
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        self._path = f"{parts.path}/chat/completions"
        self._headers = {"Content-Type": "application/json"}
        if settings.api_key is not None:
            self._headers["Authorization"] = f"Bearer {settings.api_key.get_secret_value()}"

    async def post(self, body: bytes) -> bytes:
        """Sends one request; nothing else runs meanwhile, so it may as well block."""
        self._connection.request("POST", self._path, body, self._headers)
        return self._connection.getresponse().read()

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()


async def _timed(call: Callable[[], Awaitable[object]], timings: Timings, counters: Counters) -> None:
    before = counters()
    processor, started = time.process_time(), time.perf_counter()
    await call()
    timings.wall.append(time.perf_counter() - started)
    timings.processor.append(time.process_time() - processor)
    after = counters()
    while after[SERVER_REQUESTS] == before[SERVER_REQUESTS]:  # it counts a moment after it has answered
        await asyncio.sleep(0.01)
        after = counters()
    timings.server.append(after[SERVER_SECONDS] - before[SERVER_SECONDS])
