"""Writes a plan as a Docker Compose file."""

from pathlib import Path
from typing import Any

import yaml

from caslie_tools.serving.plan import Plan
from caslie_tools.serving.servers import Server

_INSIDE = 8000
"""Port in the container; outside it is the profile's, on loopback."""
_HEALTHY = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{_INSIDE}/health', timeout=5)"


def compose_file(plan: Plan) -> str:
    """Returns the YAML of a Compose file: one service per server, on its GPU, reachable from this machine only.

    The API key is not in it: Compose takes ``CASLIE_API_KEY`` from the environment and refuses to start without.
    """
    services: dict[str, Any] = {}
    latest: dict[int | None, str] = {}
    for server in plan.servers:
        services[server.name] = _service(plan, server, after=latest.get(server.gpu))
        latest[server.gpu] = server.name
    text: str = yaml.safe_dump({"name": _project(plan), "services": services}, sort_keys=False, width=120)
    return text


def _service(plan: Plan, server: Server, *, after: str | None) -> dict[str, Any]:
    volumes = ["${HF_HOME:-~/.cache/huggingface}:/root/.cache/huggingface"]
    folder = Path(server.model).expanduser()
    if folder.is_dir():
        server = server.model_copy(update={"model": "/models/served"})
        volumes.append(f"{_literal(str(folder.resolve()))}:/models/served:ro")
    arguments = server.arguments(plan.version, host="0.0.0.0", port=_INSIDE)  # noqa: S104 (inside the container)
    service: dict[str, Any] = {
        "image": f"vllm/vllm-openai:v{plan.vllm}",
        "entrypoint": ["vllm", "serve"],  # which of its programs an image starts by itself changed between versions
        "command": [_literal(argument) for argument in arguments],
        "environment": {
            "VLLM_API_KEY": "${CASLIE_API_KEY:?set CASLIE_API_KEY}",
            "HF_TOKEN": "${HF_TOKEN:-}",  # some models are given only to those who agreed to a licence
        },
        "ports": [f"127.0.0.1:{server.port}:{_INSIDE}"],
        "volumes": volumes,
        "ipc": "host",
        "restart": "unless-stopped",
        "deploy": {
            "resources": {
                "reservations": {
                    "devices": [
                        {"driver": "nvidia", "device_ids": [str(server.gpu or 0)], "capabilities": ["gpu"]},
                    ]
                }
            }
        },
        "healthcheck": {
            "test": ["CMD", "python3", "-c", _HEALTHY],
            "interval": "10s",
            "timeout": "10s",
            "retries": 3,
            "start_period": "20m",  # the first start downloads the weights
        },
    }
    if after is not None:  # each measures the memory that is free on their GPU, so they start one by one
        service["depends_on"] = {after: {"condition": "service_healthy"}}
    return service


def _literal(text: str) -> str:
    """Keeps Compose from seeing a variable in it."""
    return text.replace("$", "$$")


def _project(plan: Plan) -> str:
    name = "".join(c if c.isascii() and c.isalnum() else "-" for c in plan.profile.lower())
    return f"caslie-{name}".replace("caslie-caslie", "caslie").rstrip("-")
