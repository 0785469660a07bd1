"""The check names the right fault, on a small real server that has it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from caslie_tools.backends.endpoints.settings import (
    EndpointCaptionerSettings,
    EndpointEmbeddingsSettings,
    EndpointJudgeSettings,
    EndpointPredictorSettings,
    EndpointSettings,
)
from caslie_tools.exceptions import EndpointUnavailableError
from caslie_tools.profiles.checking import RoleReport, check_profile, check_role, require_served
from caslie_tools.profiles.settings import ProfileSettings
from caslie_tools.testing import Fault, FaultyServer
from caslie_tools.testing.openai_answers import images


def says(body: Any) -> str:
    """A model that sees: it says something else of every picture."""
    return f"picture {len(images(body)[0])}" if images(body) else "apple"


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer(says=says) as running:
        yield running


def where(server: FaultyServer, **fields: Any) -> dict[str, Any]:
    return {"urls": (server.url,), "model": "model", "timeout_seconds": 2.0, "max_attempts": 1} | fields


def wrong(report: RoleReport) -> dict[str, str]:
    return {finding.probe: finding.detail for finding in report.findings if not finding.passed}


async def test_a_sound_server_passes_in_every_role(server: FaultyServer) -> None:
    settings = ProfileSettings(
        name="mine",
        captioners=(EndpointCaptionerSettings(**where(server)),),
        judges=(
            EndpointJudgeSettings(**where(server), name="a"),
            EndpointJudgeSettings(**where(server), name="b", sees_image=True),
        ),
        predictor=EndpointPredictorSettings(**where(server)),
        embeddings=EndpointEmbeddingsSettings(**where(server)),
    )
    reports = await check_profile(settings)
    assert [report.role for report in reports] == ["captioner", "judge 1", "judge 2", "predictor", "embeddings"]
    assert {report.role: wrong(report) for report in reports if not report.passed} == {}
    assert all(report.milliseconds is not None for report in reports)


async def test_a_model_that_is_not_served(server: FaultyServer) -> None:
    report = await check_role("judge", EndpointJudgeSettings(**where(server, model="another")))
    assert wrong(report) == {"served": "another is not served there; served: model"}


async def test_a_context_that_is_too_short() -> None:
    async with FaultyServer(models={"model": 1024}) as server:
        report = await check_role("predictor", EndpointPredictorSettings(**where(server)))
    assert "1024 tokens, 4096 are needed" in wrong(report)["served"]


async def test_nobody_there(server: FaultyServer) -> None:
    settings = EndpointJudgeSettings(**where(server))
    await server.stop()
    report = await check_role("judge", settings)
    assert "check that the server runs" in wrong(report)["served"]
    assert report.milliseconds is None


async def test_a_wrong_key() -> None:
    async with FaultyServer(api_key="right") as server:
        report = await check_role("judge", EndpointJudgeSettings(**where(server, api_key="wrong-key")))
    assert "set its API key" in wrong(report)["served"]
    assert "wrong-key" not in repr(report)


@pytest.mark.parametrize("settings", [EndpointJudgeSettings, EndpointPredictorSettings])
async def test_a_constraint_that_is_ignored(server: FaultyServer, settings: type[EndpointSettings]) -> None:
    server.otherwise = Fault.UNCONSTRAINED
    report = await check_role("role", settings(**where(server)))
    assert "ignored the constraint" in wrong(report)["constraint"]


async def test_log_probabilities_that_are_missing(server: FaultyServer) -> None:
    server.otherwise = Fault.NO_LOGPROBS
    report = await check_role("judge", EndpointJudgeSettings(**where(server)))
    assert set(wrong(report)) == {"log-probabilities"}


async def test_images_that_are_dropped(server: FaultyServer) -> None:
    server.otherwise = Fault.BLIND
    report = await check_role("captioner", EndpointCaptionerSettings(**where(server)))
    assert "do not reach the model" in wrong(report)["image seen"]


async def test_every_replica_is_checked(server: FaultyServer) -> None:
    async with FaultyServer(models={"another": 4096}) as stranger:
        report = await check_role("judge", EndpointJudgeSettings(**where(server, urls=(server.url, stranger.url))))
    assert not report.passed
    (detail,) = wrong(report).values()
    assert stranger.url in detail


async def test_a_server_that_hangs_ends_at_the_deadline(server: FaultyServer) -> None:
    server.faults = [Fault.HANG]
    report = await check_role("judge", EndpointJudgeSettings(**where(server, timeout_seconds=0.3)))
    assert "did not finish within 0.3 s" in wrong(report)["served"]


def profile(*servers: FaultyServer, **fields: Any) -> ProfileSettings:
    role = where(servers[0], urls=tuple(server.url for server in servers)) | fields
    return ProfileSettings(
        name="mine",
        captioners=(EndpointCaptionerSettings(**role),),
        judges=(EndpointJudgeSettings(**role),),
        predictor=EndpointPredictorSettings(**role),
    )


async def test_a_start_only_asks_what_is_served(server: FaultyServer) -> None:
    await require_served(profile(server))
    assert {received.path for received in server.requests} == {"/v1/models"}


@pytest.mark.parametrize("fault", [Fault.HTTP_500, Fault.HTTP_401, Fault.GARBAGE])
async def test_a_start_fails_with_the_words_of_the_check(server: FaultyServer, fault: Fault) -> None:
    server.otherwise = fault
    told = wrong(await check_role("judge", EndpointJudgeSettings(**where(server))))["served"]
    with pytest.raises(EndpointUnavailableError) as caught:
        await require_served(profile(server))
    assert f"judge: {told}" in str(caught.value)
    assert "caslie endpoints check mine" in str(caught.value)


async def test_a_start_names_every_role_with_the_wrong_model(server: FaultyServer) -> None:
    with pytest.raises(EndpointUnavailableError) as caught:
        await require_served(profile(server, model="another"))
    for role in ("captioner", "judge", "predictor"):
        assert f"{role}: another is not served there; served: model" in str(caught.value)


async def test_a_start_needs_one_replica_only(server: FaultyServer) -> None:
    async with FaultyServer() as other:
        await other.stop()
        await require_served(profile(server, other))
        await server.stop()
        with pytest.raises(EndpointUnavailableError, match="check that the server runs"):
            await require_served(profile(server, other))


async def test_a_replica_with_another_model_keeps_from_starting(server: FaultyServer) -> None:
    async with FaultyServer(models={"another": 4096}) as stranger:
        with pytest.raises(EndpointUnavailableError, match=f"{stranger.url}: model is not served there"):
            await require_served(profile(server, stranger))
