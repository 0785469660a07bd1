"""Sizes of models: weights, layers and context length, from a table or from the files of the model.

The table covers the models of the shipped profiles. Weights are exact: transformers builds each architecture, without
its weights, at the sizes in the public ``config.json``, and each parameter takes two bytes (the planned servers use
bfloat16). The tuned CASLIE models have the sizes of their base models, because they are published as full weights of
the same architecture (paper, implementation details). A model in a local folder needs no entry in the table.
"""

import json
from pathlib import Path
from typing import Any

from caslie_tools.domain import FrozenModel
from caslie_tools.exceptions import SettingsError

BYTES_PER_VALUE = 2
"""Size of a bfloat16 value, in the weights and in the KV cache."""


class ModelSize(FrozenModel):
    """The properties of a model that decide how much GPU memory it needs."""

    weight_bytes: int
    layers: int
    """Number of layers that use the KV cache."""
    kv_heads: int
    head_size: int
    context_length: int
    """Maximum number of tokens in a request."""
    accepts_images: bool = False
    accepts_videos: bool = False
    cache_bytes_per_sequence: int = 0
    """KV cache of a sequence that does not depend on its length, for example for cross-attention to an image."""

    @property
    def cache_bytes_per_token(self) -> int:
        """KV cache of one token: keys and values of every layer."""
        return 2 * self.layers * self.kv_heads * self.head_size * BYTES_PER_VALUE


def _text(parameters: int, layers: int, kv_heads: int, head_size: int, context_length: int) -> ModelSize:
    return ModelSize(
        weight_bytes=parameters * BYTES_PER_VALUE,
        layers=layers,
        kv_heads=kv_heads,
        head_size=head_size,
        context_length=context_length,
    )


def _vision(parameters: int, layers: int, **more: Any) -> ModelSize:
    size = _text(parameters, layers, 8, 128, 262_144)
    return size.model_copy(update={"accepts_images": True, "accepts_videos": True} | more)


_LLAMA_3_2_3B = _text(3_212_749_824, 28, 8, 128, 131_072)
_LLAMA_2_13B = _text(13_015_864_320, 40, 40, 128, 4_096)
_MISTRAL_7B = _text(7_248_023_552, 32, 8, 128, 32_768)

MODEL_SIZES: dict[str, ModelSize] = {
    "NingLab/CASLIE-L": _LLAMA_2_13B,
    "NingLab/CASLIE-M": _MISTRAL_7B,
    "NingLab/CASLIE-S": _LLAMA_3_2_3B,
    "Qwen/Qwen3-Embedding-0.6B": _text(595_776_512, 28, 8, 128, 32_768),
    "Qwen/Qwen3-VL-2B-Instruct": _vision(2_127_532_032, 28),
    "Qwen/Qwen3-VL-4B-Instruct": _vision(4_437_815_808, 36),
    "Qwen/Qwen3-VL-8B-Instruct": _vision(8_767_123_696, 36),
    "ibm-granite/granite-3.3-2b-instruct": _text(2_533_539_840, 40, 8, 64, 131_072),
    "meta-llama/Llama-2-13b-chat-hf": _LLAMA_2_13B,
    "meta-llama/Llama-3.1-8B-Instruct": _text(8_030_261_248, 32, 8, 128, 131_072),
    # 8 of its 40 layers use cross-attention only, to an image of at most 4 tiles of 1,601 tokens.
    "meta-llama/Llama-3.2-11B-Vision-Instruct": _vision(
        10_670_220_835,
        32,
        context_length=131_072,
        accepts_videos=False,
        cache_bytes_per_sequence=2 * 8 * 8 * 128 * BYTES_PER_VALUE * 4 * 1_601,
    ),
    "meta-llama/Llama-3.2-3B-Instruct": _LLAMA_3_2_3B,
    "microsoft/Phi-3.5-mini-instruct": _text(3_821_079_552, 32, 32, 96, 131_072),
    "microsoft/Phi-4-mini-instruct": _text(3_836_021_760, 32, 8, 128, 131_072),
    "mistralai/Mistral-7B-Instruct-v0.3": _MISTRAL_7B,
}
"""Sizes by the name of the model on the Hugging Face Hub."""


def find_model_size(model: str) -> ModelSize:
    """Returns the size of a model.

    Args:
        model: Its name on the Hugging Face Hub, or the folder with its ``config.json`` and ``*.safetensors`` files.

    Raises:
        SettingsError: If the model is neither in the table nor in a folder with those files.
    """
    if size := MODEL_SIZES.get(model):
        return size
    folder = Path(model).expanduser()
    if folder.is_dir():
        return _read_size(folder)
    raise SettingsError(
        f"the size of the model {model!r} is unknown; download the model and set its folder as `weights` of the role"
    )


def _read_size(folder: Path) -> ModelSize:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        text = config.get("text_config", config)
        heads = text["num_attention_heads"]
        size = ModelSize(
            weight_bytes=sum(file.stat().st_size for file in folder.glob("*.safetensors")),
            layers=text["num_hidden_layers"],
            kv_heads=text.get("num_key_value_heads") or heads,
            head_size=text.get("head_dim") or text["hidden_size"] // heads,
            context_length=text["max_position_embeddings"],
            accepts_images="vision_config" in config,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise SettingsError(
            f"the size of the model in {folder} is unknown: its config.json cannot be used ({error!r})"
        ) from error
    if not size.weight_bytes:
        raise SettingsError(f"the size of the model in {folder} is unknown: the folder has no *.safetensors file")
    return size
