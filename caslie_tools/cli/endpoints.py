"""``caslie endpoints``: the group of commands for model servers that you host yourself."""

import typer

from caslie_tools.cli.endpoints_check import check
from caslie_tools.cli.endpoints_plan import plan
from caslie_tools.cli.endpoints_up import up

endpoints = typer.Typer(name="endpoints", help="Plan, start and check the vLLM servers of a profile.")
for command in (plan, up, check):
    endpoints.command()(command)
