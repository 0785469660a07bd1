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
from caslie_tools.tuning.checkpoints import CHECKPOINTS, newest_checkpoint
from caslie_tools.tuning.configuration import load_settings
from caslie_tools.tuning.examples import make_example
from caslie_tools.tuning.model import MERGED, load_tuned, tune
from caslie_tools.tuning.report import TuningReport
from caslie_tools.tuning.scoring import choose
from tests.cli.commands import Command, finish, start
from tests.paths import ROOT
from tests.tuning.model.conftest import Make, substitute, write

OPTIONS = [
    *("--rank", 8, "--learning-rate", 1e-2, "--batch-size", 4, "--device-batch-size", 2, "--max-length", 512),
    *("--no-gradient-checkpointing", "--save-steps", 4, "--device", "cpu"),
]
"""What ``make`` sets, for the command."""
# What transformers says of peft; `tune` itself keeps it from people who can do nothing about it.
pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated and will be removed in v6:FutureWarning")

ADAPTER = "adapter_model.safetensors"


def losses(report: TuningReport) -> list[float]:
    """Training loss of every step, as the newest checkpoint holds it."""
    checkpoint = newest_checkpoint(report.adapter / CHECKPOINTS)
    assert checkpoint is not None
    history = json.loads((checkpoint / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def logits(model: Any, tokens: tuple[int, ...]) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = model.eval()(torch.tensor([tokens])).logits
    return result


@pytest.fixture(scope="module")
def tuned(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> TuningReport:
    """A run of 32 steps that nothing disturbs, merged. Do not write to its folder."""
    recipe = {"rank": 8, "learning_rate": 1e-2, "batch_size": 4, "device_batch_size": 2, "max_length": 512}
    where = {"base": str(base), "data": str(data), "out": tmp_path_factory.mktemp("tuned") / "shop-model"}
    how = {"gradient_checkpointing": False, "epochs": 8, "save_steps": 5, "device": "cpu", "merge": True}
    return tune(load_settings(recipe | where | how))


def test_it_learns_what_can_be_learnt(tuned: TuningReport) -> None:
    assert tuned.steps == 32
    assert tuned.train == {"product_substitute_identification": 16}
    assert tuned.last_loss < tuned.first_loss / 3
    assert tuned.validation_loss is not None
    assert tuned.validation_loss[1] < tuned.validation_loss[0] / 3
    (before,), (after,) = tuned.before.values(), tuned.after.values()
    assert before.count == after.count == 8
    assert after.value == 1.0 > before.value  # the caption tells, on queries never seen
    assert tuned.trainable < tuned.parameters / 2


def test_the_adapter_is_what_peft_and_vllm_load(tuned: TuningReport, base: Path) -> None:
    config = json.loads((tuned.adapter / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"
    assert config["r"] == 8
    assert config["base_model_name_or_path"] == str(base)
    assert not list(tuned.adapter.glob("*.bin"))  # no pickle in what is handed on
    plain = AutoModelForCausalLM.from_pretrained(base)
    tokenizer = AutoTokenizer.from_pretrained(tuned.adapter)
    examples = [make_example(read_record(number, substitute(number)), tokenizer) for number in range(100, 106)]
    right = [example.answer for example in examples]
    assert choose(torch, plain, tokenizer, examples, batch_size=3) != right
    adapted = peft.PeftModel.from_pretrained(plain, tuned.adapter)
    assert choose(torch, adapted, tokenizer, examples, batch_size=3) == right
    # The answer ends: EOS is the likeliest after it.
    assert logits(adapted, examples[1].tokens[:-1])[0, -1].argmax() == tokenizer.eos_token_id


def test_merged_weights_are_the_base_with_the_adapter(tuned: TuningReport, base: Path) -> None:
    assert tuned.merged == tuned.adapter / MERGED
    merged = AutoModelForCausalLM.from_pretrained(tuned.merged)
    plain = AutoModelForCausalLM.from_pretrained(base)
    tokens = make_example(read_record(0, substitute(1)), AutoTokenizer.from_pretrained(tuned.merged)).tokens
    bare = logits(plain, tokens)
    adapted = logits(peft.PeftModel.from_pretrained(plain, tuned.adapter), tokens)
    torch.testing.assert_close(logits(merged, tokens), adapted, atol=1e-3, rtol=1e-4)
    assert (adapted - bare).abs().max() > 1
    torch.testing.assert_close(
        logits(load_tuned(str(base), tuned.adapter).model, tokens), adapted, atol=1e-3, rtol=1e-4
    )


def test_an_adapter_that_cannot_be_loaded_is_named(tuned: TuningReport, base: Path, tmp_path: Path) -> None:
    shutil.copy(tuned.adapter / "adapter_config.json", tmp_path)
    (tmp_path / ADAPTER).write_bytes(b"no weights")
    with pytest.raises(ModelError, match="cannot be loaded: SafetensorError: is it of this base"):
        load_tuned(str(base), tmp_path)


def test_the_same_seed_gives_the_same_adapter(make: Make, tmp_path: Path) -> None:
    runs = [tune(make(out=tmp_path / name, seed=seed, epochs=1)) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    first, again, other = (load_file(report.adapter / ADAPTER) for report in runs)
    assert all(torch.equal(weights, again[name]) for name, weights in first.items())
    assert not all(torch.equal(weights, other[name]) for name, weights in first.items())


@pytest.mark.parametrize(
    "changed", [{"packing": True, "max_length": 1200}, {"gradient_checkpointing": True}, {"layout": "llama-3"}]
)
def test_it_learns_in_every_way_there_is(make: Make, changed: dict[str, Any]) -> None:
    report = tune(make(epochs=6, **changed))
    assert report.last_loss < report.first_loss
    assert report.validation_loss is not None
    assert report.validation_loss[1] < report.validation_loss[0]


def test_killed_and_resumed_it_ends_as_a_run_that_nothing_disturbed(make: Make, data: Path, tmp_path: Path) -> None:
    whole = tune(make(out=tmp_path / "whole", epochs=3))
    out = tmp_path / "killed"
    settings = make(out=out, epochs=3)
    options = [*OPTIONS, "--base", settings.base, "--out", out, "--epochs", 3, "--progress", "lines"]
    process = start("tune", "model", data, *map(str, options), environment={"OMP_NUM_THREADS": "1"})
    assert process.stderr is not None
    for line in iter(process.stderr.readline, ""):
        if line.startswith("tuning 6/12"):  # two steps after a checkpoint, two before the next
            break
    process.send_signal(SIGKILL)
    assert finish(process).code == -SIGKILL
    assert not (out / ADAPTER).exists()
    torn = out / CHECKPOINTS / "checkpoint-8"  # as when it is killed while it writes one
    shutil.copytree(out / CHECKPOINTS / "checkpoint-4", torn)
    (torn / "trainer_state.json").write_text('{"global_step": 8, "log_hi')

    resumed = tune(settings, resume=True)
    assert (resumed.resumed_from, resumed.steps) == (4, 12)
    assert losses(resumed) == pytest.approx(losses(whole), abs=1e-5)
    assert resumed.before == whole.before  # of the base, and not of what it was resumed from
    assert resumed.after == whole.after
    weights, expected = load_file(resumed.adapter / ADAPTER), load_file(whole.adapter / ADAPTER)
    for name, weight in weights.items():
        torch.testing.assert_close(weight, expected[name], atol=1e-4, rtol=1e-3)

    done = tune(settings, resume=True)  # there is nothing left to do, and nothing is lost
    assert (done.resumed_from, done.steps, done.after) == (12, 12, whole.after)


def test_a_run_is_not_resumed_as_another(make: Make, tmp_path: Path) -> None:
    tune(make(epochs=1))
    with pytest.raises(InputError, match="something already; resume"):
        tune(make(epochs=1))
    with pytest.raises(SettingsError, match=r"another learning_rate \(0.01 then, 0.02 now\)"):
        tune(make(epochs=1, learning_rate=2e-2), resume=True)
    fewer = write(tmp_path / "fewer.jsonl", [substitute(number) for number in range(8)])
    with pytest.raises(SettingsError, match="another data; resume"):
        tune(make(epochs=1, data=str(fewer)), resume=True)


def test_bad_records_are_told_of_and_the_rest_is_used(make: Make, tmp_path: Path) -> None:
    records = [substitute(number) for number in range(4)]
    bad = [substitute(5, output="maybe"), substitute(7, votes=None), {"task": "psi", "split": "train"}]
    data = write(tmp_path / "bad.jsonl", [*records, *bad])
    report = tune(make(data=str(data), epochs=1, validation=()))
    assert report.train == {"product_substitute_identification": 4}
    assert [one.index for one in report.left_out] == [4, 5, 6]
    assert report.validation_loss is None
    card = (report.adapter / "README.md").read_text()
    assert "| left out | 3 |" in card
    assert "record 5: it has captions, but nobody voted" in card
    nothing = write(tmp_path / "nothing.jsonl", bad)
    with pytest.raises(DataError, match="no instance to tune on in the split train; the first of 3 left out"):
        tune(make(data=str(nothing), out=tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_a_base_that_is_not_there_is_named(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        tune(make(base=str(tmp_path / "nowhere")))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"layout": "chatml"}, "layout cannot be used"),
        ({"epochs": 0}, "epochs cannot be used"),
        ({"splits": ["val"]}, "the split val cannot be tuned and evaluated on"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        load_settings({"base": "b", "data": "d", "out": "o"} | given)


def test_the_command_tunes_and_says_what_came_of_it(caslie: Command, make: Make, data: Path, tmp_path: Path) -> None:
    settings = make()
    options = ["--base", settings.base, "--batch-size", "16", "--epochs", "1", "--max-length", "512", "--device", "cpu"]
    ended = caslie("tune", "model", data, "--out", tmp_path / "json", *options, "--json")
    assert ended.code == 0, ended.err
    assert ended.document["steps"] == 1
    assert ended.document["train"] == {"product_substitute_identification": 16}
    told = caslie(
        "tune", "model", data, "--out", tmp_path / "told", *options, "--score-instances", "0", "--progress", "lines"
    )
    assert told.code == 0, told.err
    assert "16 instances, 1 steps" in told.out
    assert "tuning 1/1 step" in told.err
    taken = caslie("tune", "model", data, "--out", tmp_path / "told", *options)
    assert taken.code == 2
    assert "resume that run" in taken.err


def test_two_processes_tune_one_model(make: Make, data: Path, tmp_path: Path) -> None:
    """As on several GPUs, here on one processor with gloo."""
    alone = tune(make(out=tmp_path / "alone", epochs=1, dropout=0.0))
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
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)  # one document, of the process that writes
    assert (report["processes"], report["steps"]) == (2, 4)
    assert report["after"].keys() == alone.after.keys()
    # Each step is made of the same four instances, two on each process.
    assert report["last_loss"] == pytest.approx(alone.last_loss, abs=1e-3)
