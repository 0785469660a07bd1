"""Tunes a causal LM on fused instances: LoRA, supervised, the loss on the answers only (paper, section on uniM3)."""

import hashlib
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from caslie_tools._optional import require
from caslie_tools.backends.transformers.loading import LoadedModel, is_out_of_memory, load_language_model
from caslie_tools.backends.transformers.settings import TransformersSettings
from caslie_tools.data.reading import read_records
from caslie_tools.domain import ProgressCallback
from caslie_tools.exceptions import CaslieError, DataError, ModelError
from caslie_tools.tuning.checkpoints import prepare_run
from caslie_tools.tuning.examples import TrainingData, TrainingExample, make_examples, sample_examples
from caslie_tools.tuning.model_card import write_model_card
from caslie_tools.tuning.report import TuningReport
from caslie_tools.tuning.settings import TuningSettings

if TYPE_CHECKING:
    from caslie_tools.tuning.training import ScoringTrainer

EXTRA: Final = "tuning"
MERGED_FOLDER: Final = "merged"


def tune_model(
    settings: TuningSettings, *, resume: bool = False, progress: ProgressCallback | None = None
) -> TuningReport:
    """Tunes a model. Writes the adapter, the tokenizer and the model card and, with ``merge``, full weights.

    With ``accelerate launch``, every process calls this function, and the main process writes.

    Args:
        settings: The model, the data and the recipe.
        resume: Whether to resume from the newest checkpoint in the folder, if there is one.
        progress: Called after every step and every checkpoint.

    Raises:
        MissingExtraError: If the extra ``tuning`` is not installed.
        InputError: If the data cannot be used, or if the folder is not empty and ``resume`` is false.
        SettingsError: If the settings do not fit the machine, or differ from those of the run to resume.
        ModelError: If the base cannot be loaded or tuned.
    """
    for module in ("torch", "transformers", "peft", "trl", "datasets", "accelerate", "sklearn"):
        require(module, EXTRA, f"Tuning {settings.base}")
    with _quiet_libraries():
        try:
            return _tune(settings, resume, progress)
        except CaslieError:
            raise
        except Exception as error:  # the libraries raise errors of many types
            reason = (
                "out of memory; lower device_batch_size or max_length, or set gradient_checkpointing"
                if is_out_of_memory(error)
                else f"{type(error).__name__}: {str(error)[:300]}"
            )
            raise ModelError(
                f"tuning {settings.base} failed: {reason}; --resume continues from a checkpoint"
            ) from error


def load_tuned_model(base: str, adapter: Path, *, revision: str | None = None) -> LoadedModel:
    """Loads a base model with an adapter merged into its weights, in float32 on the CPU.

    Raises:
        MissingExtraError: If the extra ``tuning`` is not installed.
        ModelError: If the base or the adapter cannot be loaded.
    """
    peft = require("peft", EXTRA, f"Loading {adapter}")
    loaded = load_language_model(TransformersSettings(model=base, revision=revision, device="cpu", dtype="float32"))
    with _quiet_libraries():
        try:
            adapted = peft.PeftModel.from_pretrained(loaded.model, adapter)
        except Exception as error:  # the libraries raise errors of many types for a broken folder
            reason = f"{type(error).__name__}; check that it belongs to this base model"
            raise ModelError(f"the adapter {adapter} cannot be loaded: {reason}") from error
        return replace(loaded, model=adapted.merge_and_unload().eval())


def _tune(settings: TuningSettings, resume: bool, progress: ProgressCallback | None) -> TuningReport:
    from caslie_tools.tuning.training import logged_scores, logged_values, make_trainer, training_arguments

    dtype = _dtype(settings)
    arguments = training_arguments(settings, bfloat16=dtype == "bfloat16", evaluate=bool(settings.validation))
    with arguments.main_process_first():  # the main process downloads the model, the others read it from the cache
        loaded = _load(settings, dtype)
    examples = _examples(settings, loaded)
    digest = _digest(examples.train)
    if not examples.validation:
        arguments.eval_strategy = type(arguments.eval_strategy)("no")
        arguments.eval_on_start = False
    checkpoint = None
    with arguments.main_process_first():
        again = resume or arguments.process_index > 0
        checkpoint = prepare_run(settings, data=digest, processes=arguments.world_size, resume=again)
    parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
    trainer = make_trainer(
        settings,
        arguments,
        model=loaded.model,
        tokenizer=loaded.tokenizer,
        train=examples.train,
        validation=examples.validation,
        scored=sample_examples(
            [one for one in examples.validation if one.choices], settings.score_instances, settings.seed
        ),
        progress=progress,
    )
    started = time.monotonic()
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    seconds = time.monotonic() - started
    history = trainer.state.log_history
    losses, evaluated, scores = (
        logged_values(history, "loss"),
        logged_values(history, "eval_loss"),
        logged_scores(history),
    )
    trainable = sum(parameter.numel() for parameter in trainer.model.parameters() if parameter.requires_grad)
    _save(trainer, settings)
    report = TuningReport(
        settings=settings,
        adapter=settings.out,
        merged=settings.out / MERGED_FOLDER if settings.merge else None,
        train=_by_task(examples.train),
        validation=_by_task(examples.validation),
        left_out=tuple(examples.left_out),
        data=digest,
        trainable=trainable,
        parameters=parameters,
        steps=trainer.state.global_step,
        resumed_from=int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0,
        first_loss=losses[0][1],
        last_loss=losses[-1][1],
        validation_loss=(evaluated[0][1], evaluated[-1][1]) if evaluated else None,
        before=scores[0][1] if scores else {},
        after=scores[-1][1] if scores else {},
        seconds=seconds,
        device=_device_name(loaded.torch, arguments),
        processes=arguments.world_size,
        main_process=arguments.process_index == 0,
        dtype=dtype,
        peak_memory=loaded.torch.cuda.max_memory_allocated() if arguments.device.type == "cuda" else None,
    )
    if arguments.process_index == 0:
        if settings.merge:
            _merge(settings, dtype)
        write_model_card(report)
    trainer.accelerator.wait_for_everyone()
    return report


