"""Five judges on five servers that only take time: a fleet whose service time, parallelism and votes are stated.

Each server listens on a port of its own, in one process beside ours, and speaks chat completions as vLLM does. A
request waits until one of the server's places is free and holds it for its service time: so much for each token of the
prompt and for each token generated. Tokens are words, and every answer is two: the word and the end of the turn.

Votes are a function of seed, judge and prompt: whether a caption helps is even odds, and each judge agrees with that
majority view with a given probability, independently. Asked freely or under a constraint, it says the same.
"""

import asyncio
import hashlib
import json
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from caslie_tools.testing.openai_responses import build_response


@dataclass(frozen=True, kw_only=True)
class Service:
    """What a simulated server does, and how long it takes."""

    prompt_token_seconds: float = 0.0001
    generated_token_seconds: float = 0.02
    places: int = 8
    """Requests it works on at once, each at full speed; more wait in line."""
    agreement: float = 0.8
    """How likely a judge agrees with the majority view."""
    seed: int = 20

    def votes_yes(self, judge: str, prompt: str) -> bool:
        """Whether a judge votes yes on a prompt."""
        helps = _draw(self.seed, "", prompt) < 0.5
        return helps if _draw(self.seed, judge, prompt) < self.agreement else not helps

    def answer(self, judge: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the JSON document that a judge answers a request with."""
        yes = self.votes_yes(judge, json.dumps(body["messages"]))
        if choices := body.get("structured_outputs", {}).get("choice"):
            # The first choice is the one that is taken.
            body = {**body, "structured_outputs": {"choice": sorted(choices, reverse=yes)}}
        response = build_response(
            "/v1/chat/completions", body, models={judge: 4096}, respond=lambda _: "Yes" if yes else "No"
        )
        assert isinstance(response, dict), response
        response["usage"]["completion_tokens"] += 1
        return response

    def seconds(self, usage: Mapping[str, int]) -> float:
        """Returns how long a request takes once it has its place."""
        generated = usage["completion_tokens"] * self.generated_token_seconds
        return usage["prompt_tokens"] * self.prompt_token_seconds + generated


def _draw(*key: object) -> float:
    """Returns a number from 0 to below 1 that the key alone decides."""
    digest = hashlib.sha256(json.dumps(key).encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


@contextmanager
def simulated_fleet(judges: Sequence[str], service: Service) -> Iterator[dict[str, str]]:
    """Runs the servers in a process of their own; yields each judge's base URL."""
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_run, args=(tuple(judges), service, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        ports: list[int] = ours.recv()
        yield {judge: f"http://127.0.0.1:{port}/v1" for judge, port in zip(judges, ports, strict=True)}
    finally:
        process.terminate()
        process.join()


def _run(judges: Sequence[str], service: Service, told: Connection) -> None:
    asyncio.run(_serve_all(judges, service, told))


async def _serve_all(judges: Sequence[str], service: Service, told: Connection) -> None:
    listening = [await _listen(judge, service) for judge in judges]
    told.send([server.sockets[0].getsockname()[1] for server in listening])
    await asyncio.Event().wait()  # until the process is ended


async def _listen(judge: str, service: Service) -> asyncio.Server:
    places = asyncio.Semaphore(service.places)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(EOFError, ConnectionError):  # the client has left
            while True:
                made = service.answer(judge, await _receive(reader))
                async with places:
                    await asyncio.sleep(service.seconds(made["usage"]))
                content = json.dumps(made).encode()
                head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
                writer.write(head.encode() + content)
                await writer.drain()
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


async def _receive(reader: asyncio.StreamReader) -> dict[str, Any]:
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    body: dict[str, Any] = json.loads(await reader.readexactly(int(lengths[0].split(b":")[1])))
    return body
