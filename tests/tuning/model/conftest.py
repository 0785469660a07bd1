import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from caslie_tools.tuning.settings import TuningSettings
from tests.cli.conftest import caslie  # noqa: F401 (a fixture)

for module in ("torch", "transformers", "trl", "peft", "datasets", "accelerate", "sklearn"):
    pytest.importorskip(module, reason="the extra 'tuning' is not installed")

Raw = dict[str, Any]
Make = Callable[..., TuningSettings]


def substitute(number: int, split: str = "train", **fields: Any) -> Raw:
    """A record whose right answer depends only on its caption."""
    right = "yes" if number % 2 else "no"
    record = {
        "task": "product_substitute_identification",
        "split": split,
        "input": {"query": f"mug {number}", "product title": "mug"},
        "output": right,
        "images": ["https://shop.example/a.png"],
        "caption_info": ["A red mug." if right == "yes" else "A blue pot."],
        "votes": [True],
    }
    return record | fields


def write(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


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
