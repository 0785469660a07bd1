"""Reads the data block of a prompt, for the tests of the roles."""

import json
from typing import Any

from caslie_tools.roles.prompts import DATA_NOTICE


def data_of(prompt: str) -> Any:
    """Returns the data of a prompt, which is one block on its own line, and checks that nothing closes the block."""
    before, block, after = prompt.splitlines()
    assert before.endswith(DATA_NOTICE)
    assert block.startswith("<data>")
    assert block.endswith("</data>")
    assert "<" not in block[1:-7]
    assert "<data>" not in after
    return json.loads(block[6:-7])
