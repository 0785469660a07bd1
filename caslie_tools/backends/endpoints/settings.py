"""What is known of a served model per role, and of a whole profile: validated values, never read from elsewhere.

:mod:`caslie_tools.profiles.toml` reads them from TOML and the environment. In a profile every role is either
served, or runs in this process (:mod:`caslie_tools.backends.transformers`), whichever its ``backend`` says.
"""

import json
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from caslie_tools.roles.settings import (
    NAME_PATTERN,
    CaptionerSettings,
    EmbeddingsSettings,
    JudgeSettings,
    ModelSettings,
    PredictorSettings,
)


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


def _not_blank(key: SecretStr | None) -> SecretStr | None:
    if key is None or not key.get_secret_value().strip():
        return None
    if not key.get_secret_value().isascii() or not key.get_secret_value().isprintable():
        raise ValueError("an API key is printable ASCII, on one line")
    return key


Url = Annotated[str, AfterValidator(_checked_url)]


class EndpointSettings(ModelSettings):
    """One model behind one or several equal servers."""

    backend: Literal["endpoint"] = "endpoint"
    """What tells these settings from those of a model in this process."""
    urls: Annotated[tuple[Url, ...], BeforeValidator(_split), Field(min_length=1)]
    """Base URLs of its replicas, ending in ``/v1``. In the environment: separated by commas."""
    model: str = Field(pattern=NAME_PATTERN)
    """The name it is served under."""
    weights: str | None = Field(default=None, pattern=NAME_PATTERN)
    """Where the server loads it from, hub name or folder, when it is served under another name."""
    api_key: Annotated[SecretStr | None, AfterValidator(_not_blank)] = None
    """Sent as bearer token. Belongs in the environment, not in a file."""
    context_length: int = Field(default=4096, ge=1)
    """Tokens a request may take, prompt and answer together: the server must serve as many."""
    timeout_seconds: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    """Total deadline of one call, retries included."""
    constraint: Literal["structured_outputs", "guided_choice"] = "structured_outputs"
    """The request field by which an answer is constrained to choices. vLLM has the first from 0.11 on; the second is
    for versions before that, and is silently ignored from 0.12 on."""
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


class EndpointCaptionerSettings(CaptionerSettings, EndpointSettings):
    """A captioner on a server."""


class EndpointJudgeSettings(JudgeSettings, EndpointSettings):
    """A judge on a server."""

    context_length: int = Field(default=2048, ge=1)
    max_tokens: int = Field(default=16, ge=1)


class EndpointPredictorSettings(PredictorSettings, EndpointSettings):
    """A predictor on a server."""


class EndpointEmbeddingsSettings(EmbeddingsSettings, EndpointSettings):
    """Embeddings from a server."""

    context_length: int = Field(default=512, ge=1)
