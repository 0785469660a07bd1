"""How each server of a plan is started on this machine: its command and its environment."""

import os
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from caslie_tools.exceptions import InputError, SettingsError
from caslie_tools.profiles.settings import ProfileSettings
from caslie_tools.serving.plan import Plan
from caslie_tools.serving.servers import Server

VLLM_SERVE = "vllm serve"
_GPUS = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How one server is started."""

    server: Server
    command: tuple[str, ...]
    """The API key is not in it: everybody on a machine sees what the others run."""
    environment: Mapping[str, str] = field(repr=False)
    """With the API key, as ``VLLM_API_KEY``."""
    api_key: SecretStr


def launches_of(
    plan: Plan, settings: ProfileSettings, *, vllm: str = VLLM_SERVE, environment: Mapping[str, str] | None = None
) -> tuple[Launch, ...]:
    """Returns how the servers of a plan are started, in its order.

    Args:
        plan: What to start.
        settings: The profile it was made for: it has the API keys.
        vllm: The command that serves a model, as one would type it, without the planned arguments.
        environment: What the servers find in theirs, but for our own settings; by default ours.

    Raises:
        InputError: If ``vllm`` is no command line.
        SettingsError: If the plan has a problem, or there is no such program, no API key or no such GPU.
    """
    plan.require_fit()
    given = os.environ if environment is None else environment
    program = _program(vllm, plan, given)
    shared = {name: value for name, value in given.items() if not name.startswith("CASLIE_")}
    launches = []
    for server in plan.servers:
        key = _api_key(server, settings)
        own = {"VLLM_API_KEY": key.get_secret_value().strip(), _GPUS: _gpu(server, given.get(_GPUS))}
        command = (*program, *server.arguments(plan.version))
        launches.append(Launch(server=server, command=command, environment=shared | own, api_key=key))
    return tuple(launches)


def _program(vllm: str, plan: Plan, environment: Mapping[str, str]) -> tuple[str, ...]:
    try:
        name, *arguments = shlex.split(vllm)
    except ValueError as error:  # quotes that do not match, or nothing at all
        raise InputError(f"{vllm!r} is no command that starts vLLM, such as {VLLM_SERVE!r}") from error
    found = shutil.which(str(Path(name).expanduser()) if name.startswith("~") else name, path=environment.get("PATH"))
    if found is None:
        raise SettingsError(
            f"there is no program {name!r} here to start the servers with: pip install vllm=={plan.vllm}, or say with "
            "--vllm how it is started"
        )
    return (found, *arguments)


def _api_key(server: Server, settings: ProfileSettings) -> SecretStr:
    keys = [settings.roles[role].api_key for role in server.roles]
    if any(key != keys[0] for key in keys):
        raise SettingsError(
            f"{server.name}: a server has one API key, but its roles have several ({', '.join(server.roles)}); "
            "CASLIE_API_KEY is the key of every role without one of its own"
        )
    if keys[0] is None:
        raise SettingsError(
            f"{server.name}: no API key is set; set CASLIE_API_KEY to a long random text, such as "
            "`openssl rand -hex 32` prints, here and for every command that uses the servers"
        )
    return keys[0]


def _gpu(server: Server, visible: str | None) -> str:
    """What CUDA is told of a server's GPU; where the user lets only some be seen, the plan counts among those."""
    number = server.gpu or 0
    if visible is None:
        return str(number)
    seen = [name.strip() for name in visible.split(",") if name.strip()]
    if number >= len(seen):
        raise SettingsError(
            f"{server.name}: {_GPUS} lets {len(seen)} GPUs be seen, and the plan counts on {number + 1}; "
            "change it, or plan with fewer --gpus"
        )
    return seen[number]
