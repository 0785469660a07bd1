"""``caslie eval``: the group of commands for evaluation. ``caslie eval DATA`` is short for ``caslie eval run DATA``."""

from typing import Any

import typer
from typer.core import TyperGroup

from caslie_tools.cli.eval_compare import compare
from caslie_tools.cli.eval_run import evaluate

_DEFAULT_COMMAND = "run"


class _GroupWithDefault(TyperGroup):
    """A group that inserts the name of its default command if the first argument is not a command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if args and args[0] in self.commands else [_DEFAULT_COMMAND, *args])


evaluation = typer.Typer(
    name="eval",
    cls=_GroupWithDefault,
    help="Evaluate models on instruction data, with and without captions, and compare runs.",
)
evaluation.command(
    _DEFAULT_COMMAND,
    epilog="caslie eval DATA is short for caslie eval run DATA. To compare two runs: caslie eval compare A B.",
)(evaluate)
evaluation.command()(compare)
