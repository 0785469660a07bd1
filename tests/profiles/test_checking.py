"""Checks of a small real server that has one fault each."""

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
from caslie_tools.testing.openai_responses import images

pytestmark = pytest.mark.virtual_time


def describe(body: Any) -> str:
    """Returns a different text for every image."""
    return f"picture {len(images(body)[0])}" if images(body) else "apple"


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer(respond=describe) as running:
        yield running


def role(server: FaultyServer, **fields: Any) -> dict[str, Any]:
    return {"urls": (server.url,), "model": "model", "max_attempts": 1} | fields


def failed(report: RoleReport) -> dict[str, str]:
    return {finding.probe: finding.detail for finding in report.findings if not finding.passed}


async def test_a_faultless_server_passes_in_every_role(server: FaultyServer) -> None:
    settings = ProfileSettings(
        name="mine",
        captioners=(EndpointCaptionerSettings(**role(server)),),
        judges=(
            EndpointJudgeSettings(**role(server), name="a"),
            EndpointJudgeSettings(**role(server), name="b", sees_image=True),
        ),
        predictor=EndpointPredictorSettings(**role(server)),
        embeddings=EndpointEmbeddingsSettings(**role(server)),
    )
    reports = await check_profile(settings)
    assert [report.role for report in reports] == ["captioner", "judge 1", "judge 2", "predictor", "embeddings"]
    assert {report.role: failed(report) for report in reports if not report.passed} == {}
    assert all(report.milliseconds is not None for report in reports)


async def test_a_model_that_is_not_served_is_reported(server: FaultyServer) -> None:
    report = await check_role("judge", EndpointJudgeSettings(**role(server, model="another")))
    assert failed(report) == {"served": "another is not served there; served: model"}


@pytest.mark.parametrize(("prompt", "probes"), [("completion", ["served", "BOS"]), ("chat", ["served"])])
async def test_a_predictor_that_samples_needs_no_constraint(prompt: Any, probes: list[str]) -> None:
    async with FaultyServer() as server:
        server.default_fault = Fault.UNCONSTRAINED
        settings = EndpointPredictorSettings(**role(server), prompt=prompt, decoding="sampled")
        report = await check_role("predictor", settings)
    assert [finding.probe for finding in report.findings] == probes
    assert report.passed


async def test_a_context_that_is_too_short_is_reported() -> None:
    async with FaultyServer(models={"model": 1024}) as server:
        report = await check_role("predictor", EndpointPredictorSettings(**role(server)))
    assert "its context has 1024 tokens, 4096 are needed" in failed(report)["served"]


async def test_a_server_that_does_not_listen_is_reported(server: FaultyServer) -> None:
    settings = EndpointJudgeSettings(**role(server))
    await server.stop()
    report = await check_role("judge", settings)
    assert "check that the server runs" in failed(report)["served"]
    assert report.milliseconds is None


async def test_a_wrong_key_is_reported_and_not_shown() -> None:
    async with FaultyServer(api_key="right") as server:
        report = await check_role("judge", EndpointJudgeSettings(**role(server, api_key="wrong-key")))
    assert "set its API key" in failed(report)["served"]
    assert "wrong-key" not in repr(report)


@pytest.mark.parametrize("settings", [EndpointJudgeSettings, EndpointPredictorSettings])
async def test_an_ignored_constraint_is_reported(server: FaultyServer, settings: type[EndpointSettings]) -> None:
    server.default_fault = Fault.UNCONSTRAINED
    report = await check_role("role", settings(**role(server)))
    assert "ignored the constraint" in failed(report)["constraint"]


async def test_missing_log_probabilities_are_reported(server: FaultyServer) -> None:
    server.default_fault = Fault.NO_LOGPROBS
    report = await check_role("judge", EndpointJudgeSettings(**role(server)))
    assert set(failed(report)) == {"log-probabilities"}


async def test_dropped_images_are_reported(server: FaultyServer) -> None:
    server.default_fault = Fault.IMAGES_DROPPED
    report = await check_role("captioner", EndpointCaptionerSettings(**role(server)))
    assert "do not reach the model" in failed(report)["image seen"]


async def test_every_replica_is_checked(server: FaultyServer) -> None:
    async with FaultyServer(models={"another": 4096}) as stranger:
        report = await check_role("judge", EndpointJudgeSettings(**role(server, urls=(server.url, stranger.url))))
    assert not report.passed
    (detail,) = failed(report).values()
    assert stranger.url in detail


async def test_a_server_that_hangs_is_reported_at_the_deadline(server: FaultyServer) -> None:
    server.faults = [Fault.HANG]
    report = await check_role("judge", EndpointJudgeSettings(**role(server, timeout_seconds=0.3)))
    assert "did not finish within 0.3 s" in failed(report)["served"]


def profile(*servers: FaultyServer, **fields: Any) -> ProfileSettings:
    settings = role(servers[0], urls=tuple(server.url for server in servers)) | fields
    return ProfileSettings(
        name="mine",
        captioners=(EndpointCaptionerSettings(**settings),),
        judges=(EndpointJudgeSettings(**settings),),
        predictor=EndpointPredictorSettings(**settings),
    )


async def test_a_start_only_requests_the_list_of_models(server: FaultyServer) -> None:
    await require_served(profile(server))
    assert {received.path for received in server.requests} == {"/v1/models"}


@pytest.mark.parametrize("fault", [Fault.HTTP_500, Fault.HTTP_401, Fault.GARBAGE])
async def test_a_start_fails_with_the_findings_of_the_check(server: FaultyServer, fault: Fault) -> None:
    server.default_fault = fault
    detail = failed(await check_role("judge", EndpointJudgeSettings(**role(server))))["served"]
    with pytest.raises(EndpointUnavailableError) as caught:
        await require_served(profile(server))
    assert f"judge: {detail}" in str(caught.value)
    assert "caslie endpoints check mine" in str(caught.value)


async def test_a_start_names_every_role_whose_model_is_not_served(server: FaultyServer) -> None:
    with pytest.raises(EndpointUnavailableError) as caught:
        await require_served(profile(server, model="another"))
    for role in ("captioner", "judge", "predictor"):
        assert f"{role}: another is not served there; served: model" in str(caught.value)


async def test_a_start_needs_only_one_replica(server: FaultyServer) -> None:
    async with FaultyServer() as other:
        await other.stop()
        await require_served(profile(server, other))
        await server.stop()
        with pytest.raises(EndpointUnavailableError, match="check that the server runs"):
            await require_served(profile(server, other))


async def test_a_replica_with_another_model_prevents_the_start(server: FaultyServer) -> None:
    async with FaultyServer(models={"another": 4096}) as stranger:
        with pytest.raises(EndpointUnavailableError, match=f"{stranger.url}: model is not served there"):
            await require_served(profile(server, stranger))
