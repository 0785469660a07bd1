"""Finds out whether live endpoints do what the roles need, before anybody waits for a wrong answer.

Servers that answer but are wrong are the expensive ones: a constraint that is ignored, an image that is dropped, a
model other than the one meant, a second BOS token. Each probe here comes out differently on such a server.
"""

import asyncio
import base64
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from PIL import Image, ImageDraw

from caslie_tools.backends.endpoints.endpoint import Endpoint
from caslie_tools.backends.endpoints.language_model import image_message, text_message
from caslie_tools.backends.endpoints.responses import Completion
from caslie_tools.backends.endpoints.settings import (
    EndpointCaptionerSettings,
    EndpointEmbeddingsSettings,
    EndpointJudgeSettings,
    EndpointPredictorSettings,
    EndpointSettings,
)
from caslie_tools.backends.transformers.settings import TransformersSettings
from caslie_tools.domain import FrozenModel
from caslie_tools.exceptions import EndpointError, EndpointTimeoutError, EndpointUnavailableError
from caslie_tools.profiles.settings import ProfileSettings

_UNLIKELY = ("qzx", "vwj")
"""No model says these of its own accord: an answer among them was constrained."""
_START_SECONDS = 10.0
"""How long a start waits for one server at most."""
_FRUIT = "Name a fruit. Answer with one word."


_IMPLIED = {"log-probabilities": "constraint"}
"""A probe that fails wherever another one has; all others fail where the model is not served."""


class Finding(FrozenModel):
    """One probe's outcome."""

    probe: str
    passed: bool
    detail: str


class RoleReport(FrozenModel):
    """What was found out about one role's endpoint."""

    role: str
    model: str
    urls: tuple[str, ...]
    findings: tuple[Finding, ...]
    milliseconds: float | None = None
    """Of one short answer."""

    @property
    def passed(self) -> bool:
        """Whether every probe passed."""
        return all(finding.passed for finding in self.findings)


async def check_profile(settings: ProfileSettings) -> list[RoleReport]:
    """Checks every role of a profile against its live servers, all at once; of one in this process it says so."""
    served = await asyncio.gather(*(check_role(name, role) for name, role in settings.served_roles.items()))
    return [*served, *(_unserved(name, role) for name, role in settings.in_process_roles.items())]


def _unserved(role: str, settings: TransformersSettings) -> RoleReport:
    finding = Finding(probe="in this process", passed=True, detail="no server to check; nothing was loaded")
    return RoleReport(role=role, model=settings.identity, urls=(), findings=(finding,))


async def check_role(role: str, settings: EndpointSettings) -> RoleReport:
    """Checks one role's endpoint, every replica of it; never raises because of what a server does."""
    findings: list[Finding] = []
    milliseconds = None
    for url in settings.urls:
        async with _replica(settings, url) as endpoint:
            failed: set[str] = set()
            for name, probe in [("served", _served), *_probes(settings)]:
                if failed & {"served", _IMPLIED.get(name)}:
                    continue  # it would say the same in other words
                finding = await _outcome(name, probe, endpoint, settings)
                findings.append(finding.model_copy(update={"detail": _placed(finding.detail, url, settings)}))
                if not finding.passed:
                    failed.add(name)
            if "served" not in failed:
                milliseconds = await _latency(endpoint, settings)
    return RoleReport(
        role=role, model=settings.model, urls=settings.urls, findings=tuple(findings), milliseconds=milliseconds
    )


async def require_served(settings: ProfileSettings) -> None:
    """The cheap part of the check, for a start: are the servers there, and do they serve the models?

    A replica that cannot be reached is no reason not to start where another one can.

    Raises:
        EndpointUnavailableError: If they are not; with the words of the whole check.
    """
    roles = settings.served_roles
    found = await asyncio.gather(*(_served_anywhere(role) for role in roles.values()))
    wrong = [f"{role}: {detail}" for role, details in zip(roles, found, strict=True) for detail in details]
    if wrong:
        raise EndpointUnavailableError(
            f"the profile {settings.name!r} is not ready: {'; '.join(wrong)}. "
            f"Run `caslie endpoints check {settings.name}` for the whole picture"
        )


async def _served_anywhere(settings: EndpointSettings) -> list[str]:
    """What is wrong with a role's replicas, if it keeps the role from being used."""
    # Asked once, and not for long: whoever starts waits for it.
    hasty = settings.model_copy(
        update={"max_attempts": 1, "timeout_seconds": min(settings.timeout_seconds, _START_SECONDS)}
    )
    good: list[str] = []
    wrong: list[str] = []
    gone: list[str] = []
    for url in settings.urls:
        async with _replica(hasty, url) as endpoint:
            try:
                passed, detail = await _served(endpoint, settings)
                (good if passed else wrong).append(_placed(detail, url, settings))
            except (EndpointUnavailableError, EndpointTimeoutError) as error:
                gone.append(_placed(str(error), url, settings))
            except EndpointError as error:
                wrong.append(_placed(str(error), url, settings))
    return wrong if good else wrong + gone


@asynccontextmanager
async def _replica(settings: EndpointSettings, url: str) -> AsyncIterator[Endpoint]:
    endpoint = Endpoint(settings.model_copy(update={"urls": (url,)}))
    try:
        yield endpoint
    finally:
        await endpoint.aclose()


