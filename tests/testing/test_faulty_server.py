import asyncio

import httpx
import pytest

from caslie_tools.testing import Fault, FaultyServer

IMAGE = "data:image/png;base64,"


def with_image(picture: str) -> dict[str, object]:
    content = [{"type": "image_url", "image_url": {"url": IMAGE + picture}}, {"type": "text", "text": "What is it?"}]
    return {"model": "model", "messages": [{"role": "user", "content": content}]}


async def post(server: FaultyServer, path: str, body: object) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(f"{server.url}{path}", json=body)


async def test_faults_are_used_in_order_and_later_requests_succeed() -> None:
    async with FaultyServer() as server:
        server.faults = [Fault.HTTP_500, Fault.OK, Fault.HTTP_429]
        server.faults_at = {"/v1/models": [Fault.HTTP_404]}
        async with httpx.AsyncClient(trust_env=False) as client:
            statuses = [(await client.get(f"{server.url}/models")).status_code for _ in range(5)]
    assert statuses == [404, 500, 200, 429, 200]
    assert [received.fault for received in server.requests] == [
        *(Fault.HTTP_404, Fault.HTTP_500, Fault.OK, Fault.HTTP_429, Fault.OK)
    ]
    assert server.connections_made == 1


async def test_two_images_have_different_token_counts() -> None:
    async with FaultyServer() as server:
        first, second, again = [
            (await post(server, "/chat/completions", with_image(picture))).json()["usage"]["prompt_tokens"]
            for picture in ("AAAA", "BBBB", "AAAA")
        ]
        server.default_fault = Fault.IMAGES_DROPPED
        dropped = [
            (await post(server, "/chat/completions", with_image(picture))).json()["usage"]["prompt_tokens"]
            for picture in ("AAAA", "BBBB")
        ]
    assert first == again != second
    assert dropped[0] == dropped[1] < min(first, second)


async def test_the_test_chooses_the_text_of_a_response() -> None:
    async with FaultyServer(respond=lambda body: str(body["prompt"]).upper()) as server:
        answer = (await post(server, "/completions", {"model": "model", "prompt": "say"})).json()
    assert answer["choices"][0]["text"] == "SAY"


@pytest.mark.parametrize(("path", "model"), [("/completions", "another"), ("/nowhere", "model")])
async def test_an_unknown_model_or_path_is_not_found(path: str, model: str) -> None:
    async with FaultyServer() as server:
        assert (await post(server, path, {"model": model})).status_code == 404


async def test_the_health_path_responds() -> None:
    async with FaultyServer() as server, httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(server.url.removesuffix("/v1") + "/health")).status_code == 200


async def test_an_invalid_request_only_ends_its_connection() -> None:
    async with FaultyServer() as server:
        port = int(server.url.split(":")[2].split("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"nonsense\r\n\r\n")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        assert (await post(server, "/embeddings", {"model": "model", "input": "one"})).status_code == 200


async def test_requests_may_be_pipelined_on_one_connection() -> None:
    async with FaultyServer() as server:
        port = int(server.url.split(":")[2].split("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /health HTTP/1.1\r\n\r\n" * 3)
        for _ in range(3):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
        writer.close()
        await writer.wait_closed()


async def test_the_token_ids_of_a_raw_prompt_are_returned_on_request() -> None:
    async def tokens(prompt: str, **arguments: object) -> object:
        answer = (await post(server, "/completions", {"model": "model", "prompt": prompt, **arguments})).json()
        return answer["choices"][0].get("prompt_token_ids")

    async with FaultyServer() as server:
        assert await tokens("a b") is None
        bare = await tokens("a b", return_token_ids=True, add_special_tokens=False)
        assert isinstance(bare, list)
        assert len(bare) == 2
        assert await tokens("a b", return_token_ids=True) == [1, *bare]
        assert await tokens("<s>a b", return_token_ids=True) == [1, 1, *bare]  # the text has a BOS token already
        server.faults = [Fault.DOUBLE_BOS]
        assert await tokens("a b", return_token_ids=True) == [1, 1, *bare]
