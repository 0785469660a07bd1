"""``caslie tune``: the group of commands that adapt the gate, the use of pictures or a model to your own data."""

import typer

from caslie_tools.cli.tune_gate import gate
from caslie_tools.cli.tune_model import tune_model
from caslie_tools.cli.tune_text_first import text_first

tune = typer.Typer(name="tune", help="Tune the gate, the use of pictures or a model on your own data.")
tune.command()(gate)
tune.command("text-first")(text_first)
tune.command("model")(tune_model)
