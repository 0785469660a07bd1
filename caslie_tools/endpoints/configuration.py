"""What is known of a served model per role, and of a whole profile: validated values, never read from elsewhere.

:mod:`caslie_tools.endpoints.loading` reads them from TOML and the environment. In a profile every role is either
served, or runs in this process (:mod:`caslie_tools.local`), whichever its ``backend`` says.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, SecretStr, Tag

from caslie_tools.domain import Model
from caslie_tools.fusion import WireFormat
from caslie_tools.local.configuration import (
    LocalCaptionerSettings,
    LocalEmbeddingsSettings,
    LocalJudgeSettings,
    LocalPredictorSettings,
    LocalSettings,
)
from caslie_tools.role_settings import (
    A_WORD,
    CaptioningSettings,
    EmbeddingSettings,
    JudgingSettings,
    ModelSettings,
    PredictingSettings,
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


class EndpointSettings(ModelSettings):
    """One model behind one or several equal servers."""

    backend: Literal["endpoint"] = "endpoint"
    """What tells these settings from those of a model in this process."""
    urls: Annotated[tuple[Url, ...], BeforeValidator(_split), Field(min_length=1)]
    """Base URLs of its replicas, ending in ``/v1``. In the environment: separated by commas."""
    model: str = Field(pattern=A_WORD)
    """The name it is served under."""
    weights: str | None = Field(default=None, pattern=A_WORD)
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


class CaptionerSettings(CaptioningSettings, EndpointSettings):
    """A captioner on a server."""


class JudgeSettings(JudgingSettings, EndpointSettings):
    """A judge on a server."""

    context_length: int = Field(default=2048, ge=1)
    max_tokens: int = Field(default=16, ge=1)


class PredictorSettings(PredictingSettings, EndpointSettings):
    """A predictor on a server."""


class EmbeddingsSettings(EmbeddingSettings, EndpointSettings):
    """Embeddings from a server."""

    context_length: int = Field(default=512, ge=1)


SERVED: Final = "endpoint"
IN_PROCESS: Final = "transformers"
_EMBEDDED: Final = "embedded"
_Kind = TypeVar("_Kind", EndpointSettings, LocalSettings)


def _backend(role: object) -> str | None:
    """What kind of settings these are, written down or made already."""
    if isinstance(role, Mapping):
        said = role.get("backend", SERVED)
        return said if isinstance(said, str) else None
    return _EMBEDDED if role == _EMBEDDED else getattr(role, "backend", None)


_ByBackend = Discriminator(
    _backend,
    custom_error_type="backend",
    custom_error_message=f"backend is {SERVED!r}, for a model on a server, or {IN_PROCESS!r}, for one in this process",
)
AnyCaptionerSettings: TypeAlias = Annotated[
    Annotated[CaptionerSettings, Tag(SERVED)] | Annotated[LocalCaptionerSettings, Tag(IN_PROCESS)], _ByBackend
]
AnyJudgeSettings: TypeAlias = Annotated[
    Annotated[JudgeSettings, Tag(SERVED)] | Annotated[LocalJudgeSettings, Tag(IN_PROCESS)], _ByBackend
]
AnyPredictorSettings: TypeAlias = Annotated[
    Annotated[PredictorSettings, Tag(SERVED)] | Annotated[LocalPredictorSettings, Tag(IN_PROCESS)], _ByBackend
]
AnyEmbeddingsSettings: TypeAlias = Annotated[
    Annotated[EmbeddingsSettings, Tag(SERVED)]
    | Annotated[LocalEmbeddingsSettings, Tag(IN_PROCESS)]
    | Annotated[Literal["embedded"], Tag(_EMBEDDED)],
    _ByBackend,
]


def _told_apart(judges: tuple[AnyJudgeSettings, ...]) -> tuple[AnyJudgeSettings, ...]:
    names = [judge.name for judge in judges]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two judges are named {name!r}; give each its own name")
    return judges


class ProfileSettings(Model):
    """Which model takes which role, and where it runs."""

    name: str = Field(min_length=1)
    description: str = ""
    captioners: Annotated[tuple[AnyCaptionerSettings, ...], BeforeValidator(_in_order), Field(min_length=1)]
    """In order of preference: the next one is tried when one fails."""
    judges: Annotated[
        tuple[AnyJudgeSettings, ...], BeforeValidator(_in_order), AfterValidator(_told_apart), Field(min_length=1)
    ]
    """The jury, in the order it is asked."""
    predictor: AnyPredictorSettings
    embeddings: AnyEmbeddingsSettings = "embedded"
    """``embedded``: the small ones of the extra of that name."""
    mode: WireFormat = "corrected"
    """``paper`` reproduces the published behaviour: see :class:`caslie_tools.settings.Settings`."""
    gate: Path | None = None
    """A gate tuned for these judges; in a file, relative to it."""
    vllm: str = ">=0.12"
    """The versions of vLLM that serve these models, as a version specifier (PEP 440)."""
    notes: tuple[str, ...] = ()
    """What a user should know of these models, such as their limits."""

    @property
    def roles(self) -> dict[str, EndpointSettings]:
        """Every role that is served, by a name for messages: ``captioner``, ``judge 1`` ... ``predictor``."""
        return self._roles(EndpointSettings)

    @property
    def local_roles(self) -> dict[str, LocalSettings]:
        """Every role whose model runs in this process, likewise; the embedded embeddings are none of them."""
        return self._roles(LocalSettings)

    def _roles(self, kind: type[_Kind]) -> dict[str, _Kind]:
        every: dict[str, object] = _numbered("captioner", self.captioners) | _numbered("judge", self.judges)
        every |= {"predictor": self.predictor, "embeddings": self.embeddings}
        return {name: settings for name, settings in every.items() if isinstance(settings, kind)}


def _numbered(role: str, settings: tuple[object, ...]) -> dict[str, object]:
    if len(settings) == 1:
        return {role: settings[0]}
    return {f"{role} {number}": one for number, one in enumerate(settings, start=1)}
