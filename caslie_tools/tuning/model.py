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
from caslie_tools.tuning.card import write_card
from caslie_tools.tuning.checkpoints import begin
from caslie_tools.tuning.configuration import TuningSettings
from caslie_tools.tuning.examples import Example, Examples, draw, make_examples
from caslie_tools.tuning.report import TuningReport

if TYPE_CHECKING:
    from caslie_tools.tuning.training import Tuner

EXTRA: Final = "tuning"
MERGED: Final = "merged"


def tune(settings: TuningSettings, *, resume: bool = False, progress: ProgressCallback | None = None) -> TuningReport:
    """Tunes a model; writes the adapter, its tokenizer and its model card, and full weights where they are wanted.

    Under ``accelerate launch`` every process calls it; the first one writes.

    Args:
        settings: What to tune, on what and how.
        resume: Go on from the newest checkpoint in the folder, where there is one.
        progress: Told of every step and of every checkpoint: ``(pass, "step", done, total)``.

    Raises:
        MissingExtraError: If what the extra ``tuning`` brings is not installed.
        InputError: If the data cannot be used, or the folder is taken.
        SettingsError: If the settings do not fit the machine, or the run that is to be resumed.
        ModelError: If the base cannot be loaded or tuned.
    """
    for module in ("torch", "transformers", "peft", "trl", "datasets", "accelerate", "sklearn"):
        require(module, EXTRA, f"Tuning {settings.base}")
    with _quiet_libraries():
        try:
            return _tune(settings, resume, progress)
        except CaslieError:
            raise
        except Exception as error:  # whatever the libraries raise, of a model or of a device
            reason = (
                "memory ran out; lower device_batch_size or max_length, or set gradient_checkpointing"
                if is_out_of_memory(error)
                else f"{type(error).__name__}: {str(error)[:300]}"
            )
            raise ModelError(f"tuning {settings.base} failed: {reason}; --resume goes on from a checkpoint") from error


def load_tuned(base: str, adapter: Path, *, revision: str | None = None) -> LoadedModel:
    """Loads a base with an adapter's weights added, in float32, on the processor.

    Raises:
        MissingExtraError: If what the extra ``tuning`` brings is not installed.
        ModelError: If the base or the adapter cannot be loaded.
    """
    peft = require("peft", EXTRA, f"Loading {adapter}")
    loaded = load_language_model(TransformersSettings(model=base, revision=revision, device="cpu", dtype="float32"))
    with _quiet_libraries():
        try:
            adapted = peft.PeftModel.from_pretrained(loaded.model, adapter)
        except Exception as error:  # a broken folder makes these libraries raise nearly anything
            reason = f"{type(error).__name__}: is it of this base?"
            raise ModelError(f"the adapter {adapter} cannot be loaded: {reason}") from error
        return replace(loaded, model=adapted.merge_and_unload().eval())


