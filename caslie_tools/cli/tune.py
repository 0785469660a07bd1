"""``caslie tune``: makes what decides or answers fit your own data. One module per command, added at the end."""

import typer

from caslie_tools.cli.tune_gate import gate
from caslie_tools.cli.tune_model import tune_model

tune = typer.Typer(name="tune", help="Fit the gate, or the model, to your own data.")

tune.command()(gate)
tune.command("model")(tune_model)
