"""Plans the servers of a profile on the GPUs of one machine: placement, memory and start commands."""

import math
import shlex
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from caslie_tools.domain import FrozenModel
from caslie_tools.exceptions import SettingsError
from caslie_tools.profiles.settings import ProfileSettings
from caslie_tools.serving.placement import USABLE_SHARE, place, use_spare_memory
from caslie_tools.serving.servers import GIB, MEDIA_DOMAINS_SINCE, Server, derive_servers

TESTED_VLLM = Version("0.32.0")
"""The version of vLLM that the tests of this package run against."""
_CARDS: Final = {16: 15.0, 24: 22.5, 32: 30.0, 40: 39.0, 48: 45.0, 80: 79.0, 96: 94.0, 141: 139.0, 180: 178.0}
"""From the memory that a card is sold with, in GB, to the least that such a card reports, in GiB.

Cards with GDDR memory keep a sixteenth for error correction, such as the L4 (22.5 GiB) and the L40S (45 GiB)."""
_MAX_GPUS = 8


class Plan(FrozenModel):
    """The servers of a profile on the GPUs of one machine."""

    profile: str
    vllm: str
    """The version of vLLM to use."""
    gpu_memory_gib: float
    gpus: int
    servers: tuple[Server, ...]
    """Servers on the same GPU must start one after the other, because each measures the free memory at startup."""
    notes: tuple[str, ...] = ()
    problem: str = ""
    """Why the servers do not fit, and what would fit; empty if they fit."""

    @property
    def version(self) -> Version:
        """The version of vLLM to use, in a form that can be compared."""
        return Version(self.vllm)

    def require_fit(self) -> None:
        """Checks that the servers fit on the GPUs.

        Raises:
            SettingsError: If they do not fit.
        """
        if self.problem:
            raise SettingsError(f"the profile {self.profile!r}: {self.problem}")

    def to_json(self) -> dict[str, Any]:
        """Returns the plan as a JSON document, with the memory of each server in bytes."""
        servers = [
            server.model_dump(mode="json", exclude={"size"})
            | {
                "weight_bytes": server.size.weight_bytes,
                "cache_bytes": server.cache_bytes,
                "allowance_bytes": server.allowance_bytes,
                "needed_bytes": server.needed_bytes,
                "command": command,
            }
            for server, command in zip(self.servers, self.commands(), strict=True)
        ]
        return self.model_dump(mode="json", exclude={"servers", "problem"}) | {"servers": servers}

    def commands(self) -> tuple[str, ...]:
        """Returns one shell command per server.

        The shell takes the API key from ``CASLIE_API_KEY`` and passes it in the environment. Other users of the machine
        can see the arguments of a process.
        """
        return tuple(
            (f"CUDA_VISIBLE_DEVICES={server.gpu} " if self.gpus > 1 else "")
            + f'VLLM_API_KEY="${{CASLIE_API_KEY:?}}" vllm serve {shlex.join(server.arguments(self.version))}'
            for server in self.servers
        )


def usable_gib(gpu_memory: float) -> float:
    """Returns the memory that a GPU reports, in GiB.

    Args:
        gpu_memory: The memory that the card is sold with, such as 24. Any other number is taken as the reported memory.
    """
    return _CARDS.get(int(gpu_memory), gpu_memory) if gpu_memory == int(gpu_memory) else gpu_memory


def plan_servers(settings: ProfileSettings, *, gpu_memory: float = 24.0, gpus: int = 1) -> Plan:
    """Plans the servers of a profile. Roles with the same URL share a server; each replica is a separate server.

    Args:
        settings: The profile.
        gpu_memory: Memory of each GPU: what the card is sold with, such as 24, or what it reports in GiB, such as 22.5.
        gpus: Number of GPUs.

    Returns:
        The plan. If the servers do not fit on the GPUs, :attr:`Plan.problem` explains why.

    Raises:
        SettingsError: If the profile cannot be served as it is, or if the size of a model is unknown.
    """
    if not gpu_memory > 0 or not math.isfinite(gpu_memory) or gpus < 1:
        raise SettingsError(
            f"cannot plan for {gpus} GPUs of {gpu_memory:g} GiB; a plan needs at least one GPU with more than 0 GiB"
        )
    gpu_memory = usable_gib(gpu_memory)
    version = _choose_version(settings.vllm)
    servers = derive_servers(settings)
    placed = place(servers, gpu_memory, gpus)
    problem = _problem(placed, gpu_memory, gpus)
    if not problem:
        placed = use_spare_memory(placed, gpu_memory)
    return Plan(
        profile=settings.name,
        vllm=str(version),
        gpu_memory_gib=gpu_memory,
        gpus=gpus,
        servers=placed,
        notes=(*settings.notes, *_notes(settings, servers, version), *_spare_capacity(settings, servers, placed)),
        problem=problem,
    )


