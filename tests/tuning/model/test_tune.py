import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from signal import SIGKILL
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from caslie_tools.data.records import read_record
from caslie_tools.exceptions import DataError, InputError, ModelError, SettingsError
from caslie_tools.tuning.checkpoints import CHECKPOINTS_FOLDER, newest_checkpoint
from caslie_tools.tuning.examples import make_example
from caslie_tools.tuning.model import MERGED_FOLDER, load_tuned_model, tune_model
from caslie_tools.tuning.report import TuningReport
from caslie_tools.tuning.scoring import choose_answers
from caslie_tools.tuning.settings import load_settings
from tests.cli.commands import Command, finish, start
from tests.paths import ROOT
from tests.time_limits import HANG_SECONDS
from tests.tuning.model.records import Make, substitute, write

OPTIONS = [
    *("--rank", 8, "--learning-rate", 1e-2, "--batch-size", 4, "--device-batch-size", 2, "--max-length", 512),
    *("--no-gradient-checkpointing", "--save-steps", 4, "--device", "cpu"),
]
"""The settings of ``make``, as options of the command."""
# A deprecation warning of transformers about peft. `tune_model` hides it from users.
pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated and will be removed in v6:FutureWarning")

ADAPTER = "adapter_model.safetensors"


def losses(report: TuningReport) -> list[float]:
    """Training loss of every step, from the newest checkpoint."""
    checkpoint = newest_checkpoint(report.adapter / CHECKPOINTS_FOLDER)
    assert checkpoint is not None
    history = json.loads((checkpoint / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def logits(model: Any, tokens: tuple[int, ...]) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = model.eval()(torch.tensor([tokens])).logits
    return result


@pytest.fixture(scope="module")
def tuned(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> TuningReport:
    """A run of 32 steps without interruption, with merged weights. Do not write to its folder."""
    recipe = {"rank": 8, "learning_rate": 1e-2, "batch_size": 4, "device_batch_size": 2, "max_length": 512}
    where = {"base": str(base), "data": str(data), "out": tmp_path_factory.mktemp("tuned") / "shop-model"}
    how = {"gradient_checkpointing": False, "epochs": 8, "save_steps": 5, "device": "cpu", "merge": True}
    return tune_model(load_settings(recipe | where | how))


def test_the_model_learns_the_answers(tuned: TuningReport) -> None:
    assert tuned.steps == 32
    assert tuned.train == {"product_substitute_identification": 16}
    assert tuned.last_loss < tuned.first_loss / 3
    assert tuned.validation_loss is not None
    assert tuned.validation_loss[1] < tuned.validation_loss[0] / 3
    (before,), (after,) = tuned.before.values(), tuned.after.values()
    assert before.count == after.count == 8
    assert after.value == 1.0 > before.value  # on queries that were not in the training data
    assert tuned.trainable < tuned.parameters / 2


def test_the_adapter_has_the_format_of_peft_and_vllm(tuned: TuningReport, base: Path) -> None:
    config = json.loads((tuned.adapter / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"
    assert config["r"] == 8
    assert config["base_model_name_or_path"] == str(base)
    assert not list(tuned.adapter.glob("*.bin"))  # no pickles
    plain = AutoModelForCausalLM.from_pretrained(base)
    tokenizer = AutoTokenizer.from_pretrained(tuned.adapter)
    examples = [make_example(read_record(number, substitute(number)), tokenizer) for number in range(100, 106)]
    right = [example.answer for example in examples]
    assert choose_answers(torch, plain, tokenizer, examples, batch_size=3) != right
    adapted = peft.PeftModel.from_pretrained(plain, tuned.adapter)
    assert choose_answers(torch, adapted, tokenizer, examples, batch_size=3) == right
    # After the answer, EOS is the most likely token.
    assert logits(adapted, examples[1].tokens[:-1])[0, -1].argmax() == tokenizer.eos_token_id


def test_merged_weights_are_the_base_with_the_adapter(tuned: TuningReport, base: Path) -> None:
    assert tuned.merged == tuned.adapter / MERGED_FOLDER
    merged = AutoModelForCausalLM.from_pretrained(tuned.merged)
    plain = AutoModelForCausalLM.from_pretrained(base)
    tokens = make_example(read_record(0, substitute(1)), AutoTokenizer.from_pretrained(tuned.merged)).tokens
    bare = logits(plain, tokens)
    adapted = logits(peft.PeftModel.from_pretrained(plain, tuned.adapter), tokens)
    torch.testing.assert_close(logits(merged, tokens), adapted, atol=1e-3, rtol=1e-4)
    assert (adapted - bare).abs().max() > 1
    torch.testing.assert_close(
        logits(load_tuned_model(str(base), tuned.adapter).model, tokens), adapted, atol=1e-3, rtol=1e-4
    )


def test_the_error_of_an_adapter_that_cannot_be_loaded_has_its_cause(
    tuned: TuningReport, base: Path, tmp_path: Path
) -> None:
    shutil.copy(tuned.adapter / "adapter_config.json", tmp_path)
    (tmp_path / ADAPTER).write_bytes(b"no weights")
    with pytest.raises(ModelError, match="cannot be loaded: SafetensorError; check that it belongs to this base"):
        load_tuned_model(str(base), tmp_path)


def test_the_same_seed_gives_the_same_adapter(make: Make, tmp_path: Path) -> None:
    runs = [tune_model(make(out=tmp_path / name, seed=seed, epochs=1)) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    first, again, other = (load_file(report.adapter / ADAPTER) for report in runs)
    assert all(torch.equal(weights, again[name]) for name, weights in first.items())
    assert not all(torch.equal(weights, other[name]) for name, weights in first.items())


@pytest.mark.parametrize(
    "changed", [{"packing": True, "max_length": 1200}, {"gradient_checkpointing": True}, {"layout": "llama-3"}]
)
def test_the_model_learns_with_every_option(make: Make, changed: dict[str, Any]) -> None:
    report = tune_model(make(epochs=6, **changed))
    assert report.last_loss < report.first_loss
    assert report.validation_loss is not None
    assert report.validation_loss[1] < report.validation_loss[0]


def test_a_killed_and_resumed_run_equals_an_uninterrupted_run(make: Make, data: Path, tmp_path: Path) -> None:
    whole = tune_model(make(out=tmp_path / "whole", epochs=3))
    out = tmp_path / "killed"
    settings = make(out=out, epochs=3)
    options = [*OPTIONS, "--base", settings.base, "--out", out, "--epochs", 3, "--progress", "lines"]
    process = start("tune", "model", data, *map(str, options), environment={"OMP_NUM_THREADS": "1"})
    assert process.stderr is not None
    for line in iter(process.stderr.readline, ""):
        if line.startswith("tuning 6/12"):  # two steps after a checkpoint, and two steps before the next one
            break
    process.send_signal(SIGKILL)
    assert finish(process).code == -SIGKILL
    assert not (out / ADAPTER).exists()
    torn = out / CHECKPOINTS_FOLDER / "checkpoint-8"  # incomplete, as after a kill during writing
    shutil.copytree(out / CHECKPOINTS_FOLDER / "checkpoint-4", torn)
    (torn / "trainer_state.json").write_text('{"global_step": 8, "log_hi')

    resumed = tune_model(settings, resume=True)
    assert (resumed.resumed_from, resumed.steps) == (4, 12)
    assert losses(resumed) == pytest.approx(losses(whole), abs=1e-5)
    assert resumed.before == whole.before  # the scores of the base, not those of the checkpoint
    assert resumed.after == whole.after
    weights, expected = load_file(resumed.adapter / ADAPTER), load_file(whole.adapter / ADAPTER)
    for name, weight in weights.items():
        torch.testing.assert_close(weight, expected[name], atol=1e-4, rtol=1e-3)

    done = tune_model(settings, resume=True)  # nothing is left to do
    assert (done.resumed_from, done.steps, done.after) == (12, 12, whole.after)


def test_a_run_is_not_resumed_with_another_recipe(make: Make, tmp_path: Path) -> None:
    tune_model(make(epochs=1))
    with pytest.raises(InputError, match="the folder is not empty; resume"):
        tune_model(make(epochs=1))
    with pytest.raises(SettingsError, match=r"another learning_rate \(0.01, now 0.02\)"):
        tune_model(make(epochs=1, learning_rate=2e-2), resume=True)
    fewer = write(tmp_path / "fewer.jsonl", [substitute(number) for number in range(8)])
    with pytest.raises(SettingsError, match="another data; restore"):
        tune_model(make(epochs=1, data=str(fewer)), resume=True)


def test_bad_records_are_reported_and_the_others_are_used(make: Make, tmp_path: Path) -> None:
    records = [substitute(number) for number in range(4)]
    bad = [substitute(5, output="maybe"), substitute(7, votes=None), {"task": "psi", "split": "train"}]
    data = write(tmp_path / "bad.jsonl", [*records, *bad])
    report = tune_model(make(data=str(data), epochs=1, validation=()))
    assert report.train == {"product_substitute_identification": 4}
    assert [one.index for one in report.left_out] == [4, 5, 6]
    assert report.validation_loss is None
    card = (report.adapter / "README.md").read_text()
    assert "| left out | 3 |" in card
    assert "Record 5 is left out: the record has captions without votes" in card
    nothing = write(tmp_path / "nothing.jsonl", bad)
    with pytest.raises(DataError, match="no usable record in the split train to tune on; 3 records are left out"):
        tune_model(make(data=str(nothing), out=tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_a_missing_base_is_an_error(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        tune_model(make(base=str(tmp_path / "nowhere")))


def test_the_command_tunes_and_prints_the_result(caslie: Command, make: Make, data: Path, tmp_path: Path) -> None:
    settings = make()
    options = ["--base", settings.base, "--batch-size", "16", "--epochs", "1", "--max-length", "512", "--device", "cpu"]
    options += ["--tasks", "psi,mpc"]
    result = caslie("tune", "model", data, "--out", tmp_path / "json", *options, "--json")
    assert result.code == 0, result.err
    assert result.document["steps"] == 1
    assert result.document["train"] == {"product_substitute_identification": 16}
    result = caslie(
        "tune", "model", data, "--out", tmp_path / "text", *options, "--score-instances", "0", "--progress", "lines"
    )
    assert result.code == 0, result.err
    assert "16 instances, 1 steps" in result.out
    assert "tuning 1/1 step" in result.err
    again = caslie("tune", "model", data, "--out", tmp_path / "text", *options)
    assert again.code == 2
    assert "resume the run in it" in again.err


def test_two_processes_tune_one_model(make: Make, data: Path, tmp_path: Path) -> None:
    """As on several GPUs, but on one CPU with gloo."""
    alone = tune_model(make(out=tmp_path / "alone", epochs=1, dropout=0.0))
    launcher = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "caslie_tools.cli",
        "tune",
        "model",
    ]
    options = [*OPTIONS, "--base", alone.settings.base, "--out", tmp_path / "two", "--epochs", 1, "--dropout", 0]
    ended = subprocess.run(
        [sys.executable, *launcher, *map(str, [data, *options, "--json"])],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_SECONDS,
    )
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)  # only the main process prints a document
    assert (report["processes"], report["steps"]) == (2, 4)
    assert report["after"].keys() == alone.after.keys()
    # Each step has the same four instances, two in each process.
    assert report["last_loss"] == pytest.approx(alone.last_loss, abs=1e-3)
