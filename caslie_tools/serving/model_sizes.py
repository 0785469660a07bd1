"""What the models of the profiles need: the sizes in their public ``config.json``.

Weights are counted to the last tensor: transformers builds each architecture, without its weights, at the sizes of
that ``config.json``, and its parameters take two bytes each (bfloat16, which the planned servers are started with). The
tuned CASLIE models are taken to be of their bases' size: they are published as full weights of the same architecture
(paper, implementation details). A model in a folder needs no entry here: its own files say it all.
"""

import json
from pathlib import Path
from typing import Any

from caslie_tools.domain import FrozenModel
from caslie_tools.exceptions import SettingsError

BYTES_PER_VALUE = 2
"""bfloat16, for weights and KV cache."""


class ModelFacts(FrozenModel):
    """The sizes of one model that decide the memory it takes."""

    weight_bytes: int
    layers: int
    """Layers whose attention is cached."""
    kv_heads: int
    head_size: int
    context_length: int
    """Tokens it can take at most."""
    sees_images: bool = False
    takes_videos: bool = False
    cache_bytes_per_sequence: int = 0
    """KV cache a sequence takes whatever its length, such as for an image that is attended to across."""

    @property
    def cache_bytes_per_token(self) -> int:
        """KV cache of one token: keys and values of every layer."""
        return 2 * self.layers * self.kv_heads * self.head_size * BYTES_PER_VALUE


def _text(parameters: int, layers: int, kv_heads: int, head_size: int, context_length: int) -> ModelFacts:
    return ModelFacts(
        weight_bytes=parameters * BYTES_PER_VALUE,
        layers=layers,
        kv_heads=kv_heads,
        head_size=head_size,
        context_length=context_length,
    )


def _vision(parameters: int, layers: int, **more: Any) -> ModelFacts:
    facts = _text(parameters, layers, 8, 128, 262_144)
    return facts.model_copy(update={"sees_images": True, "takes_videos": True} | more)


_LLAMA_3_2_3B = _text(3_212_749_824, 28, 8, 128, 131_072)
_LLAMA_2_13B = _text(13_015_864_320, 40, 40, 128, 4_096)
_MISTRAL_7B = _text(7_248_023_552, 32, 8, 128, 32_768)

KNOWN: dict[str, ModelFacts] = {
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
    # 8 of its 40 layers attend across to an image of at most 4 tiles of 1,601 tokens, and to no text.
    "meta-llama/Llama-3.2-11B-Vision-Instruct": _vision(
        10_670_220_835,
        32,
        context_length=131_072,
        takes_videos=False,
        cache_bytes_per_sequence=2 * 8 * 8 * 128 * BYTES_PER_VALUE * 4 * 1_601,
    ),
    "meta-llama/Llama-3.2-3B-Instruct": _LLAMA_3_2_3B,
    "microsoft/Phi-3.5-mini-instruct": _text(3_821_079_552, 32, 32, 96, 131_072),
    "microsoft/Phi-4-mini-instruct": _text(3_836_021_760, 32, 8, 128, 131_072),
    "mistralai/Mistral-7B-Instruct-v0.3": _MISTRAL_7B,
}
"""By hub name."""


def facts_of(model: str) -> ModelFacts:
    """Returns what is known of a model.

    Args:
        model: Its hub name, or the folder it lies in (``config.json`` and ``*.safetensors``).

    Raises:
        SettingsError: If nothing is known of it.
    """
    if facts := KNOWN.get(model):
        return facts
    folder = Path(model).expanduser()
    if folder.is_dir():
        return _read(folder)
    raise SettingsError(
        f"nothing is known of the size of the model {model!r}; download it and name its folder as the role's weights"
    )


def _read(folder: Path) -> ModelFacts:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        text = config.get("text_config", config)
        heads = text["num_attention_heads"]
        facts = ModelFacts(
            weight_bytes=sum(file.stat().st_size for file in folder.glob("*.safetensors")),
            layers=text["num_hidden_layers"],
            kv_heads=text.get("num_key_value_heads") or heads,
            head_size=text.get("head_dim") or text["hidden_size"] // heads,
            context_length=text["max_position_embeddings"],
            sees_images="vision_config" in config,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise SettingsError(
            f"the model in {folder} cannot be sized: its config.json is unusable ({error!r})"
        ) from error
    if not facts.weight_bytes:
        raise SettingsError(f"the model in {folder} cannot be sized: it has no *.safetensors file")
    return facts
