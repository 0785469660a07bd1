"""``caslie tune``: the group of commands that adapt the gate or a model to your own data."""

import typer

from caslie_tools.cli.tune_gate import gate
from caslie_tools.cli.tune_model import tune_model

tune = typer.Typer(name="tune", help="Tune the gate or a model on your own data.")
tune.command()(gate)
tune.command("model")(tune_model)
