"""``caslie data``: the group of commands for instruction data."""

import typer

from caslie_tools.cli.data_build import build
from caslie_tools.cli.data_check import check
from caslie_tools.cli.data_convert import convert
from caslie_tools.cli.data_fetch_images import fetch_images
from caslie_tools.cli.data_stats import stats

data = typer.Typer(
    name="data",
    help="Build, check and convert instruction data in the format of MMECInstruct, and fetch its images.",
)
for command in (build, stats, check, convert, fetch_images):
    data.command()(command)
