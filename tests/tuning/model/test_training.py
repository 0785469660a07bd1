from pathlib import Path
from typing import Any

import pytest
import torch

from caslie_tools.backends.transformers.loading import LoadedModel, load_language_model
from caslie_tools.backends.transformers.settings import TransformersSettings
from caslie_tools.data.records import read_record
from caslie_tools.exceptions import SettingsError
from caslie_tools.tuning.examples import IGNORED, Example, make_examples
from caslie_tools.tuning.scoring import choose, score_answers
from caslie_tools.tuning.training import Tuner, make_tuner, training_arguments
from tests.tuning.model.conftest import Make, substitute

pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated and will be removed in v6:FutureWarning")
RECORDS = [read_record(number, substitute(number)) for number in range(6)]


@pytest.fixture
def loaded(base: Path) -> LoadedModel:
    return load_language_model(TransformersSettings(model=str(base), device="cpu"))


@pytest.fixture
def examples(loaded: LoadedModel) -> list[Example]:
    return make_examples(RECORDS, loaded.tokenizer).train


def tuner_of(make: Make, loaded: LoadedModel, examples: list[Example], **changed: Any) -> Tuner:
    settings = make(**changed)
    return make_tuner(
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
    """The tokens with a loss, one after the other, cut after each run of them."""
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
def test_what_the_model_gets_has_a_loss_on_every_answer_with_its_eos_only(
    make: Make, loaded: LoadedModel, examples: list[Example], packing: bool
) -> None:
    tuner = tuner_of(make, loaded, examples, packing=packing, max_length=800)
    batches = list(tuner.get_train_dataloader())
    seen = sorted(run for batch in batches for run in answered(batch))
    assert seen == sorted(list(example.tokens[example.prompt_length :]) for example in examples)
    if packing:
        lengths = [length for batch in batches for length in batch["cu_seq_lens_q"].diff().tolist()]
        assert sorted(lengths) == sorted(len(example.tokens) for example in examples)  # none was cut


def test_packed_instances_do_not_see_each_other(make: Make, loaded: LoadedModel, examples: list[Example]) -> None:
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


def test_the_adapter_is_on_every_projection_and_on_nothing_else(
    make: Make, loaded: LoadedModel, examples: list[Example]
) -> None:
    tuner = tuner_of(make, loaded, examples)
    tuned = {name for name, parameter in tuner.model.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name for name in tuned)
    projections = {name.split(".lora_")[0].rpartition(".")[2] for name in tuned}
    assert projections == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_the_recipe_is_the_one_that_is_set(make: Make) -> None:
    arguments = training_arguments(make(batch_size=128, device_batch_size=4), bfloat16=False, evaluate=True)
    assert arguments.gradient_accumulation_steps == 32
    assert arguments.lr_scheduler_type == "cosine"
    assert arguments.get_warmup_steps(1000) == 50
    assert arguments.report_to == []
    with pytest.raises(SettingsError, match="a batch of 10 cannot be made of 4"):
        training_arguments(make(batch_size=10, device_batch_size=4), bfloat16=False, evaluate=True)


def test_a_padded_batch_is_answered_as_each_prompt_alone_by_the_likeliest_allowed_token(loaded: LoadedModel) -> None:
    records = [
        *RECORDS,
        read_record(6, {"task": "sa", "split": "train", "input": {"review": "Fine."}, "output": "B"}),
        read_record(7, {"task": "mpc", "split": "train", "input": RECORDS[0].instance.input, "output": "D"}),
    ]
    examples = make_examples(records, loaded.tokenizer).train
    run_together = choose(torch, loaded.model, loaded.tokenizer, examples, batch_size=8)
    assert run_together == choose(torch, loaded.model, loaded.tokenizer, examples, batch_size=1)
    vocabulary = loaded.tokenizer.get_vocab()
    for example, answer in zip(examples, run_together, strict=True):
        with torch.no_grad():
            last = loaded.model(torch.tensor([example.prompt])).logits[0, -1]
        first = {"y": "yes", "ye": "yes", "yes": "yes", "n": "no", "no": "no"}
        allowed = first if example.choices == ("yes", "no") else {letter: letter for letter in example.choices}
        likeliest = max((token for token in allowed if token in vocabulary), key=lambda token: last[vocabulary[token]])
        assert answer == allowed[likeliest]  # and neither "Yes" nor " yes", however likely they are


def test_scores_count_an_invalid_answer_as_wrong(examples: list[Example]) -> None:
    right = [example.answer for example in examples]
    (perfect,) = score_answers(examples, right).values()
    assert (perfect.metric, perfect.value, perfect.count, perfect.invalid) == ("f1", 1.0, 6, 0.0)
    assert (perfect.interval.low, perfect.interval.high) == (1.0, 1.0)
    (broken,) = score_answers(examples, [None, *right[1:3], None, *right[4:]]).values()
    assert broken.accuracy == pytest.approx(4 / 6)
    assert broken.invalid == pytest.approx(2 / 6)
    assert broken.value == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))  # one yes lost, one no that counts as yes
