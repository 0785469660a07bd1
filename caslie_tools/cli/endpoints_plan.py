"""``caslie endpoints plan``: computes the memory of the servers of a profile, and their start commands."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from caslie_tools.cli.console import err, out, plain, show_notes, show_table
from caslie_tools.cli.options import AsJson
from caslie_tools.cli.runner import Document

if TYPE_CHECKING:
    from caslie_tools.serving.plan import Plan
    from caslie_tools.serving.servers import Server

ServedProfile = Annotated[
    str,
    typer.Argument(
        metavar="PROFILE", help="Name of a profile (caslie-m, caslie-s-24gb or paper), or path of a .toml file."
    ),
]
GpuMemory = Annotated[
    float,
    typer.Option(
        "--gpu-memory",
        min=1,
        help="Memory of each GPU: what the card is sold with (24), or what it reports in GiB (22.5).",
    ),
]
Gpus = Annotated[int, typer.Option("--gpus", min=1, max=64, help="Number of GPUs.")]


def plan(
    profile: ServedProfile,
    gpu_memory: GpuMemory = 24.0,
    gpus: Gpus = 1,
    compose: Annotated[
        Path | None, typer.Option("--compose", help="Also write a Docker Compose file to this path.")
    ] = None,
    as_json: AsJson = False,
) -> Document | None:
    """Compute the GPU memory of the servers of a profile, and print the commands that start them.

    The exit code is 1 if the servers do not fit on the GPUs.
    """
    from caslie_tools.profiles.toml import load_profile_settings
    from caslie_tools.serving.plan import plan_servers

    planned = plan_servers(load_profile_settings(profile), gpu_memory=gpu_memory, gpus=gpus)
    if not as_json:
        _show(planned)
        show_notes(planned.notes)
    planned.require_fit()
    if compose is not None:
        from caslie_tools.serving.compose import render_compose_file

        compose.write_text(render_compose_file(planned), encoding="utf-8")
        err.print(f"wrote {plain(compose)}; start it with: docker compose -f {plain(compose)} up -d", soft_wrap=True)
    if as_json:
        return planned.to_json()
    for command in planned.commands():
        out.print(plain(command), soft_wrap=True)
    return None


def _show(planned: "Plan") -> None:
    from caslie_tools.serving.servers import GIB

    out.print(
        f"Memory of the servers in GiB, on {planned.gpus} x {planned.gpu_memory_gib:g} GiB. Each server reserves the "
        "share of its GPU in brackets: its weights, the cache for all its requests at full length, and an estimate for "
        "the rest. Memory that is left goes to the cache, for more requests at once."
    )
    show_table(
        ("server", "GPU", "weights", "KV cache", "other", "total"),
        (
            (
                plain(_description(server)),
                "none" if server.gpu is None else f"{server.gpu} ({server.gpu_memory_utilization:.0%})",
                f"{server.size.weight_bytes / GIB:.2f}",
                f"{server.cache_bytes / GIB:.2f}",
                f"{server.allowance_bytes / GIB:.2f}",
                f"{server.needed_bytes / GIB:.2f}",
            )
            for server in planned.servers
        ),
    )


def _description(server: "Server") -> str:
    capacity = f"{server.sequences} requests of {server.context_length:,} tokens"
    return f"{server.name}\n{', '.join(server.roles)}\n{capacity}"