def _tune(settings: TuningSettings, resume: bool, progress: ProgressCallback | None) -> TuningReport:
    from caslie_tools.tuning.training import logged, logged_scores, make_tuner, training_arguments

    dtype = _dtype(settings)
    arguments = training_arguments(settings, bfloat16=dtype == "bfloat16", evaluate=bool(settings.validation))
    with arguments.main_process_first():  # it fetches, and writes what the others then read
        loaded = _load(settings, dtype)
    examples = _examples(settings, loaded)
    digest = _digest(examples.train)
    if not examples.validation:
        arguments.eval_strategy = type(arguments.eval_strategy)("no")
        arguments.eval_on_start = False
    checkpoint = None
    with arguments.main_process_first():
        again = resume or arguments.process_index > 0
        checkpoint = begin(settings, data=digest, processes=arguments.world_size, resume=again)
    parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
    tuner = make_tuner(
        settings,
        arguments,
        model=loaded.model,
        tokenizer=loaded.tokenizer,
        train=examples.train,
        validation=examples.validation,
        scored=draw([one for one in examples.validation if one.choices], settings.score_instances, settings.seed),
        progress=progress,
    )
    started = time.monotonic()
    tuner.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    seconds = time.monotonic() - started
    history = tuner.state.log_history
    losses, evaluated, scores = logged(history, "loss"), logged(history, "eval_loss"), logged_scores(history)
    trainable = sum(parameter.numel() for parameter in tuner.model.parameters() if parameter.requires_grad)
    _save(tuner, settings)
    report = TuningReport(
        settings=settings,
        adapter=settings.out,
        merged=settings.out / MERGED if settings.merge else None,
        train=_by_task(examples.train),
        validation=_by_task(examples.validation),
        left_out=tuple(examples.left_out),
        data=digest,
        trainable=trainable,
        parameters=parameters,
        steps=tuner.state.global_step,
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
        write_card(report)
    tuner.accelerator.wait_for_everyone()
    return report


def _load(settings: TuningSettings, dtype: str) -> LoadedModel:
    # On the processor first: the trainer moves it, or its shards, to the device of each process.
    loaded = load_language_model(
        TransformersSettings(model=settings.base, revision=settings.revision, device="cpu", dtype=dtype)
    )
    if loaded.processor is not None:
        raise ModelError(f"the model {settings.base} sees images; what is tuned here reads text: give a text model")
    if loaded.tokenizer.eos_token_id is None:
        raise ModelError(f"the tokenizer of {settings.base} has no EOS, so a tuned answer would never end")
    # What the adapter names as its base is what was asked for, and not where it happens to lie on this machine.
    loaded.model.name_or_path = loaded.model.config._name_or_path = settings.base
    return loaded


def _dtype(settings: TuningSettings) -> Any:
    if settings.dtype != "auto":
        return settings.dtype
    torch = require("torch", EXTRA, f"Tuning {settings.base}")
    able = settings.device != "cpu" and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return "bfloat16" if able else "float32"


def _examples(settings: TuningSettings, loaded: LoadedModel) -> Examples:
    splits = (*settings.splits, *settings.validation)
    examples = make_examples(
        # No picture is opened here, so it does not matter where its path may lead.
        read_records(settings.data, splits=splits, tasks=settings.tasks, trust_paths=True),
        loaded.tokenizer,
        layout=settings.layout,
        wire=settings.wire,
        captions=settings.captions,
        validation=settings.validation,
        max_length=settings.max_length,
    )
    if not examples.train:
        why = f"; the first of {len(examples.left_out)} left out: {examples.left_out[0].reason}"
        raise DataError(
            f"{settings.data}: no instance to tune on in the split {', '.join(settings.splits)}"
            f"{why if examples.left_out else ''}"
        )
    drawn = draw(examples.train, settings.instances or len(examples.train), settings.seed)
    return replace(examples, train=drawn)


def _save(tuner: "Tuner", settings: TuningSettings) -> None:
    """Every process takes part: where the weights are sharded, they are gathered."""
    state = tuner.accelerator.get_state_dict(tuner.model_wrapped)
    if tuner.args.process_index == 0:
        model = tuner.accelerator.unwrap_model(tuner.model_wrapped)
        model.save_pretrained(settings.out, state_dict=state, safe_serialization=True, save_embedding_layers=False)
        tuner.processing_class.save_pretrained(settings.out)


def _merge(settings: TuningSettings, dtype: str) -> None:
    tuned = load_tuned(settings.base, settings.out, revision=settings.revision)
    tuned.model.to(getattr(tuned.torch, dtype)).save_pretrained(settings.out / MERGED, safe_serialization=True)
    tuned.tokenizer.save_pretrained(settings.out / MERGED)


def _digest(examples: list[Example]) -> str:
    digest = hashlib.sha256()
    for example in examples:
        digest.update(repr((example.prompt_length, example.tokens)).encode())
    return digest.hexdigest()


def _by_task(examples: list[Example]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for example in examples:
        counts[example.task] = counts.get(example.task, 0) + 1
    return dict(sorted(counts.items()))


def _device_name(torch: Any, arguments: Any) -> str:
    kind = str(arguments.device.type)
    return str(torch.cuda.get_device_name(arguments.device)) if kind == "cuda" else kind


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Without the libraries' bars and notes, and their warnings to each other of names that will go."""
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
