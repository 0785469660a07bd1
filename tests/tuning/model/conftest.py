from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from caslie_tools.tuning.settings import TuningSettings
from tests.cli.commands import Command, in_process
from tests.tuning.model.records import Make, substitute, write

for module in ("torch", "transformers", "trl", "peft", "datasets", "accelerate", "sklearn"):
    pytest.importorskip(module, reason="the extra 'tuning' is not installed")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny Llama with random weights, which can be tuned. Do not write to it."""
    import torch
    from transformers import LlamaForCausalLM

    from tests.backends.transformers.tiny_models import build_text

    folder = tmp_path_factory.mktemp("base") / "tiny-llama"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        build_text(folder)
        model = LlamaForCausalLM.from_pretrained(folder)
        with torch.no_grad():  # with the default of 0.02, activations are too small for an adapter to have an effect
            for parameter in model.parameters():
                if parameter.ndim == 2:
                    parameter.normal_(std=0.2)
        model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(base: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with 16 training and 8 validation instances. Do not write to it."""
    records = [substitute(number, "train" if number < 16 else "validation") for number in range(24)]
    return write(tmp_path_factory.mktemp("data") / "shop.jsonl", records)


@pytest.fixture
def make(base: Path, data: Path, tmp_path: Path) -> Make:
    """Makes the settings of a run of 12 steps, which takes a few seconds."""

    def made(**changed: Any) -> TuningSettings:
        recipe: dict[str, Any] = {
            "base": str(base),
            "data": str(data),
            "out": tmp_path / "out",
            "rank": 8,
            "learning_rate": 1e-2,
            "batch_size": 4,
            "device_batch_size": 2,
            "gradient_checkpointing": False,
            "max_length": 512,
            "save_steps": 4,
            "device": "cpu",
        }
        return TuningSettings(**recipe | changed)

    return made


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def caslie(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process."""
    return in_process(capsys)
