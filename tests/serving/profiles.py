"""Profiles of two servers, for tests of planning."""

import json
from pathlib import Path
from typing import Any

from caslie_tools.profiles.settings import ProfileSettings

TEXT_MODEL = "meta-llama/Llama-3.2-3B-Instruct"
VISION_MODEL = "Qwen/Qwen3-VL-4B-Instruct"


def profile(**changes: Any) -> ProfileSettings:
    """A vision model that captions and a text model that judges and predicts, on two ports."""
    vision = {
        "urls": ["http://127.0.0.1:8001/v1"],
        "model": VISION_MODEL,
        "max_concurrency": 2,
        "context_length": 4096,
    }
    text = {"urls": ["http://127.0.0.1:8002/v1"], "model": TEXT_MODEL, "max_concurrency": 3, "context_length": 1000}
    return ProfileSettings.model_validate(
        {"name": "two", "captioners": [vision], "judges": [text], "predictor": text | {"context_length": 2000}}
        | changes
    )


def role(port: int = 8002, model: str = TEXT_MODEL, **more: Any) -> dict[str, Any]:
    """Settings of one role."""
    return {"urls": [f"http://127.0.0.1:{port}/v1"], "model": model} | more


def write_model(folder: Path, *, layers: int = 1, heads: int = 1, hidden_size: int = 8) -> dict[str, int]:
    """Writes the files of a text model that its size is read from; returns its configuration."""
    config = {
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "hidden_size": hidden_size,
        "max_position_embeddings": 4096,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"x")
    return config
