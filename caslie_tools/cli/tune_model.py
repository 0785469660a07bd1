"""``caslie tune model``: LoRA tuning of a causal LM on instruction data."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caslie_tools.cli import console
from caslie_tools.cli.console import ProgressDisplay, plain

if TYPE_CHECKING:
    from caslie_tools.tuning.report import TuningReport

_LEFT_OUT_SHOWN = 10


def tune_model(
    context: typer.Context,
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="Instruction data: a file, its folder, or a dataset's id on the hub.")
    ],
    base: Annotated[str, typer.Option("--base", help="The causal LM to tune: a folder, or its name on the hub.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the adapter, its card and the checkpoints.")],
    revision: Annotated[str | None, typer.Option("--revision", help="The base's revision on the hub.")] = None,
    layout: Annotated[
        str | None, typer.Option("--layout", help="alpaca (default), mistral, llama-2 or llama-3.")
    ] = None,
    wire: Annotated[str | None, typer.Option("--wire", help="Form of the text: corrected (default) or paper.")] = None,
    captions: Annotated[
        str | None, typer.Option("--captions", help="Captions fused in: kept (default), all or none.")
    ] = None,
    tasks: Annotated[list[str] | None, typer.Option("--task", help="Only this task; repeatable.")] = None,
    splits: Annotated[list[str] | None, typer.Option("--split", help="Tune on this split (train); repeatable.")] = None,
    validation: Annotated[
        list[str] | None, typer.Option("--validation", help="Evaluate on this split (validation); repeatable.")
    ] = None,
    instances: Annotated[int | None, typer.Option("--instances", help="Tune on so many, drawn (all).")] = None,
    max_length: Annotated[int | None, typer.Option("--max-length", help="Tokens of an instance (2048).")] = None,
    rank: Annotated[int | None, typer.Option("--rank", help="Of the adapter (16).")] = None,
    alpha: Annotated[int | None, typer.Option("--alpha", help="Scales the adapter by alpha / rank (32).")] = None,
    dropout: Annotated[float | None, typer.Option("--dropout", help="Before the adapter (0.05).")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="At its peak (1e-4).")] = None,
    warm_up: Annotated[float | None, typer.Option("--warm-up", help="Share of steps to reach the peak (0.05).")] = None,
    epochs: Annotated[float | None, typer.Option("--epochs", help="Passes over the data (3).")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Instances a step, in all (128).")] = None,
    device_batch_size: Annotated[
        int | None, typer.Option("--device-batch-size", help="Instances at once on one device (4).")
    ] = None,
    packing: Annotated[bool, typer.Option("--packing", help="Put short instances side by side.")] = False,
    gradient_checkpointing: Annotated[
        bool, typer.Option(help="Less memory for more time; --no-... where memory is plenty.")
    ] = True,
    device: Annotated[str | None, typer.Option("--device", help="auto (default) or cpu.")] = None,
    dtype: Annotated[str | None, typer.Option("--dtype", help="auto (default), bfloat16 or float32.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="The same seed, the same adapter (0).")] = None,
    score_instances: Annotated[
        int | None, typer.Option("--score-instances", help="Validation instances to score; 0: the loss only (200).")
    ] = None,
    save_steps: Annotated[int | None, typer.Option("--save-steps", help="Steps between checkpoints (50).")] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Write full weights as well, in OUT/merged.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in OUT.")] = False,
    progress: Annotated[
        ProgressDisplay, typer.Option("--progress", help="On standard error: a bar, or a line a step.")
    ] = ProgressDisplay.AUTO,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> dict[str, Any] | None:
    """Tune a model of your own on instruction data: LoRA, on the answers only.

    The defaults are the recipe of the paper's group. On several GPUs or machines, run `accelerate launch -m
    caslie_tools.cli tune model` with the same arguments. --resume continues a run that was killed.
    """
    from caslie_tools.tuning.configuration import TuningSettings, load_settings
    from caslie_tools.tuning.model import tune

    names = TuningSettings.model_fields.keys() & context.params.keys()
    settings = load_settings({name: context.params[name] for name in names})
    with console.shown_progress(progress) as advance:
        report = tune(settings, resume=resume, progress=advance)
    if not report.main_process:
        return None
    if as_json:
        return report.model_dump(mode="json")
    _show(report)
    return None


def _show(report: "TuningReport") -> None:
    from rich.table import Table

    console.show_warnings(_left_out(report))
    console.out.print(
        f"{sum(report.train.values())} instances, {report.steps} steps in {report.seconds:.0f} s: training loss "
        f"{report.first_loss:.4f} at first, {report.last_loss:.4f} at last"
    )
    if report.after:
        table = Table("task", "metric", "instances", "before", "after")
        for task, after in report.after.items():
            before = report.before[task]
            table.add_row(task, after.metric, str(after.count), f"{before.value:.3f}", f"{after.value:.3f}")
        console.out.print(table)
    console.out.print(f"the adapter is in {plain(report.adapter)}", soft_wrap=True)
    if report.merged is not None:
        console.out.print(f"full weights are in {plain(report.merged)}", soft_wrap=True)


def _left_out(report: "TuningReport") -> Iterable[str]:
    for bad in report.left_out[:_LEFT_OUT_SHOWN]:
        yield f"record {bad.index} is left out: {bad.reason}"
    if (more := len(report.left_out) - _LEFT_OUT_SHOWN) > 0:
        yield f"and {more} more; --json lists all"