def _placed(detail: str, url: str, settings: EndpointSettings) -> str:
    """Names the replica, where there are several."""
    return f"{url}: {detail}" if len(settings.urls) > 1 else detail


Probe = Callable[[Endpoint, EndpointSettings], Awaitable[tuple[bool, str]]]


def _probes(settings: EndpointSettings) -> list[tuple[str, Probe]]:
    match settings:
        case EndpointCaptionerSettings():
            return [("image seen", _image_seen)]
        case EndpointJudgeSettings(sees_image=True):
            return [("constraint", _constraint), ("log-probabilities", _logprobs), ("image seen", _image_seen)]
        case EndpointJudgeSettings() | EndpointPredictorSettings(prompt="chat"):
            return [("constraint", _constraint), ("log-probabilities", _logprobs)]
        case EndpointPredictorSettings():
            return [("constraint", _constraint), ("log-probabilities", _logprobs), ("BOS", _bos)]
        case EndpointEmbeddingsSettings():
            return [("vectors", _vectors)]
        case _:
            return []


async def _outcome(name: str, probe: Probe, endpoint: Endpoint, settings: EndpointSettings) -> Finding:
    try:
        passed, detail = await probe(endpoint, settings)
    except EndpointError as error:
        passed, detail = False, str(error)
    return Finding(probe=name, passed=passed, detail=detail)


async def _served(endpoint: Endpoint, settings: EndpointSettings) -> tuple[bool, str]:
    models = {model.id: model for model in await endpoint.models()}
    if settings.model not in models:
        return False, f"{settings.model} is not served there; served: {', '.join(sorted(models)) or 'nothing'}"
    length = models[settings.model].max_model_len
    if length is not None and length < settings.context_length:
        return False, f"it takes {length} tokens, {settings.context_length} are needed: --max-model-len"
    return True, "served" if length is None else f"{length} tokens"


async def _ask(endpoint: Endpoint, settings: EndpointSettings, choice: Sequence[str] | None) -> Completion:
    if isinstance(settings, EndpointPredictorSettings) and settings.prompt == "completion":
        return await endpoint.complete(_FRUIT, max_tokens=8, choice=choice, top_logprobs=5)
    return await endpoint.chat(text_message(_FRUIT), max_tokens=8, choice=choice, top_logprobs=5)


async def _constraint(endpoint: Endpoint, settings: EndpointSettings) -> tuple[bool, str]:
    answer = await _ask(endpoint, settings, _UNLIKELY)  # an answer of another kind is an error of the client already
    return answer.text.strip() in _UNLIKELY, "binds"


async def _logprobs(endpoint: Endpoint, settings: EndpointSettings) -> tuple[bool, str]:
    answer = await _ask(endpoint, settings, ("yes", "no"))
    if not answer.top_logprobs or not answer.top_logprobs[0]:
        return False, "none came with a constrained answer: votes would have no probability"
    return True, "present"


async def _image_seen(endpoint: Endpoint, settings: EndpointSettings) -> tuple[bool, str]:
    question = "What is the main colour of this picture? Answer with one word."

    async def result(colour: str) -> Completion:
        return await endpoint.chat(image_message(_picture(colour), question), max_tokens=4, top_logprobs=5)

    red, blue = await result("red"), await result("blue")
    if (red.text, red.top_logprobs) == (blue.text, blue.top_logprobs):
        return False, "two different pictures give the very same answer: images do not reach the model"
    return True, "two pictures, two answers"


async def _bos(endpoint: Endpoint, settings: EndpointSettings) -> tuple[bool, str]:
    prompt = "[INST] Which fruit"
    bare = await endpoint.prompt_tokens(prompt, add_special_tokens=False)
    sent = await endpoint.prompt_tokens(prompt, add_special_tokens=True)
    if bare is None or sent is None:
        return True, "the server does not show its tokens: not checked"
    added = sent[: len(sent) - len(bare)]
    if sent[len(added) :] != bare or len(added) > 1 or (added and bare[:1] == added):
        return False, f"{len(added)} special tokens come before a raw prompt, and it must be one at most"
    return True, "one" if added else "none"


async def _vectors(endpoint: Endpoint, settings: EndpointSettings) -> tuple[bool, str]:
    first, again, other = await endpoint.embed(["a red mug", "a red mug", "garden hose, 20 m"])
    if not len(first) == len(again) == len(other) > 0:
        return False, "vectors of different lengths"
    if any(abs(a - b) > 1e-2 for a, b in zip(first, again, strict=True)):
        return False, "one text has two vectors"
    if first == other:
        return False, "two texts have the same vector"
    return True, f"{len(first)} numbers"


async def _latency(endpoint: Endpoint, settings: EndpointSettings) -> float | None:
    started = time.perf_counter()
    try:
        if isinstance(settings, EndpointEmbeddingsSettings):
            await endpoint.embed(["a red mug"])
        else:
            await _ask(endpoint, settings, None)
    except EndpointError:
        return None
    return round((time.perf_counter() - started) * 1000, 1)


def _picture(colour: str) -> str:
    picture = Image.new("RGB", (336, 336), colour)
    # Not one flat colour: a server that hashes images coarsely must not take the two for one.
    ImageDraw.Draw(picture).ellipse((60, 60, 200, 200) if colour == "red" else (150, 120, 300, 300), fill="white")
    file = io.BytesIO()
    picture.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
