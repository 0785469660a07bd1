"""``caslie tune model``: LoRA tuning of a causal language model on instruction data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from caslie_tools.cli import console
from caslie_tools.cli.console import plain, show_table
from caslie_tools.cli.options import AsJson, Dataset, ShowProgress, split_lists
from caslie_tools.cli.progress import ProgressDisplay, show_progress
from caslie_tools.cli.render import show_skipped_records
from caslie_tools.cli.runner import Document

if TYPE_CHECKING:
    from caslie_tools.tuning.report import TuningReport

_DATA = "Data"
_PROMPT = "Prompt"
_LORA = "LoRA"
_TRAINING = "Training"
_DEVICE = "Device"
_EVALUATION = "Evaluation"


def tune_model(
    context: typer.Context,
    data: Dataset,
    base: Annotated[
        str, typer.Option("--base", help="Causal language model to tune: a folder, or a name on the Hugging Face Hub.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the adapter, its model card and the checkpoints.")],
    revision: Annotated[
        str | None, typer.Option("--revision", help="Branch, tag or commit of the base model. Default: the newest.")
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--tasks",
            callback=split_lists,
            help="Only these tasks, by name or abbreviation (cc,mpc). Repeatable. Default: all.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    splits: Annotated[
        list[str] | None,
        typer.Option(
            "--split",
            callback=split_lists,
            help="Splits to tune on. Repeatable. Default: train.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    instances: Annotated[
        int | None,
        typer.Option(
            "--instances", help="Maximum number of instances, chosen at random. Default: all.", rich_help_panel=_DATA
        ),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(
            "--max-length",
            help="Maximum tokens of an instance; longer instances are skipped. Default: 2048.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            "--layout",
            help="Prompt layout: alpaca, mistral, llama-2 or llama-3. Default: alpaca.",
            rich_help_panel=_PROMPT,
        ),
    ] = None,
    wire: Annotated[
        str | None,
        typer.Option(
            "--wire",
            help="Form of the fused text: corrected, or paper (as in the published models). Default: corrected.",
            rich_help_panel=_PROMPT,
        ),
    ] = None,
    captions: Annotated[
        str | None,
        typer.Option(
            "--captions",
            help="Captions in the text: kept (by the jury), all or none. Default: kept.",
            rich_help_panel=_PROMPT,
        ),
    ] = None,
    rank: Annotated[
        int | None, typer.Option("--rank", help="Rank of the adapter. Default: 16.", rich_help_panel=_LORA)
    ] = None,
    alpha: Annotated[
        int | None,
        typer.Option(
            "--alpha", help="The output of the adapter is scaled by alpha / rank. Default: 32.", rich_help_panel=_LORA
        ),
    ] = None,
    dropout: Annotated[
        float | None,
        typer.Option("--dropout", help="Dropout before the adapter. Default: 0.05.", rich_help_panel=_LORA),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", help="Peak learning rate. Default: 1e-4.", rich_help_panel=_TRAINING),
    ] = None,
    warm_up: Annotated[
        float | None,
        typer.Option(
            "--warm-up",
            help="Share of the steps before the peak learning rate. Default: 0.05.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    epochs: Annotated[
        float | None, typer.Option("--epochs", help="Passes over the data. Default: 3.", rich_help_panel=_TRAINING)
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size", help="Instances per step, over all devices. Default: 128.", rich_help_panel=_TRAINING
        ),
    ] = None,
    packing: Annotated[
        bool,
        typer.Option("--packing", help="Pack several short instances into one sequence.", rich_help_panel=_TRAINING),
    ] = False,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of all random choices. Default: 0.", rich_help_panel=_TRAINING)
    ] = None,
    save_steps: Annotated[
        int | None,
        typer.Option("--save-steps", help="Steps between two checkpoints. Default: 50.", rich_help_panel=_TRAINING),
    ] = None,
    device_batch_size: Annotated[
        int | None,
        typer.Option(
            "--device-batch-size", help="Instances at once on one device. Default: 4.", rich_help_panel=_DEVICE
        ),
    ] = None,
    no_gradient_checkpointing: Annotated[
        bool,
        typer.Option(
            "--no-gradient-checkpointing",
            help="Keep all activations in memory. This is faster, but needs more memory.",
            rich_help_panel=_DEVICE,
        ),
    ] = False,
    device: Annotated[
        str | None, typer.Option("--device", help="auto or cpu. Default: auto.", rich_help_panel=_DEVICE)
    ] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="auto, bfloat16 or float32. Default: auto.", rich_help_panel=_DEVICE)
    ] = None,
    validation: Annotated[
        list[str] | None,
        typer.Option(
            "--validation",
            callback=split_lists,
            help="Splits to evaluate on. Repeatable. Default: validation.",
            rich_help_panel=_EVALUATION,
        ),
    ] = None,
    score_instances: Annotated[
        int | None,
        typer.Option(
            "--score-instances",
            help="Number of validation instances to score. With 0, only the loss is computed. Default: 200.",
            rich_help_panel=_EVALUATION,
        ),
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Also write the full weights, to OUT/merged.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Resume from the newest checkpoint in OUT.")] = False,
    progress: ShowProgress = ProgressDisplay.AUTO,
    as_json: AsJson = False,
) -> Document | None:
    """Tune a causal language model on instruction data with LoRA. Only the answers count towards the loss.

    The defaults follow the recipe of the authors of the paper. To use several GPUs or machines, run `accelerate launch
    -m caslie_tools.cli tune model` with the same arguments. To resume a run that was killed, add `--resume`.
    """
    from caslie_tools.tuning.model import tune_model as tune
    from caslie_tools.tuning.settings import TuningSettings, load_settings

    names = TuningSettings.model_fields.keys() & context.params.keys()
    values = {name: context.params[name] for name in names}
    settings = load_settings(values | {"gradient_checkpointing": not no_gradient_checkpointing})
    with show_progress(progress) as advance:
        report = tune(settings, resume=resume, progress=advance)
    if not report.main_process:
        return None
    if as_json:
        return report.model_dump(mode="json")
    _show(report)
    return None


def _show(report: "TuningReport") -> None:
    show_skipped_records(report.left_out)
    console.out.print(
        f"{sum(report.train.values())} instances, {report.steps} steps in {report.seconds:.0f} s; training loss "
        f"{report.first_loss:.4f} in the first step, {report.last_loss:.4f} in the last step"
    )
    if report.after:
        show_table(
            ("task", "metric", "instances", "before", "after"),
            (
                (task, after.metric, str(after.count), f"{report.before[task].value:.3f}", f"{after.value:.3f}")
                for task, after in report.after.items()
            ),
        )
    console.out.print(f"the adapter is in {plain(report.adapter)}", soft_wrap=True)
    if report.merged is not None:
        console.out.print(f"the full weights are in {plain(report.merged)}", soft_wrap=True)
