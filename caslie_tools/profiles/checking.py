"""Checks the servers of a profile: all their properties on request, or only their presence at a start."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from caslie_tools.backends.endpoints.endpoint import Endpoint
from caslie_tools.backends.endpoints.settings import EndpointEmbeddingsSettings, EndpointSettings
from caslie_tools.backends.transformers.settings import TransformersSettings
from caslie_tools.domain import FrozenModel
from caslie_tools.exceptions import EndpointError, EndpointTimeoutError, EndpointUnavailableError
from caslie_tools.profiles.probes import Probe, ask, probe_served, probes_for
from caslie_tools.profiles.settings import ProfileSettings

_START_SECONDS: Final = 10.0
"""Most seconds that a start waits for one server."""


class Finding(FrozenModel):
    """The result of one probe."""

    probe: str
    passed: bool
    detail: str


class RoleReport(FrozenModel):
    """The results of all probes of one role's endpoint."""

    role: str
    model: str
    urls: tuple[str, ...]
    findings: tuple[Finding, ...]
    milliseconds: float | None = None
    """Time of one short call; ``None`` if it failed."""

    @property
    def passed(self) -> bool:
        """Whether every probe passed."""
        return all(finding.passed for finding in self.findings)


async def check_profile(settings: ProfileSettings) -> list[RoleReport]:
    """Checks every role of a profile against its live servers, all at once.

    A role whose model runs in this process has nothing to check, and its report says so.
    """
    reports = await asyncio.gather(*(check_role(name, role) for name, role in settings.served_roles.items()))
    return [*reports, *(_in_process_report(name, role) for name, role in settings.in_process_roles.items())]


def _in_process_report(role: str, settings: TransformersSettings) -> RoleReport:
    finding = Finding(probe="in this process", passed=True, detail="no server to check; nothing was loaded")
    return RoleReport(role=role, model=settings.identity, urls=(), findings=(finding,))


async def check_role(role: str, settings: EndpointSettings) -> RoleReport:
    """Checks every replica of a role's endpoint. A failure of a server is a finding, not an error."""
    findings: list[Finding] = []
    milliseconds = None
    for url in settings.urls:
        async with _replica(settings, url) as endpoint:
            failed: set[str] = set()
            for probe in probes_for(settings):
                if failed.intersection(probe.requires):
                    continue  # it would fail for the same reason
                finding = await _run(probe, endpoint, settings)
                findings.append(finding.model_copy(update={"detail": _with_url(finding.detail, url, settings)}))
                if not finding.passed:
                    failed.add(probe.name)
            if "served" not in failed:
                milliseconds = await _measure_latency(endpoint, settings)
    return RoleReport(
        role=role, model=settings.model, urls=settings.urls, findings=tuple(findings), milliseconds=milliseconds
    )


async def require_served(settings: ProfileSettings) -> None:
    """Checks at a start that the servers can be reached and serve the models.

    A replica that cannot be reached does not prevent the start if another one can.

    Raises:
        EndpointUnavailableError: If a role has no usable server, with the findings of :func:`check_role`.
    """
    roles = settings.served_roles
    found = await asyncio.gather(*(_problems(role) for role in roles.values()))
    problems = [f"{role}: {problem}" for role, each in zip(roles, found, strict=True) for problem in each]
    if problems:
        raise EndpointUnavailableError(
            f"the profile {settings.name!r} is not ready: {'; '.join(problems)}. "
            f"Run `caslie endpoints check {settings.name}` for a full report"
        )


async def _problems(settings: EndpointSettings) -> list[str]:
    """Returns why a role cannot be used: replicas that serve the wrong model, or the failures of all replicas."""
    # One attempt with a short deadline: the user waits for the start.
    impatient = settings.model_copy(
        update={"max_attempts": 1, "timeout_seconds": min(settings.timeout_seconds, _START_SECONDS)}
    )
    usable: list[str] = []
    wrong: list[str] = []
    unavailable: list[str] = []
    for url in settings.urls:
        async with _replica(impatient, url) as endpoint:
            try:
                passed, detail = await probe_served(endpoint, settings)
                (usable if passed else wrong).append(_with_url(detail, url, settings))
            except (EndpointUnavailableError, EndpointTimeoutError) as error:
                unavailable.append(_with_url(str(error), url, settings))
            except EndpointError as error:
                wrong.append(_with_url(str(error), url, settings))
    return wrong if usable else wrong + unavailable


@asynccontextmanager
async def _replica(settings: EndpointSettings, url: str) -> AsyncIterator[Endpoint]:
    endpoint = Endpoint(settings.model_copy(update={"urls": (url,)}))
    try:
        yield endpoint
    finally:
        await endpoint.aclose()


def _with_url(detail: str, url: str, settings: EndpointSettings) -> str:
    """Adds the URL of the replica if there are several."""
    return f"{url}: {detail}" if len(settings.urls) > 1 else detail


async def _run(probe: Probe, endpoint: Endpoint, settings: EndpointSettings) -> Finding:
    try:
        passed, detail = await probe.run(endpoint, settings)
    except EndpointError as error:
        passed, detail = False, str(error)
    return Finding(probe=probe.name, passed=passed, detail=detail)


async def _measure_latency(endpoint: Endpoint, settings: EndpointSettings) -> float | None:
    started = time.perf_counter()
    try:
        if isinstance(settings, EndpointEmbeddingsSettings):
            await endpoint.embed(["a red mug"])
        else:
            await ask(endpoint, settings)
    except EndpointError:
        return None
    return round((time.perf_counter() - started) * 1000, 1)
