"""Renders a plan as a Docker Compose file."""

from pathlib import Path
from typing import Any

import yaml

from caslie_tools.serving.plan import Plan
from caslie_tools.serving.servers import Server

_CONTAINER_PORT = 8000
"""Port inside each container. Compose publishes it on the loopback interface, at the port that the profile names."""
_HEALTH_CHECK = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{_CONTAINER_PORT}/health', timeout=5)"


def render_compose_file(plan: Plan) -> str:
    """Returns a Compose file as YAML: one service per server, on its GPU, reachable from this machine only.

    The file does not contain the API key. Compose reads ``CASLIE_API_KEY`` from the environment, and refuses to start
    if it is not set.
    """
    services: dict[str, Any] = {}
    last_on_gpu: dict[int | None, str] = {}
    for server in plan.servers:
        services[server.name] = _service(plan, server, after=last_on_gpu.get(server.gpu))
        last_on_gpu[server.gpu] = server.name
    text: str = yaml.safe_dump({"name": _project_name(plan), "services": services}, sort_keys=False, width=120)
    return text


def _service(plan: Plan, server: Server, *, after: str | None) -> dict[str, Any]:
    volumes = ["${HF_HOME:-~/.cache/huggingface}:/root/.cache/huggingface"]
    folder = Path(server.model).expanduser()
    if folder.is_dir():
        server = server.model_copy(update={"model": "/models/served"})
        volumes.append(f"{_escape(str(folder.resolve()))}:/models/served:ro")
    arguments = server.arguments(plan.version, host="0.0.0.0", port=_CONTAINER_PORT)  # noqa: S104 (in the container)
    service: dict[str, Any] = {
        "image": f"vllm/vllm-openai:v{plan.vllm}",
        "entrypoint": ["vllm", "serve"],  # the default entrypoint of the image differs between versions
        "command": [_escape(argument) for argument in arguments],
        "environment": {
            "VLLM_API_KEY": "${CASLIE_API_KEY:?set CASLIE_API_KEY}",
            "HF_TOKEN": "${HF_TOKEN:-}",  # needed for models that require you to accept a licence
        },
        "ports": [f"127.0.0.1:{server.port}:{_CONTAINER_PORT}"],
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
            "test": ["CMD", "python3", "-c", _HEALTH_CHECK],
            "interval": "10s",
            "timeout": "10s",
            "retries": 3,
            "start_period": "20m",  # the first start downloads the weights
        },
    }
    if after is not None:  # each server measures the free memory of its GPU at startup, so they start in turn
        service["depends_on"] = {after: {"condition": "service_healthy"}}
    return service


def _escape(text: str) -> str:
    """Escapes a text so that Compose does not expand variables in it."""
    return text.replace("$", "$$")


def _project_name(plan: Plan) -> str:
    name = "".join(c if c.isascii() and c.isalnum() else "-" for c in plan.profile.lower())
    return f"caslie-{name}".replace("caslie-caslie", "caslie").rstrip("-")
