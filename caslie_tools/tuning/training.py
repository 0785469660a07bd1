"""The trainer: trl's SFTTrainer on tokenized instances, which also scores answers. Needs the extra ``tuning``.

Verified with trl 1.16: data with ``input_ids`` and ``labels`` is used as it is. Packing ("bfd") does not split
instances. Its collator flattens a batch into one row, in which the positions restart with every instance. From the
positions, transformers makes a mask that separates the instances.
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
from caslie_tools.tuning.checkpoints import CHECKPOINTS_FOLDER
from caslie_tools.tuning.examples import TrainingExample
from caslie_tools.tuning.scoring import TaskScore, choose_answers, score_by_task
from caslie_tools.tuning.settings import TuningSettings

SCORES: Final = "eval_scores"


class ScoringTrainer(trl.SFTTrainer):  # type: ignore[misc] # trl publishes no types
    """A trainer whose evaluations also score the answers to some examples.

    Args:
        scored: Examples with choices.
        **kwargs: Arguments of trl's trainer.
    """

    def __init__(self, scored: Sequence[TrainingExample] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._scored = tuple(scored)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates the loss, then the scores. Both are logged.

        The state of the random numbers is restored afterwards. Otherwise, a resumed run, which does not repeat the
        evaluation, would draw other random numbers than an uninterrupted run.
        """
        devices = [torch.cuda.current_device()] if self.args.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            metrics = super().evaluate(*args, **kwargs)
            if self._scored:
                self._score()
        return metrics

    def _score(self) -> None:
        # Every process scores all examples, because with FSDP no process has the whole model.
        answers = choose_answers(
            torch,
            self.model_wrapped,
            self.processing_class,
            self._scored,
            batch_size=self.args.per_device_eval_batch_size,
        )
        scores = score_by_task(self._scored, answers)
        self.log({SCORES: {task: score.model_dump() for task, score in scores.items()}})

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Writes no card, because :mod:`caslie_tools.tuning.model_card` does."""

    def _send_telemetry(self) -> None:
        """Sends no telemetry."""


class ProgressReporter(transformers.TrainerCallback):  # type: ignore[misc] # transformers' types are not followed
    """Reports each step and each checkpoint."""

    def __init__(self, progress: ProgressCallback) -> None:
        self._progress = progress

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Reports a finished step. A checkpoint of this step is written later."""
        self._progress("tuning", "step", state.global_step, state.max_steps)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Reports a complete checkpoint."""
        self._progress("checkpoint", "step", state.global_step, state.max_steps)


def training_arguments(settings: TuningSettings, *, bfloat16: bool, evaluate: bool) -> Any:
    """Translates settings into trl's training arguments.

    Raises:
        SettingsError: If the batch size is not divisible by the instances per device, or if one process has several
            GPUs.
    """
    # transformers 5 renamed the argument and warns about the old name, which trl still uses.
    fields, renamed = trl.SFTConfig.__dataclass_fields__, "activation_checkpointing"
    checkpointing = renamed if renamed in fields else "gradient_checkpointing"
    arguments = trl.SFTConfig(
        output_dir=str(settings.out / CHECKPOINTS_FOLDER),
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
            f"one process has {arguments.n_gpu} GPUs: start one process per GPU with `accelerate launch -m "
            "caslie_tools.cli tune model ...`, or limit the process to one GPU with CUDA_VISIBLE_DEVICES"
        )
    parallel = settings.device_batch_size * arguments.world_size
    if settings.batch_size % parallel:
        raise SettingsError(
            f"the batch size {settings.batch_size} is not divisible by {parallel} ({settings.device_batch_size} "
            f"instances on each of {arguments.world_size} devices); choose another device batch size"
        )
    arguments.gradient_accumulation_steps = settings.batch_size // parallel
    return arguments


def make_trainer(
    settings: TuningSettings,
    arguments: Any,
    *,
    model: Any,
    tokenizer: Any,
    train: Sequence[TrainingExample],
    validation: Sequence[TrainingExample],
    scored: Sequence[TrainingExample],
    progress: ProgressCallback | None,
) -> ScoringTrainer:
    """Returns a trainer for a LoRA adapter on every linear projection of a model."""
    trainer = ScoringTrainer(
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
        callbacks=[ProgressReporter(progress)] if progress and arguments.process_index == 0 else [],
    )
    trainer.remove_callback(transformers.PrinterCallback)  # standard output is for the command's result
    return trainer


def logged_values(history: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, Any]]:
    """Returns the values logged under a name, with their steps, in order."""
    return [(int(entry["step"]), entry[name]) for entry in history if name in entry]


def logged_scores(history: Sequence[Mapping[str, Any]]) -> list[tuple[int, dict[str, TaskScore]]]:
    """Returns the logged scores, with their steps."""
    return [
        (step, {task: TaskScore.model_validate(score) for task, score in scores.items()})
        for step, scores in logged_values(history, SCORES)
    ]


def _dataset(examples: Sequence[TrainingExample]) -> Any:
    columns = {
        "input_ids": [np.array(example.tokens, dtype=np.int32) for example in examples],
        "labels": [np.array(example.labels, dtype=np.int32) for example in examples],
    }
    return datasets.Dataset.from_dict(columns)
