"""Builds the command line and the environment that start each server of a plan on this machine."""

import os
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from caslie_tools.exceptions import InputError, SettingsError
from caslie_tools.profiles.settings import ProfileSettings
from caslie_tools.serving.plan import TESTED_VLLM, Plan
from caslie_tools.serving.servers import Server

VLLM_SERVE = "vllm serve"
_VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, kw_only=True)
class Launch:
    """The command and the environment of one server process."""

    server: Server
    command: tuple[str, ...]
    """Does not contain the API key, because every user of the machine can read command lines."""
    environment: Mapping[str, str] = field(repr=False)
    """Contains the API key as ``VLLM_API_KEY``."""


def build_launches(
    plan: Plan, settings: ProfileSettings, *, vllm: str = VLLM_SERVE, environment: Mapping[str, str] | None = None
) -> tuple[Launch, ...]:
    """Returns how to start each server of a plan, in the order of the plan.

    Args:
        plan: The plan.
        settings: The profile that the plan was made for. It holds the API keys.
        vllm: The command that serves a model, as typed in a shell, without the planned arguments.
        environment: The environment that the servers inherit, by default that of this process. Variables that start
            with ``CASLIE_`` are not passed on.

    Raises:
        InputError: If ``vllm`` is not a valid command line.
        SettingsError: If the plan has a problem, if the program is not installed, if a server has no API key or
            several, or if a planned GPU is not visible.
    """
    plan.require_fit()
    inherited = os.environ if environment is None else environment
    program = _program(vllm, plan, inherited)
    shared = {name: value for name, value in inherited.items() if not name.startswith("CASLIE_")}
    launches = []
    for server in plan.servers:
        own = {
            "VLLM_API_KEY": _api_key(server, settings),
            _VISIBLE_GPUS: _gpu(server, inherited.get(_VISIBLE_GPUS)),
        }
        command = (*program, *server.arguments(plan.version))
        launches.append(Launch(server=server, command=command, environment=shared | own))
    return tuple(launches)


def _program(vllm: str, plan: Plan, environment: Mapping[str, str]) -> tuple[str, ...]:
    try:
        name, *arguments = shlex.split(vllm)
    except ValueError as error:  # unbalanced quotes, or an empty command
        raise InputError(f"{vllm!r} is not a valid command; pass one such as {VLLM_SERVE!r}") from error
    found = shutil.which(str(Path(name).expanduser()) if name.startswith("~") else name, path=environment.get("PATH"))
    if found is None:
        package = "'caslie-tools[vllm]'" if plan.version == TESTED_VLLM else f"vllm=={plan.vllm}"
        raise SettingsError(
            f"the program {name!r} was not found, and it starts the servers; install it with pip install {package}, "
            "or pass another command with --vllm"
        )
    return (found, *arguments)


def _api_key(server: Server, settings: ProfileSettings) -> str:
    keys = [settings.served_roles[role].api_key for role in server.roles]
    if any(key != keys[0] for key in keys):
        raise SettingsError(
            f"{server.name}: the roles of this server ({', '.join(server.roles)}) have different API keys, and a "
            "server has only one; remove the keys of the roles and set CASLIE_API_KEY, which applies to all roles"
        )
    if keys[0] is None:
        raise SettingsError(
            f"{server.name}: no API key is set; set CASLIE_API_KEY to a long random text (`openssl rand -hex 32` "
            "prints one), for this command and for every command that uses the servers"
        )
    return keys[0].get_secret_value().strip()


def _gpu(server: Server, visible: str | None) -> str:
    """Returns ``CUDA_VISIBLE_DEVICES`` for a server. If the user has set it, the plan counts the GPUs it lists."""
    number = server.gpu or 0
    if visible is None:
        return str(number)
    devices = [name.strip() for name in visible.split(",") if name.strip()]
    if number >= len(devices):
        raise SettingsError(
            f"{server.name}: the plan needs {number + 1} GPUs, but {_VISIBLE_GPUS} makes only {len(devices)} visible; "
            "change it, or plan with a lower --gpus"
        )
    return devices[number]