def _load(settings: TuningSettings, dtype: str) -> LoadedModel:
    # Loaded on the CPU: the trainer moves the model, or its shards, to the device of each process.
    loaded = load_language_model(
        TransformersSettings(model=settings.base, revision=settings.revision, device="cpu", dtype=dtype)
    )
    if loaded.processor is not None:
        raise ModelError(
            f"the model {settings.base} takes images, but only text models can be tuned; choose another one"
        )
    if loaded.tokenizer.eos_token_id is None:
        raise ModelError(
            f"the tokenizer of {settings.base} has no EOS, so a tuned answer would never end; choose another model"
        )
    # The adapter refers to its base by the given name, not by a path on this machine.
    loaded.model.name_or_path = loaded.model.config._name_or_path = settings.base
    return loaded


def _dtype(settings: TuningSettings) -> Any:
    if settings.dtype != "auto":
        return settings.dtype
    torch = require("torch", EXTRA, f"Tuning {settings.base}")
    able = settings.device != "cpu" and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return "bfloat16" if able else "float32"


def _examples(settings: TuningSettings, loaded: LoadedModel) -> TrainingData:
    splits = (*settings.splits, *settings.validation)
    examples = make_examples(
        # Images are not opened here, so their paths need no check.
        read_records(settings.data, splits=splits, tasks=settings.tasks, trust_paths=True),
        loaded.tokenizer,
        layout=settings.layout,
        wire=settings.wire,
        captions=settings.captions,
        validation=settings.validation,
        max_length=settings.max_length,
    )
    if not examples.train:
        left_out = ""
        if examples.left_out:
            left_out = (
                f"; {len(examples.left_out)} records are left out, the first because: {examples.left_out[0].reason}"
            )
        raise DataError(
            f"{settings.data}: no usable record in the split {', '.join(settings.splits)} to tune on{left_out}"
        )
    drawn = sample_examples(examples.train, settings.instances or len(examples.train), settings.seed)
    return replace(examples, train=drawn)


def _save(trainer: "ScoringTrainer", settings: TuningSettings) -> None:
    """Saves the adapter. All processes must call it, because sharded weights are gathered from all of them."""
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if trainer.args.process_index == 0:
        model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
        model.save_pretrained(settings.out, state_dict=state, safe_serialization=True, save_embedding_layers=False)
        trainer.processing_class.save_pretrained(settings.out)


def _merge(settings: TuningSettings, dtype: str) -> None:
    tuned = load_tuned_model(settings.base, settings.out, revision=settings.revision)
    tuned.model.to(getattr(tuned.torch, dtype)).save_pretrained(settings.out / MERGED_FOLDER, safe_serialization=True)
    tuned.tokenizer.save_pretrained(settings.out / MERGED_FOLDER)


def _digest(examples: list[TrainingExample]) -> str:
    digest = hashlib.sha256()
    for example in examples:
        digest.update(repr((example.prompt_length, example.tokens)).encode())
    return digest.hexdigest()


def _by_task(examples: list[TrainingExample]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for example in examples:
        counts[example.task] = counts.get(example.task, 0) + 1
    return dict(sorted(counts.items()))


def _device_name(torch: Any, arguments: Any) -> str:
    kind = str(arguments.device.type)
    return str(torch.cuda.get_device_name(arguments.device)) if kind == "cuda" else kind


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Silences the libraries' progress bars and messages, and their deprecation warnings about each other."""
    datasets = require("datasets", EXTRA, "Tuning")
    log = require("transformers", EXTRA, "Tuning").utils.logging
    verbosity = log.get_verbosity()
    log.set_verbosity_error()
    log.disable_progress_bar()
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*is deprecated and will be removed in v6", FutureWarning)
            yield
    finally:
        log.set_verbosity(verbosity)
        log.enable_progress_bar()
        datasets.enable_progress_bars()
