"""Builds tiny models with random weights, in the files of published models, without a download.

The vision-language model is an Idefics3, the architecture of SmolVLM in the profile ``local-hf``.
"""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertModel,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

BOS, EOS, PAD, IMAGE = "<|im_start|>", "<end_of_utterance>", "<|endoftext|>", "<image>"
TILE = 32
"""Side, in pixels, of the vision encoder's input. A larger image is cut into tiles."""
LARGEST = 128
"""Longest side, in pixels, to which the processor enlarges an image by default."""
CONTEXT_LENGTH = 200_000

TEXT_TEMPLATE = """{{ bos_token }}{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}
{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"""
VISION_TEMPLATE = """{{ bos_token }}{% for message in messages %}{{ message['role'] }}: \
{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}\
{% endfor %}<end_of_utterance>
{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"""


def build_all(folder: Path) -> None:
    """Builds ``text``, ``vision`` and ``encoder`` in a folder, with the same weights each time."""
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            build_text(folder / "text")
            build_vision(folder / "vision")
            build_encoder(folder / "encoder")
    finally:
        if bars:
            logging.enable_progress_bar()


def build_text(folder: Path) -> None:
    """Builds a Llama that never generates its end-of-sequence token."""
    tokenizer = _tokenizer()
    model = LlamaForCausalLM(_language(tokenizer))
    with torch.no_grad():
        model.lm_head.weight[tokenizer.eos_token_id] = 0  # another token is always more likely
    model.save_pretrained(folder)
    tokenizer.chat_template = TEXT_TEMPLATE
    tokenizer.save_pretrained(folder)


def build_vision(folder: Path) -> None:
    """Builds an Idefics3 with the processor files of SmolVLM."""
    tokenizer = _tokenizer()
    model = Idefics3ForConditionalGeneration(
        Idefics3Config(
            text_config=_language(tokenizer).to_dict(),
            vision_config={
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": TILE,
                "patch_size": 8,
            },
            scale_factor=2,
            image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
            pad_token_id=tokenizer.pad_token_id,
            tie_word_embeddings=False,
        )
    )
    with torch.no_grad():  # otherwise images would hardly affect the response
        model.model.connector.modality_projection.proj.weight *= 50
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    preprocessor = {
        "image_processor_type": "Idefics3ImageProcessor",
        "processor_class": "Idefics3Processor",
        "do_image_splitting": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "max_image_size": {"longest_edge": TILE},
        "size": {"longest_edge": LARGEST},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    (folder / "processor_config.json").write_text(
        json.dumps({"image_seq_len": 4, "processor_class": "Idefics3Processor"})
    )
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": VISION_TEMPLATE}))


def build_encoder(folder: Path) -> None:
    """Builds a BERT without the pooler, which sentence embeddings do not need."""
    tokenizer = _tokenizer()
    model = BertModel(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
        ),
        add_pooling_layer=False,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tokenizer() -> PreTrainedTokenizerFast:
    """Returns a byte-level tokenizer that adds a BOS token before every text, as those of Llama and Mistral do."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[PAD, BOS, EOS, IMAGE, "<fake_token_around_image>", "<global-img>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["yes no Yes No product caption image answer the is what A B C D E"] * 9, trainer)
    tokenizer.post_processor = TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=PAD)


def _language(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT_LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
