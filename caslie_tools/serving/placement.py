"""Places servers on GPUs, and gives them the memory that is left, for more requests at once."""

import math
from collections.abc import Sequence
from typing import Final

from caslie_tools.serving.servers import GIB, Server

USABLE_SHARE: Final = 0.95
"""Share of the memory of a GPU that servers may use together. The driver and the desktop use the rest."""
MAX_SEQUENCES: Final = 256
"""Most requests at once for which a server gets spare memory: the default of vLLM."""


def place(servers: Sequence[Server], gpu_memory: float, gpus: int) -> tuple[Server, ...]:
    """Returns the servers with their GPUs: spread over the GPUs if they fit so, packed together if only that fits.

    A server that fits nowhere keeps ``gpu=None``.

    Args:
        servers: The servers.
        gpu_memory: The memory that each GPU reports, in GiB.
        gpus: Number of GPUs.
    """
    spread = _place(servers, gpu_memory, gpus, spread=True)
    if all(server.gpu is not None for server in spread):
        return spread
    return _place(servers, gpu_memory, gpus, spread=False)


def use_spare_memory(servers: Sequence[Server], gpu_memory: float) -> tuple[Server, ...]:
    """Returns placed servers that accept more requests at once, as far as the memory of their GPU allows.

    Servers on the same GPU grow in proportion to the requests that their profile sends.
    """
    grown = list(servers)
    growing = set(range(len(servers)))
    while growing:
        # The server that has grown least is next. One that cannot grow further leaves the rest to the others.
        number = min(growing, key=lambda number: (grown[number].sequences / servers[number].sequences, number))
        larger = _with_sequences(servers[number], grown[number].sequences + 1, gpu_memory)
        others = sum(
            _hundredths(other) for place, other in enumerate(grown) if place != number and other.gpu == larger.gpu
        )
        if larger.sequences > MAX_SEQUENCES or _hundredths(larger) + others > _USABLE:
            growing.discard(number)
        else:
            grown[number] = larger
    return tuple(grown)


_USABLE: Final = round(USABLE_SHARE * 100)  # in hundredths, the precision of --gpu-memory-utilization


def _place(servers: Sequence[Server], gpu_memory: float, gpus: int, *, spread: bool) -> tuple[Server, ...]:
    """Places the largest server first: on the GPU with the most free memory, or on the first with enough."""
    free = [_USABLE] * gpus
    placed: dict[str, Server] = {}
    for server in sorted(servers, key=lambda server: -server.needed_bytes):
        share = _share(server, gpu_memory)
        rooms = [number for number, room in enumerate(free) if share <= room]
        gpu = max(rooms, key=lambda number: free[number] if spread else -number, default=None)
        if gpu is not None:
            free[gpu] -= share
        placed[server.name] = server.model_copy(update={"gpu": gpu, "gpu_memory_utilization": share / 100})
    return tuple(placed[server.name] for server in servers)


def _with_sequences(server: Server, sequences: int, gpu_memory: float) -> Server:
    tokens = math.ceil(sequences * server.cache_tokens / server.sequences)
    larger = server.model_copy(update={"sequences": sequences, "cache_tokens": tokens})
    return larger.model_copy(update={"gpu_memory_utilization": _share(larger, gpu_memory) / 100})


def _share(server: Server, gpu_memory: float) -> int:
    return math.ceil(server.needed_bytes / (gpu_memory * GIB) * 100)


def _hundredths(server: Server) -> int:
    return round(server.gpu_memory_utilization * 100)
