"""What is known of a self-hosted model per role, and of a whole profile: validated values, never read from elsewhere.

:mod:`caslie_tools.endpoints.loading` reads them from TOML and the environment.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from caslie_tools.domain import Model
from caslie_tools.fusion import WireFormat
from caslie_tools.layouts import Layout

# What a command line takes for a name: not empty, and no option.
_A_WORD = r"^[^-\s]"


def _checked_url(url: str) -> str:
    # The URL itself is in no message: what makes it unusable may be a password.
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("this is no URL") from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise ValueError("give an http:// or https:// URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL must not hold credentials; set api_key instead, through CASLIE_API_KEY")
    if parts.query or parts.fragment:
        raise ValueError("a base URL has neither a query nor a fragment")
    base = url.rstrip("/")
    if not base.endswith("/v1"):
        raise ValueError("a base URL ends in /v1")
    return base


def _split(urls: object) -> object:
    if not isinstance(urls, str):
        return urls
    if urls.lstrip().startswith("["):
        try:
            return json.loads(urls)
        except (ValueError, RecursionError):
            raise ValueError("this is neither JSON nor URLs separated by commas") from None
    return tuple(url.strip() for url in urls.split(",") if url.strip())


def _in_order(roles: object) -> object:
    """Turns ``{"0": ..., "1": ...}``, which is how an environment spells a list, into a list."""
    if isinstance(roles, Mapping):
        numbers = [str(number) for number in range(len(roles))]
        if set(roles) != set(numbers):
            raise ValueError("number the entries from 0, without gaps")
        return tuple(roles[number] for number in numbers)
    return roles


def _not_blank(key: SecretStr | None) -> SecretStr | None:
    if key is None or not key.get_secret_value().strip():
        return None
    if not key.get_secret_value().isascii() or not key.get_secret_value().isprintable():
        raise ValueError("an API key is printable ASCII, on one line")
    return key


Url = Annotated[str, AfterValidator(_checked_url)]


class EndpointSettings(Model):
    """One model behind one or several equal servers."""

    urls: Annotated[tuple[Url, ...], BeforeValidator(_split), Field(min_length=1)]
    """Base URLs of its replicas, ending in ``/v1``. In the environment: separated by commas."""
    model: str = Field(pattern=_A_WORD)
    """The name it is served under."""
    weights: str | None = Field(default=None, pattern=_A_WORD)
    """Where the server loads it from, hub name or folder, when it is served under another name."""
    api_key: Annotated[SecretStr | None, AfterValidator(_not_blank)] = None
    """Sent as bearer token. Belongs in the environment, not in a file."""
    context_length: int = Field(default=4096, ge=1)
    """Tokens a request may take, prompt and answer together: the server must serve as many."""
    timeout_seconds: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    """Total deadline of one call, retries included."""
    max_concurrency: int = Field(default=8, ge=1)
    """Requests under way at once."""
    max_attempts: int = Field(default=3, ge=1)
    """Tries of one call, the first included."""
    max_response_bytes: int = Field(default=4 * 1024 * 1024, ge=1)
    """Bytes of an answer that are read at most."""
    breaker_failures: int = Field(default=5, ge=1)
    """Failures in a row after which an endpoint is left alone for a while."""
    breaker_seconds: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    """How long that is."""

    @property
    def loaded_from(self) -> str:
        """Where the server loads the model from: hub name or folder."""
        return self.weights or self.model


class CaptionerSettings(EndpointSettings):
    """A vision-language model that captions (EC3)."""

    max_side: int = Field(default=1024, ge=28)
    """Longest side, in pixels, an image is sent with; it is never enlarged."""
    max_tokens: int = Field(default=128, ge=1)
    temperature: float = Field(default=0.0, ge=0, le=2)


def _name_of(data: dict[str, Any]) -> str:
    return str(data.get("model") or "judge")


class JudgeSettings(EndpointSettings):
    """A model that votes (CQE)."""

    name: str = Field(default_factory=_name_of, min_length=1)
    """Its name in votes and traces; by default the model's. Unique in a jury."""
    sees_image: bool = False
    """Vote on whether the caption is true to the image, which is sent along, and not only on whether it helps."""
    max_side: int = Field(default=1024, ge=28)
    """Longest side, in pixels, the image is sent with, if it is."""
    context_length: int = Field(default=2048, ge=1)
    max_tokens: int = Field(default=16, ge=1)


class PredictorSettings(EndpointSettings):
    """A model that answers (uniM3). The defaults are the reference decoding (paper, implementation details)."""

    prompt: Literal["completion", "chat"] = "completion"
    """``completion``: raw text in ``layout``, for tuned models; ``chat``: a message, for any instruct model."""
    layout: Layout = "alpaca"
    wire: WireFormat = "paper"
    """``paper``: what the published weights were tuned on."""
    max_tokens: int = Field(default=100, ge=1)
    temperature: float = Field(default=0.15, ge=0, le=2)
    top_p: float = Field(default=0.95, gt=0, le=1)


class EmbeddingsSettings(EndpointSettings):
    """A model that embeds texts, for search and for finding captions made for a similar question."""

    batch_size: int = Field(default=64, ge=1)
    """Texts per request."""
    context_length: int = Field(default=512, ge=1)


def _told_apart(judges: tuple[JudgeSettings, ...]) -> tuple[JudgeSettings, ...]:
    names = [judge.name for judge in judges]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two judges are named {name!r}; give each its own name")
    return judges


class ProfileSettings(Model):
    """Which model, served where, takes which role."""

    name: str = Field(min_length=1)
    description: str = ""
    captioners: Annotated[tuple[CaptionerSettings, ...], BeforeValidator(_in_order), Field(min_length=1)]
    """In order of preference: the next one is tried when one fails."""
    judges: Annotated[
        tuple[JudgeSettings, ...], BeforeValidator(_in_order), AfterValidator(_told_apart), Field(min_length=1)
    ]
    """The jury, in the order it is asked."""
    predictor: PredictorSettings
    embeddings: EmbeddingsSettings | Literal["embedded"] = "embedded"
    """``embedded``: in this process, with the extra of that name."""
    mode: WireFormat = "corrected"
    """``paper`` reproduces the published behaviour: see :class:`caslie_tools.settings.Settings`."""
    vllm: str = ">=0.12"
    """The versions of vLLM that serve these models, as a version specifier (PEP 440)."""
    notes: tuple[str, ...] = ()
    """What a user should know of these models, such as their limits."""

    @property
    def roles(self) -> dict[str, EndpointSettings]:
        """Every role that is served, by a name for messages: ``captioner``, ``judge 1`` ... ``predictor``."""
        served: dict[str, EndpointSettings] = dict(_numbered("captioner", self.captioners))
        served |= _numbered("judge", self.judges)
        served["predictor"] = self.predictor
        if isinstance(self.embeddings, EmbeddingsSettings):
            served["embeddings"] = self.embeddings
        return served


def _numbered(role: str, settings: tuple[Any, ...]) -> dict[str, EndpointSettings]:
    if len(settings) == 1:
        return {role: settings[0]}
    return {f"{role} {number}": one for number, one in enumerate(settings, start=1)}
