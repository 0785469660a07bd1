from pathlib import Path
from typing import Any

import pytest
import torch

from caslie_tools.backends.transformers.loading import LoadedModel, load_language_model
from caslie_tools.backends.transformers.settings import TransformersSettings
from caslie_tools.data.records import read_record
from caslie_tools.exceptions import SettingsError
from caslie_tools.tuning.examples import IGNORED, TrainingExample, make_examples
from caslie_tools.tuning.scoring import choose_answers, score_by_task
from caslie_tools.tuning.training import ScoringTrainer, make_trainer, training_arguments
from tests.tuning.model.records import Make, substitute

pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated and will be removed in v6:FutureWarning")
RECORDS = [read_record(number, substitute(number)) for number in range(6)]


@pytest.fixture
def loaded(base: Path) -> LoadedModel:
    return load_language_model(TransformersSettings(model=str(base), device="cpu"))


@pytest.fixture
def examples(loaded: LoadedModel) -> list[TrainingExample]:
    return make_examples(RECORDS, loaded.tokenizer).train


def tuner_of(make: Make, loaded: LoadedModel, examples: list[TrainingExample], **changed: Any) -> ScoringTrainer:
    settings = make(**changed)
    return make_trainer(
        settings,
        training_arguments(settings, bfloat16=False, evaluate=False),
        model=loaded.model,
        tokenizer=loaded.tokenizer,
        train=examples,
        validation=[],
        scored=[],
        progress=None,
    )


def answered(batch: Any) -> list[list[int]]:
    """The runs of adjacent tokens with a loss."""
    runs: list[list[int]] = []
    for ids, labels in zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True):
        before = IGNORED
        for token, label in zip(ids, labels, strict=True):
            assert label in (IGNORED, token)
            if label != IGNORED:
                runs.append([]) if before == IGNORED else None
                runs[-1].append(token)
            before = label
    return runs


@pytest.mark.parametrize("packing", [False, True])
def test_batches_have_a_loss_only_on_the_answers_and_their_eos(
    make: Make, loaded: LoadedModel, examples: list[TrainingExample], packing: bool
) -> None:
    tuner = tuner_of(make, loaded, examples, packing=packing, max_length=800)
    batches = list(tuner.get_train_dataloader())
    seen = sorted(run for batch in batches for run in answered(batch))
    assert seen == sorted(list(example.tokens[example.prompt_length :]) for example in examples)
    if packing:
        lengths = [length for batch in batches for length in batch["cu_seq_lens_q"].diff().tolist()]
        assert sorted(lengths) == sorted(len(example.tokens) for example in examples)  # none was cut


def test_packed_instances_have_the_loss_of_separate_instances(
    make: Make, loaded: LoadedModel, examples: list[TrainingExample]
) -> None:
    tuner = tuner_of(make, loaded, examples, packing=True, max_length=2000)
    tuner.model.eval()
    collated = tuner.data_collator(list(tuner.train_dataset))
    assert collated["input_ids"].shape[0] == 1
    with torch.no_grad():
        packed = tuner.compute_loss(tuner.model, dict(collated)).item()
        alone, tokens = 0.0, 0
        for example in examples:
            ids, labels = torch.tensor([example.tokens]), torch.tensor([example.labels])
            count = len(example.tokens) - example.prompt_length
            alone += tuner.compute_loss(tuner.model, {"input_ids": ids, "labels": labels}).item() * count
            tokens += count
    assert packed == pytest.approx(alone / tokens, abs=1e-5)


def test_the_adapter_is_only_on_the_linear_projections(
    make: Make, loaded: LoadedModel, examples: list[TrainingExample]
) -> None:
    tuner = tuner_of(make, loaded, examples)
    tuned = {name for name, parameter in tuner.model.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name for name in tuned)
    projections = {name.split(".lora_")[0].rpartition(".")[2] for name in tuned}
    assert projections == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_the_training_arguments_follow_the_settings(make: Make) -> None:
    arguments = training_arguments(make(batch_size=128, device_batch_size=4), bfloat16=False, evaluate=True)
    assert arguments.gradient_accumulation_steps == 32
    assert arguments.lr_scheduler_type == "cosine"
    assert arguments.get_warmup_steps(1000) == 50
    assert arguments.report_to == []
    with pytest.raises(SettingsError, match="the batch size 10 is not divisible by 4"):
        training_arguments(make(batch_size=10, device_batch_size=4), bfloat16=False, evaluate=True)


def test_padding_does_not_change_answers_and_the_most_likely_allowed_token_is_chosen(loaded: LoadedModel) -> None:
    records = [
        *RECORDS,
        read_record(6, {"task": "sa", "split": "train", "input": {"review": "Fine."}, "output": "B"}),
        read_record(7, {"task": "mpc", "split": "train", "input": RECORDS[0].instance.input, "output": "D"}),
    ]
    examples = make_examples(records, loaded.tokenizer).train
    run_together = choose_answers(torch, loaded.model, loaded.tokenizer, examples, batch_size=8)
    assert run_together == choose_answers(torch, loaded.model, loaded.tokenizer, examples, batch_size=1)
    vocabulary = loaded.tokenizer.get_vocab()
    for example, answer in zip(examples, run_together, strict=True):
        with torch.no_grad():
            last = loaded.model(torch.tensor([example.prompt])).logits[0, -1]
        first = {"y": "yes", "ye": "yes", "yes": "yes", "n": "no", "no": "no"}
        allowed = first if example.choices == ("yes", "no") else {letter: letter for letter in example.choices}
        most_likely = max(
            (token for token in allowed if token in vocabulary), key=lambda token: last[vocabulary[token]]
        )
        assert answer == allowed[most_likely]  # "Yes" and " yes" are not allowed


def test_an_invalid_answer_counts_as_wrong(examples: list[TrainingExample]) -> None:
    right = [example.answer for example in examples]
    (perfect,) = score_by_task(examples, right).values()
    assert (perfect.metric, perfect.value, perfect.count, perfect.invalid) == ("f1", 1.0, 6, 0.0)
    # All examples are about one product, which says little about others: the interval is wide.
    assert (perfect.interval.low < 0.1, perfect.interval.high) == (True, 1.0)
    (broken,) = score_by_task(examples, [None, *right[1:3], None, *right[4:]]).values()
    assert broken.accuracy == pytest.approx(4 / 6)
    assert broken.invalid == pytest.approx(2 / 6)
    assert broken.value == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))  # one yes is missed, one no counts as yes
