"""``caslie endpoints``: the servers of a profile of self-hosted models."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caslie_tools.cli.console import FAILED, OK, err, out, plain

if TYPE_CHECKING:
    from caslie_tools.profiles.checking import RoleReport
    from caslie_tools.serving.plan import Plan

endpoints = typer.Typer(name="endpoints", help="Models you host yourself: plan their servers, start them, check them.")

ProfileName = Annotated[str, typer.Argument(help="caslie-m, caslie-s-24gb, paper, or the path of a .toml file.")]
GpuMemory = Annotated[float, typer.Option("--gpu-memory", min=1, help="Memory of each GPU, in GiB.")]
Gpus = Annotated[int, typer.Option("--gpus", min=1, max=64, help="How many GPUs there are.")]


@endpoints.command()
def plan(
    profile: ProfileName,
    gpu_memory: GpuMemory = 24.0,
    gpus: Gpus = 1,
    compose: Annotated[
        Path | None, typer.Option("--compose", help="Write a Docker Compose file there, if it fits.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> dict[str, Any] | None:
    """Compute the GPU memory a profile's servers need, and print the commands that start them."""
    from caslie_tools.profiles.toml import load_profile_settings
    from caslie_tools.serving.plan import plan_servers

    planned = plan_servers(load_profile_settings(profile), gpu_memory=gpu_memory, gpus=gpus)
    if not as_json:
        _show(planned)
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
    from rich.table import Table

    from caslie_tools.serving.servers import GIB

    table = Table("server", "roles", "GPU", "weights", "KV cache", "allowance", "GiB", "share", "tokens", "at once")
    for server in planned.servers:
        sizes = (server.size.weight_bytes, server.cache_bytes, server.allowance_bytes, server.needed_bytes)
        table.add_row(
            plain(server.name),
            ", ".join(server.roles),
            "none" if server.gpu is None else str(server.gpu),
            *(f"{size / GIB:.2f}" for size in sizes),
            f"{server.gpu_memory_utilization:.2f}",
            f"{server.context_length:,}",
            str(server.sequences),
        )
    out.print(table)
    _show_notes(planned)


def _show_notes(planned: "Plan") -> None:
    for note in planned.notes:
        err.print(f"[dim]note: {plain(note)}[/dim]", soft_wrap=True)


@endpoints.command()
def up(
    profile: ProfileName,
    gpu_memory: GpuMemory = 24.0,
    gpus: Gpus = 1,
    vllm: Annotated[
        str, typer.Option("--vllm", help="How vLLM is started here; the planned arguments follow.")
    ] = "vllm serve",
    logs: Annotated[
        Path | None, typer.Option("--logs", help="Folder for the servers' logs (default: .caslie/logs).")
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, help="Seconds each server has to become healthy.")
    ] = 1200.0,
) -> int:
    """Start the servers of a profile on this machine, and stop them all on Ctrl-C.

    Ctrl-C or SIGTERM gives the servers 15 seconds to end, and a second one none; the exit code is then 0. It is 1 when
    a server cannot be started, or ends by itself: the others are stopped too.
    """
    from caslie_tools.cli.endpoints_up import run_up
    from caslie_tools.profiles.toml import load_profile_settings
    from caslie_tools.serving.plan import plan_servers

    settings = load_profile_settings(profile)
    planned = plan_servers(settings, gpu_memory=gpu_memory, gpus=gpus)
    planned.require_fit()
    _show_notes(planned)
    return run_up(profile, planned, settings, vllm=vllm, log_folder=logs, start_seconds=timeout)


@endpoints.command()
def check(
    profile: ProfileName,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> tuple[dict[str, Any] | None, int]:
    """Find out whether the live servers of a profile do what its roles need."""
    from caslie_tools._concurrency import run_sync
    from caslie_tools.profiles.checking import check_profile
    from caslie_tools.profiles.toml import load_profile_settings

    reports = run_sync(check_profile(load_profile_settings(profile)))
    passed = all(report.passed for report in reports)
    code = OK if passed else FAILED
    if as_json:
        roles = [report.model_dump(mode="json") | {"passed": report.passed} for report in reports]
        return {"passed": passed, "roles": roles}, code
    _show_reports(reports)
    return None, code


def _show_reports(reports: "Sequence[RoleReport]") -> None:
    from rich.table import Table

    table = Table("role", "model", "checked", "latency", "")
    for report in reports:
        wrong = [f"{finding.probe}: {finding.detail}" for finding in report.findings if not finding.passed]
        good = [f"{finding.probe} ({finding.detail})" for finding in report.findings]
        checked = plain("; ".join(wrong or good))
        latency = "" if report.milliseconds is None else f"{report.milliseconds:.0f} ms"
        verdict = "[red]failed[/red]" if wrong else "[green]good[/green]"
        table.add_row(plain(report.role), plain(report.model), checked, latency, verdict)
    out.print(table)
