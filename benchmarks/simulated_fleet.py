"""A simulated fleet of judges: servers without a model, with configured service times, parallelism and votes.

Each server listens on a separate port and implements the chat completions of vLLM. All servers run in one separate
process. A request waits for a free place on the server and occupies it for its service time, which is a fixed time per
token of the prompt and per generated token. A token is a word. Each response has two tokens: the word and the end of
the turn.

Votes depend only on the seed, the judge and the prompt. A caption is helpful with probability 0.5, which is the
majority view. Each judge agrees with the majority view with a given probability, independently of the other judges. A
constraint on the response does not change the vote.
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
    """Behaviour and service times of a simulated server."""

    prompt_token_seconds: float = 0.0001
    """Service time per token of the prompt."""
    generated_token_seconds: float = 0.02
    """Service time per generated token."""
    places: int = 8
    """Number of requests that run at the same time, each at full speed. Further requests wait."""
    agreement: float = 0.8
    """Probability that a judge agrees with the majority view."""
    seed: int = 20

    def votes_yes(self, judge: str, prompt: str) -> bool:
        """Whether a judge votes yes on a prompt."""
        helps = _draw(self.seed, "", prompt) < 0.5
        return helps if _draw(self.seed, judge, prompt) < self.agreement else not helps

    def answer(self, judge: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the response of a judge as a JSON document."""
        yes = self.votes_yes(judge, json.dumps(body["messages"]))
        response = build_response(
            "/v1/chat/completions",
            body,
            models={judge: 4096},
            respond=lambda _: "Yes" if yes else "No",
            choose=lambda _, choices: sorted(choices, reverse=yes)[0],
        )
        assert isinstance(response, dict), response
        response["usage"]["completion_tokens"] += 1
        return response

    def seconds(self, usage: Mapping[str, int]) -> float:
        """Returns the service time of a request, without the time that it waits for a place."""
        generated = usage["completion_tokens"] * self.generated_token_seconds
        return usage["prompt_tokens"] * self.prompt_token_seconds + generated


def _draw(*key: object) -> float:
    """Returns a number in [0, 1) that depends only on the key."""
    digest = hashlib.sha256(json.dumps(key).encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


@contextmanager
def simulated_fleet(judges: Sequence[str], service: Service) -> Iterator[dict[str, str]]:
    """Runs the servers in a separate process. Yields the base URL of each judge."""
    receiver, sender = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_run, args=(tuple(judges), service, sender), daemon=True)
    process.start()
    sender.close()
    try:
        ports: list[int] = receiver.recv()
        yield {judge: f"http://127.0.0.1:{port}/v1" for judge, port in zip(judges, ports, strict=True)}
    finally:
        process.terminate()
        process.join()


def _run(judges: Sequence[str], service: Service, sender: Connection) -> None:
    asyncio.run(_serve_all(judges, service, sender))


async def _serve_all(judges: Sequence[str], service: Service, sender: Connection) -> None:
    listening = [await _listen(judge, service) for judge in judges]
    sender.send([server.sockets[0].getsockname()[1] for server in listening])
    await asyncio.Event().wait()  # until the process is terminated


async def _listen(judge: str, service: Service) -> asyncio.Server:
    places = asyncio.Semaphore(service.places)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(EOFError, ConnectionError):  # the client has closed the connection
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