def _notes(settings: ProfileSettings, servers: Sequence[Server], version: Version) -> list[str]:
    notes: list[str] = []
    for role, endpoint in settings.served_roles.items():
        external = {urlsplit(url).hostname for url in endpoint.urls if url.startswith("https:")}
        notes += [f"{role}: {host} is an external service (https) and not part of this plan" for host in external]
    if version < MEDIA_DOMAINS_SINCE and any(server.size.accepts_images for server in servers):
        notes.append(
            f"vLLM {version} fetches every image URL in a request; make sure that only this machine can reach it"
        )
    if not _is_loopback(host := servers[0].host):
        notes.append(
            f"the commands listen on {host} without encryption; use them in a private network only. A Compose file "
            "listens on the loopback interface"
        )
    return notes


def _spare_capacity(settings: ProfileSettings, derived: Sequence[Server], placed: Sequence[Server]) -> list[str]:
    """Returns a note that names the values of max_concurrency which use the memory that is left."""
    factors: dict[str, float] = {}
    for server, grown in zip(derived, placed, strict=True):
        for role in server.roles:  # a role with replicas has several servers
            factors[role] = min(factors.get(role, math.inf), grown.sequences / server.sequences)
    changes: list[str] = []
    for role, factor in factors.items():
        sent = settings.served_roles[role].max_concurrency
        if (possible := int(sent * factor)) > sent:
            changes.append(f"{role} {possible}")
    if not changes:
        return []
    reason = "the servers accept more requests at once than the profile sends"
    return [f"{reason}; max_concurrency can be: {', '.join(changes)}"]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _choose_version(constraint: str) -> Version:
    """Returns the tested version if the profile allows it, or else the newest version that the constraint names."""
    try:
        allowed = SpecifierSet(constraint)
    except InvalidSpecifier as error:
        raise SettingsError(f"vllm: {constraint!r} is not a version specifier; use one such as '>=0.12'") from error
    named = (Version(spec.version) for spec in allowed if spec.operator in ("==", ">=", "<=", "~=", "==="))
    for version in (TESTED_VLLM, *sorted(named, reverse=True)):
        if version in allowed:
            return version
    raise SettingsError(f"vllm: {constraint!r} names no version that it allows; use a specifier such as '>=0.12'")


def _problem(placed: Sequence[Server], gpu_memory: float, gpus: int) -> str:
    unplaced = [server for server in placed if server.gpu is None]
    if not unplaced:
        return ""
    free = [USABLE_SHARE] * gpus
    for server in placed:
        if server.gpu is not None:
            free[server.gpu] -= server.gpu_memory_utilization
    room = max(free) * gpu_memory
    missing = "; ".join(
        f"{server.name} needs {server.needed_bytes / GIB:.1f} GiB, "
        f"{server.needed_bytes / GIB - room:.1f} GiB more than is free"
        for server in unplaced
    )
    return (
        f"the servers do not fit on {gpus} x {gpu_memory:g} GiB: {missing}. All servers together need "
        f"{sum(server.needed_bytes for server in placed) / GIB:.1f} GiB. {_suggestion(placed)} "
        "A lower max_concurrency or context_length reduces the memory."
    )


def _suggestion(servers: Sequence[Server]) -> str:
    """Returns the smallest number of GPUs of each common size that the servers fit on."""
    options: list[str] = []
    fewest = _MAX_GPUS + 1
    for size, usable in _CARDS.items():
        for number in range(1, fewest):
            if all(server.gpu is not None for server in place(servers, usable, number)):
                options.append(f"{number} x {size} GB")
                fewest = number
                break
    return f"They fit on {', or '.join(options)}." if options else f"They do not fit on {_MAX_GPUS} GPUs of any size."
