"""The settings of a role whose model is on a server."""

import json
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from caslie_tools.roles.settings import (
    NAME_PATTERN,
    CaptionerSettings,
    ClaimCheckerSettings,
    EmbeddingsSettings,
    JudgeSettings,
    ModelSettings,
    PredictorSettings,
    VisionPredictorSettings,
)


def _checked_url(url: str) -> str:
    # No message contains the URL, because it may contain a password.
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("this is not a URL") from None
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


def _as_list(urls: object) -> object:
    """Splits the text of an environment variable: a JSON list, or URLs separated by commas."""
    if not isinstance(urls, str):
        return urls
    if urls.lstrip().startswith("["):
        try:
            return json.loads(urls)
        except (ValueError, RecursionError):
            raise ValueError("this is neither JSON nor URLs separated by commas") from None
    return tuple(url.strip() for url in urls.split(",") if url.strip())


def _checked_key(key: SecretStr | None) -> SecretStr | None:
    if key is None or not key.get_secret_value().strip():
        return None
    if not key.get_secret_value().isascii() or not key.get_secret_value().isprintable():
        raise ValueError("an API key is printable ASCII, on one line")
    return key


Url = Annotated[str, AfterValidator(_checked_url)]


class EndpointSettings(ModelSettings):
    """One model behind one or several equal servers."""

    backend: Literal["endpoint"] = "endpoint"
    """Distinguishes these settings from those of a model in this process."""
    urls: Annotated[tuple[Url, ...], BeforeValidator(_as_list), Field(min_length=1)]
    """Base URLs of the replicas, ending in ``/v1``. In the environment, separate them by commas."""
    model: str = Field(pattern=NAME_PATTERN)
    """The name under which the server serves the model."""
    weights: str | None = Field(default=None, pattern=NAME_PATTERN)
    """Hub name or folder from which the server loads the model, if it differs from ``model``."""
    api_key: Annotated[SecretStr | None, AfterValidator(_checked_key)] = None
    """Sent as a bearer token. Set it in the environment, not in a file."""
    context_length: int = Field(default=4096, ge=1)
    """Context length that the role needs, in tokens, prompt and response together. The server must provide it."""
    timeout_seconds: float = Field(default=50.0, gt=0, allow_inf_nan=False)
    """Deadline of one call, including retries and other replicas. It must be shorter than the time limit of the role,
    such as ``CASLIE_PREDICTOR_TIMEOUT_SECONDS``. Otherwise that limit cancels the call before a server that hangs
    counts as failed."""
    constraint: Literal["structured_outputs", "guided_choice"] = "structured_outputs"
    """The field of a request that constrains the response to choices. ``structured_outputs`` needs vLLM 0.11 or later.
    ``guided_choice`` is for earlier versions; vLLM 0.12 and later ignore it without an error."""
    max_concurrency: int = Field(default=8, ge=1)
    """Most requests in flight."""
    max_attempts: int = Field(default=3, ge=1)
    """Most attempts of one call, including the first."""
    max_response_bytes: int = Field(default=4 * 1024 * 1024, ge=1)
    """Most bytes of a response."""
    breaker_failures: int = Field(default=5, ge=1)
    """Failed requests in a row after which a replica gets no requests for ``breaker_seconds``."""
    breaker_seconds: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    """Seconds until a replica that failed too often gets a trial request."""

    @property
    def loaded_from(self) -> str:
        """Hub name or folder from which the server loads the model."""
        return self.weights or self.model


class EndpointCaptionerSettings(CaptionerSettings, EndpointSettings):
    """A captioner on a server."""


class EndpointJudgeSettings(JudgeSettings, EndpointSettings):
    """A judge on a server."""

    context_length: int = Field(default=2048, ge=1)
    timeout_seconds: float = Field(default=25.0, gt=0, allow_inf_nan=False)
    """Deadline of one vote, shorter than ``CASLIE_JUDGE_TIMEOUT_SECONDS``."""


class EndpointClaimCheckerSettings(ClaimCheckerSettings, EndpointJudgeSettings):
    """A claim checker on a server."""


class EndpointPredictorSettings(PredictorSettings, EndpointSettings):
    """A predictor on a server."""


class EndpointVisionPredictorSettings(VisionPredictorSettings, EndpointSettings):
    """A vision predictor on a server."""


class EndpointEmbeddingsSettings(EmbeddingsSettings, EndpointSettings):
    """Embeddings from a server."""

    context_length: int = Field(default=512, ge=1)
