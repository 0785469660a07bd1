"""The trainer: trl's, on instances that are in tokens already, with scores beside the loss. Needs the extra ``tuning``.

Checked against trl 1.16: data with ``input_ids`` and ``labels`` is taken as it is; packing ("bfd") keeps instances
whole, and its collator flattens a batch into one row whose positions begin anew with every instance, from which
transformers makes a mask that keeps them apart.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import datasets
import numpy as np
import peft
import torch
import transformers
import trl

from caslie_tools.domain import ProgressCallback
from caslie_tools.exceptions import SettingsError
from caslie_tools.tuning.checkpoints import CHECKPOINTS
from caslie_tools.tuning.configuration import TuningSettings
from caslie_tools.tuning.examples import Example
from caslie_tools.tuning.scoring import TaskScore, choose, score_answers

SCORES: Final = "eval_scores"


class Tuner(trl.SFTTrainer):  # type: ignore[misc] # trl publishes no types
    """Trains on examples; an evaluation also scores the answers to some of them.

    Args:
        scored: Examples with closed sets of answers.
        **kwargs: As trl's.
    """

    def __init__(self, scored: Sequence[Example] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._scored = tuple(scored)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates the loss, then the scores; both end up in the log.

        The random numbers are left as they were, or a run that goes on from a checkpoint, where nothing was evaluated,
        would draw others than one that nothing disturbed.
        """
        devices = [torch.cuda.current_device()] if self.args.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            metrics = super().evaluate(*args, **kwargs)
            if self._scored:
                self._score()
        return metrics

    def _score(self) -> None:
        # Every process scores all of them: under FSDP none has a whole model to do it alone.
        answers = choose(
            torch,
            self.model_wrapped,
            self.processing_class,
            self._scored,
            batch_size=self.args.per_device_eval_batch_size,
        )
        scores = score_answers(self._scored, answers)
        self.log({SCORES: {task: score.model_dump() for task, score in scores.items()}})

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Writes none: ours comes with the result."""

    def _send_telemetry(self) -> None:
        """Sends none: what is tuned here is nobody else's business."""


class Reporter(transformers.TrainerCallback):  # type: ignore[misc] # transformers' types are not followed
    """Tells of each step."""

    def __init__(self, progress: ProgressCallback) -> None:
        self._progress = progress

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tells of a step that is done; its checkpoint, if it has one, is not yet."""
        self._progress("tuning", "step", state.global_step, state.max_steps)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tells of a checkpoint that is whole."""
        self._progress("checkpoint", "step", state.global_step, state.max_steps)


def training_arguments(settings: TuningSettings, *, bfloat16: bool, evaluate: bool) -> Any:
    """Returns trl's settings for ours.

    Raises:
        SettingsError: If the batch cannot be divided among the devices, or several GPUs have no process each.
    """
    # transformers 5 renamed it on the way and warns of the old name, which is trl's own.
    known, renamed = trl.SFTConfig.__dataclass_fields__, "activation_checkpointing"
    checkpointing = renamed if renamed in known else "gradient_checkpointing"
    arguments = trl.SFTConfig(
        output_dir=str(settings.out / CHECKPOINTS),
        per_device_train_batch_size=settings.device_batch_size,
        per_device_eval_batch_size=settings.device_batch_size,
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=settings.warm_up,
        max_length=settings.max_length,
        packing=settings.packing,
        eval_packing=False,
        use_cpu=settings.device == "cpu",
        bf16=bfloat16,
        seed=settings.seed,
        data_seed=settings.seed,
        eval_strategy="epoch" if evaluate else "no",
        eval_on_start=evaluate,
        save_strategy="steps",
        save_steps=settings.save_steps,
        save_total_limit=2,
        logging_steps=1,
        disable_tqdm=True,
        report_to="none",
        ddp_find_unused_parameters=False,  # every step uses all of an adapter
        **{checkpointing: settings.gradient_checkpointing},
        dataloader_pin_memory=torch.cuda.is_available() and settings.device != "cpu",
    )
    if arguments.n_gpu > 1:
        raise SettingsError(
            f"one process sees {arguments.n_gpu} GPUs: start it with `accelerate launch -m caslie_tools.cli tune model "
            "...`, or limit it to one GPU with CUDA_VISIBLE_DEVICES"
        )
    at_once = settings.device_batch_size * arguments.world_size
    if settings.batch_size % at_once:
        raise SettingsError(
            f"a batch of {settings.batch_size} cannot be made of {settings.device_batch_size} on each of "
            f"{arguments.world_size} devices at once; choose a device batch size that divides it"
        )
    arguments.gradient_accumulation_steps = settings.batch_size // at_once
    return arguments


def make_tuner(
    settings: TuningSettings,
    arguments: Any,
    *,
    model: Any,
    tokenizer: Any,
    train: Sequence[Example],
    validation: Sequence[Example],
    scored: Sequence[Example],
    progress: ProgressCallback | None,
) -> Tuner:
    """Puts a LoRA adapter on every linear projection of a model and returns what trains it."""
    tuner = Tuner(
        scored=scored,
        model=model,
        args=arguments,
        train_dataset=_dataset(train),
        eval_dataset=_dataset(validation) if validation else None,
        processing_class=tokenizer,
        peft_config=peft.LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
        callbacks=[Reporter(progress)] if progress and arguments.process_index == 0 else [],
    )
    tuner.remove_callback(transformers.PrinterCallback)  # standard output is for answers
    return tuner


def logged(history: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, Any]]:
    """Returns what was logged under a name, with its step, in the order of the steps."""
    return [(int(entry["step"]), entry[name]) for entry in history if name in entry]


def logged_scores(history: Sequence[Mapping[str, Any]]) -> list[tuple[int, dict[str, TaskScore]]]:
    """Returns the scores that were logged, with their steps."""
    return [
        (step, {task: TaskScore.model_validate(score) for task, score in scores.items()})
        for step, scores in logged(history, SCORES)
    ]


def _dataset(examples: Sequence[Example]) -> Any:
    columns = {
        "input_ids": [np.array(example.tokens, dtype=np.int32) for example in examples],
        "labels": [np.array(example.labels, dtype=np.int32) for example in examples],
    }
    return datasets.Dataset.from_dict(columns)
