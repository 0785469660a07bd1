"""The model card of a tuned adapter: its data, recipe and scores, written from the report of the run."""

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

from caslie_tools._text import escape_markdown
from caslie_tools._version import __version__
from caslie_tools.data.markdown import markdown_table
from caslie_tools.exceptions import InputError
from caslie_tools.tuning.report import TuningReport
from caslie_tools.tuning.scoring import TaskScore

CARD_FILE: Final = "README.md"
PACKAGES: Final = ("torch", "transformers", "peft", "trl", "accelerate", "datasets")
_MAX_LEFT_OUT: Final = 5
"""Maximum number of left-out records that are listed."""
_GIB: Final = 2**30


ScorePairs: TypeAlias = Mapping[str, tuple[TaskScore, TaskScore]]
"""The scores of the base and of the tuned model on the same examples, by task."""


def write_model_card(report: TuningReport, held_out: ScorePairs = MappingProxyType({})) -> Path:
    """Writes the card into the adapter's folder and, if there are merged weights, into their folder.

    Args:
        report: The report of the run.
        held_out: Scores on a test split, if it was evaluated.

    Returns:
        The path of the card in the adapter's folder.

    Raises:
        InputError: If the card cannot be written.
    """
    path = report.adapter / CARD_FILE
    try:
        path.write_text(render_model_card(report, held_out), encoding="utf-8")
        if report.merged is not None:
            (report.merged / CARD_FILE).write_text(render_model_card(report, held_out), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def render_model_card(report: TuningReport, held_out: ScorePairs = MappingProxyType({})) -> str:
    """Returns the card as Markdown. The arguments are those of :func:`write_model_card`."""
    settings = report.settings
    base = Path(settings.base).name if Path(settings.base).is_dir() else settings.base
    blocks = [
        f"---\nbase_model: {base}\nlibrary_name: peft\npipeline_tag: text-generation\ntags: [caslie, lora, sft]\n---",
        f"# {settings.out.resolve().name}",
        f"A LoRA adapter for {base}, tuned on fused product instances with caslie-tools {__version__}. Use it with raw "
        f"completions in the layout `{settings.layout}` and the wire format `{settings.wire}`. It was not tuned on any "
        "other format.",
        "## Data\n\n" + markdown_table(("data", "instances"), _data_rows(report)),
        _data_notes(report),
        "## Recipe\n\n" + markdown_table(("setting", "value"), _recipe_rows(report)),
        "## Scores\n\n" + "\n\n".join(_scores(report, held_out)),
        "## Versions\n\n" + ", ".join(f"{package} {version(package)}" for package in PACKAGES),
        "## Licence\n\n" + _licence(settings.base, base),
    ]
    return "\n\n".join(blocks) + "\n"


def _data_rows(report: TuningReport) -> list[tuple[str, ...]]:
    rows = [(f"training, {task}", str(count)) for task, count in report.train.items()]
    rows += [(f"validation, {task}", str(count)) for task, count in report.validation.items()]
    return [*rows, ("left out", str(len(report.left_out)))]


def _data_notes(report: TuningReport) -> str:
    settings, source = report.settings, Path(report.settings.data)
    notes = [
        f"Source: `{source.name}`, splits {', '.join(settings.splits)}, captions {settings.captions}. "
        f"SHA-256 of the training tokens: `{report.data}`."
    ]
    notes += [f"SHA-256 of `{path.name}`: `{_sha256(path)}`." for path in _files(source)]
    notes += [
        f"Record {bad.index} is left out: {_escaped_line(bad.reason)}." for bad in report.left_out[:_MAX_LEFT_OUT]
    ]
    return "\n".join(f"- {note}" for note in notes)


def _recipe_rows(report: TuningReport) -> list[tuple[str, ...]]:
    settings = report.settings
    memory = "" if report.peak_memory is None else f", peak memory {report.peak_memory / _GIB:.1f} GiB"
    resumed = f", of which {report.resumed_from} in an earlier run" if report.resumed_from else ""
    return [
        ("adapter", f"LoRA on all linear projections, rank {settings.rank}, alpha {settings.alpha}"),
        ("parameters", f"{report.trainable:,} in the adapter, {report.parameters:,} in the base"),
        ("dropout", f"{settings.dropout:g}"),
        ("learning rate", f"{settings.learning_rate:g}, cosine, {settings.warm_up:.0%} warm-up"),
        ("batch", f"{settings.batch_size} {'packed sequences' if settings.packing else 'instances'}"),
        ("epochs", f"{settings.epochs:g}"),
        ("steps", f"{report.steps}{resumed}"),
        ("maximum length", f"{settings.max_length} tokens"),
        ("loss", "only on the answer and its EOS"),
        ("training loss", f"{report.first_loss:.4f} at the first step, {report.last_loss:.4f} at the last step"),
        ("precision", report.dtype),
        ("seed", str(settings.seed)),
        ("machine", f"{report.processes} x {report.device}{memory}"),
        ("time", f"{report.seconds:.0f} s{' since the run was resumed' if report.resumed_from else ''}"),
    ]


def _scores(report: TuningReport, held_out: ScorePairs) -> list[str]:
    validated = {task: (report.before[task], after) for task, after in report.after.items()}
    blocks = [
        f"{title}, answered by constrained choice, with 95% intervals:\n\n" + _comparison(pairs)
        for title, pairs in (
            ("Scores on held-out data", held_out),
            (f"Scores on a sample of the split {', '.join(report.settings.validation)}", validated),
        )
        if pairs
    ]
    if report.validation_loss:
        before, after = report.validation_loss
        blocks.append(f"Loss on the validation instances: {before:.4f} before tuning, {after:.4f} after tuning.")
    return blocks or ["The model was not scored."]


def _licence(base: str, name: str) -> str:
    stated = _stated_licence(Path(base) / CARD_FILE)
    licence = f"Its card states {stated}." if stated else "Its local files do not state one; look it up at its source."
    derived = f"The adapter is derived from {name}, so the licence of {name} applies."
    return f"{derived} {licence} The terms of the data apply too."


def _stated_licence(card: Path) -> str:
    import yaml

    try:
        _, front, _ = card.read_text(encoding="utf-8").split("---", 2)
        read = yaml.safe_load(front)
    except (OSError, ValueError, yaml.YAMLError):
        return ""
    return _escaped_line(str(read.get("license") or "")) if isinstance(read, Mapping) else ""


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    return sorted(path for path in source.glob("*.json*") if path.is_file()) if source.is_dir() else []


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _comparison(pairs: ScorePairs) -> str:
    rows = [
        (task, after.metric, str(after.count), _with_interval(before), _with_interval(after))
        for task, (before, after) in pairs.items()
    ]
    return markdown_table(("task", "metric", "instances", "base", "tuned"), rows)


def _with_interval(score: TaskScore) -> str:
    return f"{score.value:.3f} ({score.interval.low:.3f} to {score.interval.high:.3f})"


def _escaped_line(text: str) -> str:
    """Returns a text from the data or the base, escaped and on one line."""
    return escape_markdown(text, 200)
