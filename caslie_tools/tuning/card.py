"""The model card of a tuned adapter: what it was made of and how, all of it read off the run itself."""

import hashlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

from caslie_tools._text import escape_markdown
from caslie_tools._version import __version__
from caslie_tools.exceptions import InputError
from caslie_tools.tuning.report import TuningReport
from caslie_tools.tuning.scoring import TaskScore

CARD: Final = "README.md"
PACKAGES: Final = ("torch", "transformers", "peft", "trl", "accelerate", "datasets")
_LEFT_OUT_SHOWN: Final = 5
_GIB: Final = 2**30


Compared: TypeAlias = Mapping[str, tuple[TaskScore, TaskScore]]
"""Scores of the base and of the tuned model on the same examples, by task."""


def write_card(report: TuningReport, held_out: Compared = MappingProxyType({})) -> Path:
    """Writes the card into the adapter's folder; returns its path.

    Args:
        report: The run.
        held_out: Scores on a test split, where somebody took them.

    Raises:
        InputError: If it cannot be written.
    """
    path = report.adapter / CARD
    try:
        path.write_text(make_card(report, held_out), encoding="utf-8")
        if report.merged is not None:
            (report.merged / CARD).write_text(make_card(report, held_out), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def make_card(report: TuningReport, held_out: Compared = MappingProxyType({})) -> str:
    """Returns the card as Markdown; the arguments are those of :func:`write_card`."""
    settings = report.settings
    base = Path(settings.base).name if Path(settings.base).is_dir() else settings.base
    blocks = [
        f"---\nbase_model: {base}\nlibrary_name: peft\npipeline_tag: text-generation\ntags: [caslie, lora, sft]\n---",
        f"# {settings.out.resolve().name}",
        f"A LoRA adapter for {base}, tuned on fused product instances with caslie-tools {__version__}. Ask it by raw "
        f"completion in the layout `{settings.layout}`, wire format `{settings.wire}`; it was tuned on no other.",
        "## Data\n\n" + _table(("", "instances"), _data_rows(report)),
        _data_notes(report),
        "## Recipe, as run\n\n" + _table(("", ""), _recipe_rows(report)),
        "## Scores\n\n" + "\n\n".join(_scores(report, held_out)),
        "## Versions\n\n" + ", ".join(f"{package} {version(package)}" for package in PACKAGES),
        "## Licence\n\n" + _licence(settings.base, base),
    ]
    return "\n\n".join(blocks) + "\n"


def _data_rows(report: TuningReport) -> list[tuple[str, ...]]:
    rows = [(f"tuned on, {task}", str(count)) for task, count in report.train.items()]
    rows += [(f"validated on, {task}", str(count)) for task, count in report.validation.items()]
    return [*rows, ("left out", str(len(report.left_out)))]


def _data_notes(report: TuningReport) -> str:
    settings, source = report.settings, Path(report.settings.data)
    notes = [
        f"`{source.name}`, splits {', '.join(settings.splits)}; captions: {settings.captions}. "
        f"SHA-256 of what was tuned on, in tokens: `{report.data}`."
    ]
    notes += [f"SHA-256 of `{path.name}`: `{_sha256(path)}`." for path in _files(source)]
    notes += [f"Left out, record {bad.index}: {_line(bad.reason)}." for bad in report.left_out[:_LEFT_OUT_SHOWN]]
    return "\n".join(f"- {note}" for note in notes)


def _recipe_rows(report: TuningReport) -> list[tuple[str, ...]]:
    settings = report.settings
    memory = "" if report.peak_memory is None else f", {report.peak_memory / _GIB:.1f} GiB of its memory at most"
    resumed = f", of which {report.resumed_from} by a run before" if report.resumed_from else ""
    return [
        ("adapter", f"LoRA on all linear projections, rank {settings.rank}, alpha {settings.alpha}"),
        ("parameters", f"{report.trainable:,} tuned, {report.parameters:,} of the base"),
        ("dropout", f"{settings.dropout:g}"),
        ("learning rate", f"{settings.learning_rate:g}, cosine, {settings.warm_up:.0%} warm-up"),
        ("batch", f"{settings.batch_size} {'packed sequences' if settings.packing else 'instances'}"),
        ("epochs", f"{settings.epochs:g}"),
        ("steps", f"{report.steps}{resumed}"),
        ("longest sequence", f"{settings.max_length} tokens"),
        ("loss", "on the answer and its EOS only"),
        ("training loss", f"{report.first_loss:.4f} at the first step, {report.last_loss:.4f} at the last"),
        ("precision", report.dtype),
        ("seed", str(settings.seed)),
        ("machine", f"{report.processes} x {report.device}{memory}"),
        ("time", f"{report.seconds:.0f} s{' since it was resumed' if report.resumed_from else ''}"),
    ]


def _scores(report: TuningReport, held_out: Compared) -> list[str]:
    validated = {task: (report.before[task], after) for task, after in report.after.items()}
    blocks = [
        f"{where}, by constrained choice, with 95% intervals:\n\n" + _comparison(compared)
        for where, compared in (
            ("Held out", held_out),
            (f"On instances drawn from {', '.join(report.settings.validation)}", validated),
        )
        if compared
    ]
    if report.validation_loss:
        before, after = report.validation_loss
        blocks.append(f"Loss on the validation instances: {before:.4f} before, {after:.4f} after.")
    return blocks or ["None were taken."]


def _licence(base: str, name: str) -> str:
    stated = _stated_licence(Path(base) / CARD)
    says = f"its card states {stated}" if stated else "look it up at its source; its files here state none"
    return f"What is derived from {name} is under the licence of {name}: {says}. The data's terms apply as well."


def _stated_licence(card: Path) -> str:
    import yaml

    try:
        _, front, _ = card.read_text(encoding="utf-8").split("---", 2)
        read = yaml.safe_load(front)
    except (OSError, ValueError, yaml.YAMLError):
        return ""
    return _line(str(read.get("license") or "")) if isinstance(read, Mapping) else ""


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    return sorted(path for path in source.glob("*.json*") if path.is_file()) if source.is_dir() else []


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _comparison(compared: Compared) -> str:
    rows = [
        (task, after.metric, str(after.count), _with_interval(before), _with_interval(after))
        for task, (before, after) in compared.items()
    ]
    return _table(("task", "metric", "n", "base", "tuned"), rows)


def _with_interval(score: TaskScore) -> str:
    return f"{score.value:.3f} ({score.interval.low:.3f} to {score.interval.high:.3f})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_line(cell) for cell in line)} |" for line in lines)


def _line(text: str) -> str:
    """A text from elsewhere, that stays in its line and cell."""
    return escape_markdown(text, 200)
