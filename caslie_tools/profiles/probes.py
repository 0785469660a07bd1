"""Probes of a live endpoint: does it do what a role needs?

The most expensive faults are wrong responses, because they raise no error: a server ignores a constraint, drops an
image, serves another model, or adds a second BOS token. Each probe fails on a server that has its fault.
"""

import base64
import io
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from PIL import Image, ImageDraw

from caslie_tools.backends.endpoints.endpoint import Endpoint
from caslie_tools.backends.endpoints.failures import sanitize
from caslie_tools.backends.endpoints.language_model import image_message, text_message
from caslie_tools.backends.endpoints.responses import Completion
from caslie_tools.backends.endpoints.settings import (
    EndpointCaptionerSettings,
    EndpointEmbeddingsSettings,
    EndpointJudgeSettings,
    EndpointPredictorSettings,
    EndpointSettings,
    EndpointVisionPredictorSettings,
)

_UNLIKELY: Final = ("qzx", "vwj")
"""No unconstrained model writes these."""
_FRUIT: Final = "Name a fruit. Answer with one word."


class ProbeResult(NamedTuple):
    """Whether a probe passed, and what it found."""

    passed: bool
    detail: str


class Probe(NamedTuple):
    """One property of an endpoint that a role needs."""

    name: str
    run: Callable[[Endpoint, EndpointSettings], Awaitable[ProbeResult]]
    """Raises an ``EndpointError`` if the endpoint fails."""
    requires: tuple[str, ...] = ("served",)
    """Probes without which this one would fail as well, for the same reason."""


async def probe_served(endpoint: Endpoint, settings: EndpointSettings) -> ProbeResult:
    """Checks that the server serves the model, with enough context."""
    models = {model.id: model for model in await endpoint.models()}
    if settings.model not in models:
        served = sanitize(", ".join(sorted(models)), settings.api_key) or "nothing"
        return ProbeResult(False, f"{settings.model} is not served there; served: {served}")
    length = models[settings.model].max_model_len
    if length is not None and length < settings.context_length:
        return ProbeResult(
            False, f"its context has {length} tokens, {settings.context_length} are needed: set --max-model-len"
        )
    return ProbeResult(True, "served" if length is None else f"{length} tokens")


async def _probe_constraint(endpoint: Endpoint, settings: EndpointSettings) -> ProbeResult:
    completion = await ask(endpoint, settings, choice=_UNLIKELY)  # the client raises an error for any other text
    return ProbeResult(completion.text.strip() in _UNLIKELY, "works")


async def _probe_logprobs(endpoint: Endpoint, settings: EndpointSettings) -> ProbeResult:
    completion = await ask(endpoint, settings, choice=("yes", "no"))
    if not completion.top_logprobs or not completion.top_logprobs[0]:
        return ProbeResult(False, "a constrained response has none: votes would have no probability")
    return ProbeResult(True, "present")


async def _probe_image(endpoint: Endpoint, settings: EndpointSettings) -> ProbeResult:
    question = "What is the main colour of this picture? Answer with one word."

    async def describe(colour: str) -> Completion:
        return await endpoint.chat(image_message([_image_url(colour)], question), max_tokens=4, top_logprobs=5)

    red, blue = await describe("red"), await describe("blue")
    if (red.text, red.top_logprobs) == (blue.text, blue.top_logprobs):
        return ProbeResult(False, "two different images get the same response: images do not reach the model")
    return ProbeResult(True, "two images, two responses")


async def _probe_bos(endpoint: Endpoint, settings: EndpointSettings) -> ProbeResult:
    prompt = "[INST] Which fruit"
    bare = await endpoint.prompt_tokens(prompt, add_special_tokens=False)
    sent = await endpoint.prompt_tokens(prompt, add_special_tokens=True)
    if bare is None or sent is None:
        return ProbeResult(True, "not checked: the server does not return the prompt's tokens")
    added = sent[: len(sent) - len(bare)]
    if sent[len(added) :] != bare or len(added) > 1 or (added and bare[:1] == added):
        return ProbeResult(False, f"{len(added)} special tokens come before a raw prompt; at most one may")
    return ProbeResult(True, "one" if added else "none")


async def _probe_vectors(endpoint: Endpoint, settings: EndpointSettings) -> ProbeResult:
    first, again, other = await endpoint.embed(["a red mug", "a red mug", "garden hose, 20 m"])
    if not len(first) == len(again) == len(other) > 0:
        return ProbeResult(False, "vectors of different lengths")
    if any(abs(a - b) > 1e-2 for a, b in zip(first, again, strict=True)):
        return ProbeResult(False, "one text has two vectors")
    if first == other:
        return ProbeResult(False, "two texts have the same vector")
    return ProbeResult(True, f"{len(first)} numbers")


SERVED: Final = Probe("served", probe_served, requires=())
_CONSTRAINT: Final = Probe("constraint", _probe_constraint)
_LOGPROBS: Final = Probe("log-probabilities", _probe_logprobs, requires=("served", "constraint"))
_IMAGE: Final = Probe("image seen", _probe_image)
_BOS: Final = Probe("BOS", _probe_bos)
_VECTORS: Final = Probe("vectors", _probe_vectors)


def probes_for(settings: EndpointSettings) -> list[Probe]:
    """Returns the probes of a role, in order: a probe comes after those it requires."""
    match settings:
        case EndpointCaptionerSettings():
            return [SERVED, _IMAGE]
        case EndpointJudgeSettings(sees_image=True) | EndpointVisionPredictorSettings():
            return [SERVED, _CONSTRAINT, _LOGPROBS, _IMAGE]
        case EndpointPredictorSettings(decoding="sampled", prompt="chat"):
            return [SERVED]
        case EndpointPredictorSettings(decoding="sampled"):
            return [SERVED, _BOS]
        case EndpointJudgeSettings() | EndpointPredictorSettings(prompt="chat"):
            return [SERVED, _CONSTRAINT, _LOGPROBS]
        case EndpointPredictorSettings():
            return [SERVED, _CONSTRAINT, _LOGPROBS, _BOS]
        case EndpointEmbeddingsSettings():
            return [SERVED, _VECTORS]
        case _:
            return [SERVED]


async def ask(endpoint: Endpoint, settings: EndpointSettings, *, choice: Sequence[str] | None = None) -> Completion:
    """Sends a short prompt in the role's form.

    Raises:
        EndpointError: If the endpoint fails.
    """
    if isinstance(settings, EndpointPredictorSettings) and settings.prompt == "completion":
        return await endpoint.complete(_FRUIT, max_tokens=8, choice=choice, top_logprobs=5)
    return await endpoint.chat(text_message(_FRUIT), max_tokens=8, choice=choice, top_logprobs=5)


def _image_url(colour: str) -> str:
    image = Image.new("RGB", (336, 336), colour)
    # The shapes differ as well as the colours, in case a server compares images by a coarse hash.
    ImageDraw.Draw(image).ellipse((60, 60, 200, 200) if colour == "red" else (150, 120, 300, 300), fill="white")
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
