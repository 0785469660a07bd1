"""Prompt layouts of the tuned CASLIE models: raw text for a completions call, not a chat message.

- ``alpaca`` is the Alpaca layout (Taori et al., 2023). Use it for CASLIE-L and CASLIE-S: the paper describes no other
  layout for them, although their bases are chat models.
- ``mistral`` is the Alpaca layout between the instruction marks of Mistral, for CASLIE-M (paper, implementation
  details). It is, byte for byte, what the published weights were tuned on.
- ``llama-2`` and ``llama-3`` are the Alpaca layout as one user message of these chat models (Meta's model cards). Use
  them for models that you tuned on these bases yourself.

No layout holds a beginning-of-sequence token, because the server's tokenizer adds it.
"""

import json
from typing import Final, Literal, TypeAlias

from caslie_tools._text import data_json, instruction_line
from caslie_tools.tasks.instances import FusedInstance, WireFormat

Layout: TypeAlias = Literal["alpaca", "mistral", "llama-2", "llama-3"]

_PREAMBLE = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)


def render(instance: FusedInstance, layout: Layout = "alpaca") -> str:
    """Renders a fused instance as the raw prompt of a tuned model, in the wire format that it was fused in.

    ``paper`` writes an empty options block and escapes non-ASCII text, as in the tuning data of the published models.
    ``corrected`` omits an empty options block, does not escape non-ASCII text, and escapes the special marks of
    tokenizers.

    Args:
        instance: The fused instance.
        layout: The layout that the model was tuned on.
    """
    wire = instance.wire_format
    instruction = instance.instruction if wire == "paper" else instruction_line(instance.instruction)
    blocks = [
        _PREAMBLE,
        f"### Instruction:\n{instruction}",
        f"### Input:\n{_json(instance.input, wire)}",
    ]
    if instance.options or wire == "paper":
        blocks.append(f"### Options:\n{_json(list(instance.options), wire)}")
    body = "\n\n".join(blocks)
    return _WRAPPINGS[layout].format(body=f"{body}\n\n")


_WRAPPINGS: Final[dict[Layout, str]] = {
    "alpaca": "{body}### Response:\n",
    "mistral": "[INST] {body} [/INST] ### Response:\n",
    "llama-2": "[INST] {body} [/INST] ### Response:\n",
    "llama-3": (
        "<|start_header_id|>user<|end_header_id|>\n\n{body}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n### Response:\n"
    ),
}


def _json(value: object, wire: WireFormat) -> str:
    if wire == "paper":
        return json.dumps(value)
    return data_json(value)
