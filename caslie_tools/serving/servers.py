"""Derives the vLLM servers that a profile needs, with their settings and their memory.

Roles with the same URL share one server. The memory of a server is the sum of three parts: its weights, the KV cache of
all requests that it accepts at once at their full length, and an allowance for what only the running server can
measure (CUDA context, captured graphs and the largest activations). Weights and cache are computed. The allowance is an
estimate.
"""

import json
from pathlib import Path
from urllib.parse import urlsplit

from packaging.version import Version

from caslie_tools.backends.endpoints.settings import (
    EndpointEmbeddingsSettings,
    EndpointJudgeSettings,
    EndpointSettings,
    EndpointVisionPredictorSettings,
)
from caslie_tools.domain import FrozenModel
from caslie_tools.exceptions import SettingsError
from caslie_tools.profiles.settings import ProfileSettings
from caslie_tools.serving.model_sizes import ModelSize, find_model_size

GIB = 1024**3
TEXT_ALLOWANCE = 3 * GIB // 2
"""Allowance in bytes for a text model."""
VISION_ALLOWANCE = 2 * GIB
"""Allowance in bytes for a vision model, which includes the activations of its image encoder."""
MEDIA_DOMAINS_SINCE = Version("0.11.0")
"""First version of vLLM with ``--allowed-media-domains``, which restricts image URLs (vLLM pull request 25783)."""
# A name that never resolves (RFC 6761). vLLM takes an empty list as permission to fetch from every domain.
_NO_DOMAIN = "none.invalid"


