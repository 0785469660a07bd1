"""Prompt layouts of the tuned CASLIE models: raw text for a completions call, never a chat message.

The layout is Alpaca's (Taori et al., 2023); for the Mistral base the whole is wrapped in its instruction marks
(paper, implementation details; byte for byte what the published weights were tuned on).
"""

import json
from typing import Literal, TypeAlias

from caslie_tools.fusion import WireFormat
from caslie_tools.tasks.definition import FusedInstance

Layout: TypeAlias = Literal["alpaca", "mistral"]

_PREAMBLE = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)


def render(instance: FusedInstance, layout: Layout = "alpaca", *, wire: WireFormat = "corrected") -> str:
    """Renders a fused instance as the raw prompt of a tuned model.

    Args:
        instance: The fused instance.
        layout: The model's layout.
        wire: ``paper`` keeps an empty options block, as the published models were tuned on; ``corrected`` leaves it
            out, and leaves text in its own script instead of escaping it.
    """
    ascii_only = wire == "paper"
    blocks = [
        _PREAMBLE,
        f"### Instruction:\n{instance.instruction}",
        f"### Input:\n{json.dumps(instance.input, ensure_ascii=ascii_only)}",
    ]
    if instance.options or wire == "paper":
        blocks.append(f"### Options:\n{json.dumps(list(instance.options), ensure_ascii=ascii_only)}")
    body = "\n\n".join(blocks)
    if layout == "mistral":
        return f"[INST] {body}\n\n [/INST] ### Response:\n"
    return f"{body}\n\n### Response:\n"
