"""The servers a profile needs: roles at one URL share one, and what each is started with.

A server's memory is its weights, the KV cache of every request it is allowed at once at full length, and an allowance
for what only the running server knows: CUDA context, captured graphs and the largest activations. Weights and cache are
computed; the allowance is the one figure that is not.
"""

from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from packaging.version import Version

from caslie_tools.backends.endpoints.settings import EmbeddingsSettings, EndpointSettings, JudgeSettings
from caslie_tools.domain import FrozenModel
from caslie_tools.exceptions import SettingsError
from caslie_tools.profiles.settings import ProfileSettings
from caslie_tools.serving.model_sizes import ModelFacts, facts_of

GIB = 1024**3
TEXT_ALLOWANCE = 3 * GIB // 2
"""Bytes beside weights and cache, for a model of text."""
VISION_ALLOWANCE = 2 * GIB
"""As above, for one that sees images: its encoder's activations come on top."""
REFUSES_URLS_FROM = Version("0.11.0")
"""The first version of vLLM that can be told whose images to fetch (pull request 25783)."""
# A name that never exists (RFC 6761). vLLM takes an empty list for leave to fetch from anywhere.
_NO_DOMAIN = "none.invalid"


class Server(FrozenModel):
    """One vLLM server."""

    name: str
    """For messages, services and log files: ``caslie-s-8002``."""
    model: str
    """What it loads: hub name or folder."""
    served_names: tuple[str, ...]
    roles: tuple[str, ...]
    host: str
    port: int
    context_length: int
    """Tokens a request may take."""
    sequences: int
    """Requests at once."""
    cache_tokens: int
    """Tokens in the cache when all of them are as long as they may be."""
    embeds: bool
    facts: ModelFacts
    gpu: int | None = None
    """Number of the GPU it was placed on; ``None`` if it did not fit."""
    gpu_memory_utilization: float = 0.0
    """Share of that GPU's memory it is given."""

    @property
    def cache_bytes(self) -> int:
        """Bytes of KV cache."""
        per_sequence = self.sequences * self.facts.cache_bytes_per_sequence
        return self.cache_tokens * self.facts.cache_bytes_per_token + per_sequence

    @property
    def allowance_bytes(self) -> int:
        """Bytes for everything that is neither weights nor cache."""
        return VISION_ALLOWANCE if self.facts.sees_images else TEXT_ALLOWANCE

    @property
    def needed_bytes(self) -> int:
        """All of it."""
        return self.facts.weight_bytes + self.cache_bytes + self.allowance_bytes

    def arguments(self, vllm: Version, *, host: str | None = None, port: int | None = None) -> tuple[str, ...]:
        """Returns what follows ``vllm serve``. The API key is not among them: it comes by ``VLLM_API_KEY``.

        Args:
            vllm: The version they are for.
            host: Address to listen on; by default the profile's.
            port: As above.
        """
        # Quoted in a command line, or without a shell, nobody else would know what ~ stands for.
        model = str(Path(self.model).expanduser()) if self.model.startswith("~") else self.model
        arguments = [model, "--served-model-name", *self.served_names]
        arguments += ["--host", host or self.host, "--port", str(port or self.port), "--dtype", "bfloat16"]
        arguments += ["--max-model-len", str(self.context_length), "--max-num-seqs", str(self.sequences)]
        arguments += ["--gpu-memory-utilization", f"{self.gpu_memory_utilization:.2f}"]
        if self.embeds:
            arguments += ["--runner", "pooling"]
        if self.facts.sees_images:
            limits = '{"image": 1, "video": 0}' if self.facts.takes_videos else '{"image": 1}'
            arguments += ["--limit-mm-per-prompt", limits]
            if vllm >= REFUSES_URLS_FROM:
                arguments += ["--allowed-media-domains", _NO_DOMAIN]
        return tuple(arguments)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, reachable from nowhere else."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def servers_of(settings: ProfileSettings) -> tuple[Server, ...]:
    """Returns the servers of a profile, not yet placed; each replica is one of its own. What is https is not ours.

    Raises:
        SettingsError: If a server would have to do what it cannot, or the size of a model is not known.
    """
    addresses: dict[tuple[str, int], dict[str, EndpointSettings]] = {}
    for role, endpoint in settings.roles.items():
        for url in endpoint.urls:
            parts = urlsplit(url)
            if parts.scheme == "http":
                host = parts.hostname or ""
                host = "127.0.0.1" if host == "localhost" else host
                addresses.setdefault((host, parts.port or 80), {})[role] = endpoint
    if not addresses:
        reason = "all its URLs are https" if settings.roles else "all its models run in this process"
        raise SettingsError(f"the profile {settings.name!r} has no server to plan: {reason}")
    hosts = sorted({host for host, _ in addresses})
    if len(hosts) > 1:
        raise SettingsError(
            f"a plan is for one machine, but the servers are on {', '.join(hosts)}; plan them one by one"
        )
    return tuple(_server(host, port, roles) for (host, port), roles in addresses.items())


def _server(host: str, port: int, roles: dict[str, EndpointSettings]) -> Server:
    loaded = sorted({endpoint.loaded_from for endpoint in roles.values()})
    if len(loaded) > 1:
        raise SettingsError(f"{host}:{port} would have to serve {' and '.join(loaded)}; a server loads one model")
    facts = facts_of(loaded[0])
    endpoints = tuple(roles.values())
    if any(isinstance(one, EmbeddingsSettings) for one in endpoints) and len(endpoints) > 1:
        raise SettingsError(f"{host}:{port} cannot embed and generate; give the embeddings a server of their own")
    for role, endpoint in roles.items():
        needs_sight = role.startswith("captioner") or (isinstance(endpoint, JudgeSettings) and endpoint.sees_image)
        if needs_sight and not facts.sees_images:
            raise SettingsError(f"{role}: the model {endpoint.model!r} sees no images")
        if endpoint.context_length > facts.context_length:
            raise SettingsError(
                f"{role}: context_length {endpoint.context_length} is more than the {facts.context_length} tokens "
                f"{endpoint.model!r} takes"
            )
    names = tuple(dict.fromkeys(endpoint.model for endpoint in endpoints))
    return Server(
        name=_slug(f"{names[0].rstrip('/').rsplit('/', 1)[-1]}-{port}"),
        model=loaded[0],
        served_names=names,
        roles=tuple(roles),
        host=host,
        port=port,
        context_length=max(endpoint.context_length for endpoint in endpoints),
        sequences=sum(endpoint.max_concurrency for endpoint in endpoints),
        cache_tokens=sum(endpoint.max_concurrency * endpoint.context_length for endpoint in endpoints),
        embeds=isinstance(endpoints[0], EmbeddingsSettings),
        facts=facts,
    )


def _slug(text: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in text.lower()).strip("-") or "server"