class Server(FrozenModel):
    """One vLLM server of a plan."""

    name: str
    """Name in messages, Compose services and log files, for example ``caslie-s-8002``."""
    model: str
    """Model that the server loads: a name on the Hugging Face Hub, or a folder."""
    served_names: tuple[str, ...]
    roles: tuple[str, ...]
    host: str
    port: int
    context_length: int
    """Maximum number of tokens in a request."""
    sequences: int
    """Maximum number of concurrent requests."""
    cache_tokens: int
    """Tokens in the KV cache when all concurrent requests have their maximum length."""
    images: int
    """Maximum number of images in a request."""
    embeds: bool
    """Whether the server computes embeddings instead of text."""
    size: ModelSize
    gpu: int | None = None
    """Number of the GPU, from 0; ``None`` if the server did not fit on any GPU."""
    gpu_memory_utilization: float = 0.0
    """Share of the memory of the GPU that the server reserves, from 0 to 1."""

    @property
    def url(self) -> str:
        """URL of the server, without the ``/v1`` of the OpenAI-compatible API."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def cache_bytes(self) -> int:
        """Size of the KV cache."""
        per_sequence = self.sequences * self.size.cache_bytes_per_sequence
        return self.cache_tokens * self.size.cache_bytes_per_token + per_sequence

    @property
    def allowance_bytes(self) -> int:
        """Memory for everything except weights and KV cache."""
        return VISION_ALLOWANCE if self.size.accepts_images else TEXT_ALLOWANCE

    @property
    def needed_bytes(self) -> int:
        """Total memory: weights, KV cache and allowance."""
        return self.size.weight_bytes + self.cache_bytes + self.allowance_bytes

    def arguments(self, vllm: Version, *, host: str | None = None, port: int | None = None) -> tuple[str, ...]:
        """Returns the arguments of ``vllm serve``. The API key is passed separately, as ``VLLM_API_KEY``.

        Args:
            vllm: The version of vLLM that reads the arguments.
            host: Address to listen on, by default that of the profile.
            port: Port to listen on, by default that of the profile.
        """
        # Expanded here, because no shell expands ~ in a quoted argument or in a command that runs without a shell.
        model = str(Path(self.model).expanduser()) if self.model.startswith("~") else self.model
        arguments = [model, "--served-model-name", *self.served_names]
        arguments += ["--host", host or self.host, "--port", str(port or self.port), "--dtype", "bfloat16"]
        arguments += ["--max-model-len", str(self.context_length), "--max-num-seqs", str(self.sequences)]
        arguments += ["--gpu-memory-utilization", f"{self.gpu_memory_utilization:.2f}"]
        if self.embeds:
            arguments += ["--runner", "pooling"]
        if self.size.accepts_images:
            limits = {"image": self.images} | ({"video": 0} if self.size.accepts_videos else {})
            arguments += ["--limit-mm-per-prompt", json.dumps(limits)]
            if vllm >= MEDIA_DOMAINS_SINCE:
                arguments += ["--allowed-media-domains", _NO_DOMAIN]
        return tuple(arguments)


def derive_servers(settings: ProfileSettings) -> tuple[Server, ...]:
    """Returns the servers that a profile needs, not yet placed on GPUs.

    Each replica is a separate server. An ``https`` URL belongs to an external service and needs no server.

    Raises:
        SettingsError: If one server would have to serve roles that it cannot combine, or if the size of a model is
            unknown.
    """
    addresses: dict[tuple[str, int], dict[str, EndpointSettings]] = {}
    for role, endpoint in settings.served_roles.items():
        for url in endpoint.urls:
            parts = urlsplit(url)
            if parts.scheme == "http":
                host = parts.hostname or ""
                host = "127.0.0.1" if host == "localhost" else host
                addresses.setdefault((host, parts.port or 80), {})[role] = endpoint
    if not addresses:
        reason = "all its URLs are https" if settings.served_roles else "all its models run in this process"
        raise SettingsError(f"the profile {settings.name!r} needs no server: {reason}")
    hosts = sorted({host for host, _ in addresses})
    if len(hosts) > 1:
        raise SettingsError(
            f"a plan covers one machine, but the servers of the profile {settings.name!r} are on {', '.join(hosts)}; "
            "write one profile per machine"
        )
    return tuple(_server(host, port, roles) for (host, port), roles in addresses.items())


def _server(host: str, port: int, roles: dict[str, EndpointSettings]) -> Server:
    models = sorted({endpoint.loaded_from for endpoint in roles.values()})
    if len(models) > 1:
        raise SettingsError(
            f"{host}:{port} would have to serve {' and '.join(models)}, but a server loads one model; give each model "
            "its own port"
        )
    size = find_model_size(models[0])
    endpoints = tuple(roles.values())
    if any(isinstance(endpoint, EndpointEmbeddingsSettings) for endpoint in endpoints) and len(endpoints) > 1:
        raise SettingsError(
            f"{host}:{port} would have to compute embeddings and generate text; give the embeddings their own port"
        )
    for role, endpoint in roles.items():
        _require_capable(role, endpoint, size)
    names = tuple(dict.fromkeys(endpoint.model for endpoint in endpoints))
    return Server(
        name=_slug(f"{names[0].rstrip('/').rsplit('/', 1)[-1]}-{port}"),
        model=models[0],
        served_names=names,
        roles=tuple(roles),
        host=host,
        port=port,
        context_length=max(endpoint.context_length for endpoint in endpoints),
        sequences=sum(endpoint.max_concurrency for endpoint in endpoints),
        cache_tokens=sum(endpoint.max_concurrency * endpoint.context_length for endpoint in endpoints),
        images=max(
            endpoint.max_images if isinstance(endpoint, EndpointVisionPredictorSettings) else 1
            for endpoint in endpoints
        ),
        embeds=isinstance(endpoints[0], EndpointEmbeddingsSettings),
        size=size,
    )


def _require_capable(role: str, endpoint: EndpointSettings, size: ModelSize) -> None:
    """Raises ``SettingsError`` if a model cannot take its role."""
    needs_images = role.startswith(("captioner", "vision")) or (
        isinstance(endpoint, EndpointJudgeSettings) and endpoint.sees_image
    )
    if needs_images and not size.accepts_images:
        raise SettingsError(f"{role}: the model {endpoint.model!r} does not accept images; choose a vision model")
    if endpoint.context_length > size.context_length:
        raise SettingsError(
            f"{role}: context_length is {endpoint.context_length}, but the model {endpoint.model!r} accepts at most "
            f"{size.context_length} tokens; lower context_length"
        )


def _slug(text: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in text.lower()).strip("-") or "server"
