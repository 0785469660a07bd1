"""The profile of chat models, through langchain-openai against a real HTTP server."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from langchain_openai.chat_models import _client_utils

from caslie_tools import Caslie
from caslie_tools.exceptions import ModelError, SettingsError
from caslie_tools.profiles.chat import ChatSettings, chat_profile
from caslie_tools.profiles.named import load_profile
from caslie_tools.testing import Fault, FaultyServer
from tests.doubles import light_products

KEY = "sk-secret-hunter2"


def respond(body: Mapping[str, Any]) -> str:
    """A model that captions, judges and answers: the test recognises the role by the message."""
    content = body["messages"][-1]["content"]
    sees_image = not isinstance(content, str)
    text = " ".join(part.get("text", "") for part in content) if sees_image else content
    if "yes or no" in text.lower():
        return "yes"
    return "The mug holds 350 ml." if sees_image else "It holds 350 ml."


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FaultyServer]:
    async with FaultyServer(models={"seeing": 8192, "reading": 8192}, api_key=KEY, respond=respond) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_MAX_RETRIES", "0")
        yield running


def models_asked(server: FaultyServer) -> list[str]:
    return [request.body["model"] for request in server.requests if request.path.endswith("completions")]


async def ask(tmp_path: Path, settings: ChatSettings) -> Any:
    profile = chat_profile(settings)
    with Caslie.open(tmp_path / "store", profile=profile) as caslie:
        mug = light_products(tmp_path)[0]
        caslie.store.put_products([(mug, [await caslie.pipeline.loader.load(ref) for ref in mug.images])])
        try:
            return await caslie.aask("How much does it hold?", products=["mug"])
        finally:
            # langchain-openai keeps one HTTP client per address for the life of the process.
            predictor: Any = profile.models(caslie.store).predictor
            await predictor.model.model.root_async_client.close()
            _client_utils._cached_async_httpx_client.cache_clear()


async def test_one_model_plays_every_role(server: FaultyServer, tmp_path: Path) -> None:
    response = await ask(tmp_path, ChatSettings(model="openai:seeing", input_price=1, output_price=10))

    assert response.answer == "It holds 350 ml."
    (result,) = response.image_results
    assert result.caption.text == "The mug holds 350 ml."
    assert [(vote.judge, vote.verdict) for vote in result.decision.votes] == [
        ("helps (openai:seeing)", "yes"),
        ("true (openai:seeing)", "yes"),
    ]
    assert models_asked(server) == ["seeing"] * 4
    usage = response.usage
    assert usage.calls == 4
    assert usage.cost == pytest.approx((usage.prompt_tokens + 10 * usage.completion_tokens) / 1e6)
    assert response.to_json()["usage"]["calls"] == 4


async def test_a_role_may_have_another_model(server: FaultyServer, tmp_path: Path) -> None:
    settings = ChatSettings(
        model="openai:reading", captioner="openai:seeing", judges="openai:reading, openai:seeing", predictor=""
    )
    response = await ask(tmp_path, settings)

    assert [vote.judge for vote in response.image_results[0].decision.votes] == [
        "helps (openai:reading)",
        "helps (openai:seeing)",
    ]  # the third vote was not needed
    assert models_asked(server).count("reading") == 2
    assert response.usage.cost is None


async def test_an_error_of_the_provider_shows_no_key(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.default_fault = Fault.HTTP_401
    with pytest.raises(ModelError) as failed:
        await ask(tmp_path, ChatSettings(model="openai:seeing"))
    assert "hunter2" not in str(failed.value)


def test_the_profile_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASLIE_CHAT_MODEL", "openai:seeing")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    profile = load_profile("chat")
    assert profile.name == "chat"
    assert KEY not in repr(profile)


def test_embeddings_of_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    profile = chat_profile(ChatSettings(model="openai:seeing", embeddings="openai:text-embedding-3-small"))
    assert type(profile.embeddings).__name__ == "OpenAIEmbeddings"
    assert profile.image_embeddings is None


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "needs CASLIE_CHAT_MODEL, for example"),
        ({"CASLIE_CHAT_MODEL": "openai:m", "CASLIE_CHAT_INPUT_PRICE": KEY}, "needs CASLIE_CHAT_INPUT_PRICE"),
        ({"CASLIE_CHAT_MODEL": "nobody:m"}, "the model 'nobody:m' cannot be created"),
        ({"CASLIE_CHAT_MODEL": "anthropic:claude"}, "langchain-anthropic"),
        ({"CASLIE_CHAT_MODEL": "openai:m"}, "OPENAI_API_KEY"),
    ],
)
def test_what_is_missing_is_named(environment: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=message) as failed:
        load_profile("chat")
    assert KEY not in str(failed.value)
