"""Prompt layouts of the tuned CASLIE models: raw text for a completions call, never a chat message.

The layout is Alpaca's (Taori et al., 2023); for the Mistral base the whole is wrapped in its instruction marks
(paper, implementation details; byte for byte what the published weights were tuned on). The others, CASLIE-L and
CASLIE-S, take it as it is: no wrapping of theirs is known, although their bases are chat models, so none is invented.
``llama-2`` and ``llama-3`` wrap it as one user message of those chat models (Meta's model cards), for models you tuned
on them yourself. No layout holds a beginning-of-sequence token: the server's tokenizer adds the one there must be.
"""

import json
import re
from typing import Final, Literal, TypeAlias

from caslie_tools.tasks.definition import FusedInstance
from caslie_tools.tasks.fusion import WireFormat

Layout: TypeAlias = Literal["alpaca", "mistral", "llama-2", "llama-3"]

_PREAMBLE = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)

# What a tokenizer may take for a mark of its own. In JSON it occurs only inside a text, where it can be escaped.
_MARK = re.compile(r"\[(?=/?INST\])|<(?=/?s>|\|)")


def render(instance: FusedInstance, layout: Layout = "alpaca", *, wire: WireFormat = "corrected") -> str:
    """Renders a fused instance as the raw prompt of a tuned model.

    Args:
        instance: The fused instance.
        layout: The model's layout.
        wire: ``paper`` keeps an empty options block, as the published models were tuned on; ``corrected`` leaves it
            out, leaves text in its own script instead of escaping it, and escapes the tokenizers' marks in it.
    """
    blocks = [
        _PREAMBLE,
        f"### Instruction:\n{instance.instruction}",
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
    return _MARK.sub(lambda mark: f"\\u{ord(mark[0]):04x}", json.dumps(value, ensure_ascii=False))
