import httpx
import pytest
from pydantic import SecretStr

from caslie_tools.backends.endpoints.responses import UnusableResponseError
from caslie_tools.backends.endpoints.transport import GuardedTransport


async def test_cookies_are_not_returned_and_the_key_is_added_to_a_copy_of_the_request() -> None:
    sent: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, headers={"Set-Cookie": "session=1"}, content=b"{}")

    transport = GuardedTransport(httpx.MockTransport(respond), api_key=SecretStr("sk-4711"), max_response_bytes=10)
    async with httpx.AsyncClient(transport=transport) as client:
        responses = [await client.get("http://server/v1/models") for _ in range(2)]
    assert [request.headers["Authorization"] for request in sent] == ["Bearer sk-4711"] * 2
    assert not any("Cookie" in request.headers for request in sent)
    assert not any("Authorization" in response.request.headers for response in responses)


@pytest.mark.parametrize(("content", "fits"), [(b"x" * 10, True), (b"x" * 11, False)])
async def test_a_response_is_read_up_to_its_limit(content: bytes, fits: bool) -> None:
    server = httpx.MockTransport(lambda request: httpx.Response(200, stream=httpx.ByteStream(content)))
    transport = GuardedTransport(server, api_key=None, max_response_bytes=10)
    async with httpx.AsyncClient(transport=transport) as client:
        if fits:
            assert (await client.get("http://server/")).content == content
        else:
            with pytest.raises(UnusableResponseError, match="larger than 10 bytes"):
                await client.get("http://server/")
