"""Plans the servers of a profile on the GPUs of one machine: which go where, and how they are started."""

import math
import shlex
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from caslie_tools.domain import FrozenModel
from caslie_tools.exceptions import SettingsError
from caslie_tools.profiles.settings import ProfileSettings
from caslie_tools.serving.servers import GIB, REFUSES_URLS_FROM, Server, is_loopback, servers_of

USABLE = 0.95
"""Share of a GPU's memory that servers may take together; the driver and the desktop have the rest."""
TESTED_VLLM = Version("0.32.0")
"""The version of vLLM this package's own tests run against."""
_COMMON_GIB = (16, 24, 32, 40, 48, 80, 96, 141, 180)
_MOST_GPUS = 8


class Plan(FrozenModel):
    """The servers of a profile on the GPUs of one machine."""

    profile: str
    vllm: str
    """The version to serve with."""
    gpu_memory_gib: float
    gpus: int
    servers: tuple[Server, ...]
    """Servers of one GPU must start one after the other: each measures what is free."""
    notes: tuple[str, ...] = ()
    problem: str = ""
    """Why it does not fit, and what would; empty if it does."""

    @property
    def version(self) -> Version:
        """The version to serve with, comparable."""
        return Version(self.vllm)

    def require_fit(self) -> None:
        """Makes sure that it fits.

        Raises:
            SettingsError: If there is a problem.
        """
        if self.problem:
            raise SettingsError(f"the profile {self.profile!r}: {self.problem}")

    def to_json(self) -> dict[str, Any]:
        """Returns it as a JSON document, with the computed bytes per server."""
        servers = [
            server.model_dump(mode="json", exclude={"facts"})
            | {
                "weight_bytes": server.facts.weight_bytes,
                "cache_bytes": server.cache_bytes,
                "allowance_bytes": server.allowance_bytes,
                "needed_bytes": server.needed_bytes,
                "command": command,
            }
            for server, command in zip(self.servers, self.commands(), strict=True)
        ]
        return self.model_dump(mode="json", exclude={"servers", "problem"}) | {"servers": servers}

    def commands(self) -> tuple[str, ...]:
        """Returns one shell line per server. The API key is taken from ``CASLIE_API_KEY`` when it is run."""
        return tuple(
            (f"CUDA_VISIBLE_DEVICES={server.gpu} " if self.gpus > 1 else "")
            + f"vllm serve {shlex.join(server.arguments(self.version))}"
            + ' --api-key "${CASLIE_API_KEY:?}"'
            for server in self.servers
        )


def plan_servers(settings: ProfileSettings, *, gpu_memory: float = 24.0, gpus: int = 1) -> Plan:
    """Plans the servers of a profile. Roles at one URL share one server; each replica is a server of its own.

    Args:
        settings: The profile.
        gpu_memory: Memory of each GPU, in GiB.
        gpus: How many there are.

    Raises:
        SettingsError: If the profile cannot be served as it is, or the size of a model is not known. That it does not
            fit is no error: :attr:`Plan.problem` says so.
    """
    if not gpu_memory > 0 or not math.isfinite(gpu_memory) or gpus < 1:
        raise SettingsError("a plan needs at least one GPU, and a memory above 0 GiB")
    version = _version(settings.vllm)
    servers = servers_of(settings)
    notes = list(settings.notes)
    for role, endpoint in settings.roles.items():
        elsewhere = {urlsplit(url).hostname for url in endpoint.urls if url.startswith("https:")}
        notes += [f"{role}: {host} is https and so served by others; it is not in this plan" for host in elsewhere]
    if version < REFUSES_URLS_FROM and any(server.facts.sees_images for server in servers):
        notes.append(f"vLLM {version} fetches any image URL a request names: let nobody but this machine reach it")
    if not is_loopback(host := servers[0].host):
        notes.append(
            f"the commands listen on {host}, unencrypted: keep that network yours; a Compose file listens on loopback"
        )
    placed = _place(servers, gpu_memory, gpus)
    return Plan(
        profile=settings.name,
        vllm=str(version),
        gpu_memory_gib=gpu_memory,
        gpus=gpus,
        servers=tuple(placed),
        notes=tuple(notes),
        problem=_problem(placed, gpu_memory, gpus),
    )


def _version(constraint: str) -> Version:
    """The tested version if the profile allows it, else the one it names."""
    try:
        allowed = SpecifierSet(constraint)
    except InvalidSpecifier as error:
        raise SettingsError(f"vllm: {constraint!r} is no version specifier, such as '>=0.12'") from error
    named = (Version(one.version) for one in allowed if one.operator in ("==", ">=", "<=", "~=", "==="))
    for version in (TESTED_VLLM, *sorted(named, reverse=True)):
        if version in allowed:
            return version
    raise SettingsError(f"vllm: {constraint!r} names no version that can be installed")


def _place(servers: Sequence[Server], gpu_memory: float, gpus: int) -> list[Server]:
    """Puts the largest first, each on the first GPU with room; one without room stays without a GPU."""
    free = [round(USABLE * 100)] * gpus  # in hundredths, as the flag is given
    placed: dict[str, Server] = {}
    for server in sorted(servers, key=lambda one: -one.needed_bytes):
        share = math.ceil(server.needed_bytes / (gpu_memory * GIB) * 100)
        gpu = next((number for number, room in enumerate(free) if share <= room), None)
        if gpu is not None:
            free[gpu] -= share
        placed[server.name] = server.model_copy(update={"gpu": gpu, "gpu_memory_utilization": share / 100})
    return [placed[server.name] for server in servers]


def _problem(placed: Sequence[Server], gpu_memory: float, gpus: int) -> str:
    homeless = [server for server in placed if server.gpu is None]
    if not homeless:
        return ""
    free = [USABLE] * gpus
    for server in placed:
        if server.gpu is not None:
            free[server.gpu] -= server.gpu_memory_utilization
    room = max(free) * gpu_memory
    missing = "; ".join(
        f"{one.name} needs {one.needed_bytes / GIB:.1f} GiB, {one.needed_bytes / GIB - room:.1f} GiB more than is free"
        for one in homeless
    )
    return (
        f"it does not fit {gpus} x {gpu_memory:g} GiB: {missing}. All servers together need "
        f"{sum(one.needed_bytes for one in placed) / GIB:.1f} GiB. {_would_fit(placed)} "
        "A lower max_concurrency or context_length makes them smaller."
    )


def _would_fit(servers: Sequence[Server]) -> str:
    fewest: list[str] = []
    last = _MOST_GPUS + 1
    for size in _COMMON_GIB:
        for number in range(1, last):
            if all(server.gpu is not None for server in _place(servers, size, number)):
                fewest.append(f"{number} x {size} GiB")
                last = number
                break
    return f"What would fit: {', or '.join(fewest)}." if fewest else f"No {_MOST_GPUS} GPUs would fit it."
